//! The kinds of loads: each a state machine for each of its connections, fed by the
//! [`driver`](super::driver).

pub mod bulk;
pub mod crr;
mod exchange;
mod http;
pub mod rpc;

pub use exchange::Exchange;

use super::context::Context;
use super::transport::{Index, Notice, Transport};

/// A load.
pub trait Workload {
    /// How many connections must be open before the measurement begins: indices 0 up to that.
    fn connections(&self) -> u32;

    /// The measurement begins, at `context.now_ns`. Connections that could not be opened are over.
    fn begin<T: Transport>(&mut self, context: &mut Context<T>);

    /// Something happened to a connection, before or after the beginning.
    fn notice<T: Transport>(&mut self, context: &mut Context<T>, notice: Notice);

    /// Does a bounded share of what is due at `context.now_ns`, and tells when the next thing is:
    /// `u64::MAX` if nothing is until a notice comes.
    fn due<T: Transport>(&mut self, context: &mut Context<T>) -> u64;

    /// A look at things that nobody tells about, ten times a second: what was acknowledged, who
    /// makes no progress.
    fn inspect<T: Transport>(&mut self, context: &mut Context<T>);

    /// Whether something is on its way that the target has to answer.
    fn is_waiting(&self) -> bool;

    /// Whether all is done that was to be done, before the time is over.
    fn is_complete(&self) -> bool;

    /// The measurement is over: nothing new begins.
    fn stop(&mut self, now_ns: u64);

    /// Some time after the stop: what has not been answered by now is given up and counted.
    fn give_up<T: Transport>(&mut self, context: &mut Context<T>);

    /// Last of all: asks every connection whether it is alive, with every call of
    /// [`due`](Self::due) some more. Returns false if this load does not do that.
    fn verify(&mut self) -> bool {
        false
    }

    /// Calls back with the longest time without progress of each connection since the beginning,
    /// or since [`forget_stalls`](Self::forget_stalls), in nanoseconds. Connections of which none
    /// was expected are left out.
    fn stalls(&self, now_ns: u64, is_open: &dyn Fn(Index) -> bool, tell: &mut dyn FnMut(u64));

    /// Longest times without progress begin anew. A pause that lasts keeps its length.
    fn forget_stalls(&mut self);

    /// How many connections have answered in the phase of verifying.
    fn verified(&self) -> u64 {
        0
    }

    /// What the user should know beside the numbers.
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Where the bytes of a connection begin in the pattern: far from its neighbours', so that bytes
/// which end up in another connection are noticed.
#[inline]
fn base(index: Index) -> u64 {
    u64::from(index) * 1_000_003
}
