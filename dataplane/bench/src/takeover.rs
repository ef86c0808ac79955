//! What a takeover costs: a backup with many connections, most of them idle, becomes the primary,
//! and each of its loops is timed until every connection has had its kick.

use std::time::{Duration, Instant};

use crate::Meter;
use crate::clients::{Clients, Work};
use crate::nic::PoolFrame;
use crate::node::{Node, Serving};

/// How long those that are not active have been idle by then, in simulated time.
const IDLE_US: u64 = 2_000_000;
/// Loops without a kick after which there is none to come.
const QUIET_LOOPS: u32 = 10_000;

/// What a takeover was like, counted from the loop that hears of the decision.
#[derive(Clone, Copy, Debug, Default)]
pub struct Takeover {
    /// Connections that were kicked.
    pub kicked: u32,
    /// Loops' time until the first kick was handed to the card.
    pub first: Duration,
    /// The same for the last kick of an active connection.
    pub last_active: Duration,
    /// The same for the last of all.
    pub last: Duration,
    /// Loops until then.
    pub loops: u32,
    /// The longest of these.
    pub longest: Duration,
    /// Kicks of idle connections that went before the last one of an active one.
    pub overtaken_by: u32,
}

impl Takeover {
    /// Opens connections to a pair, has `active` of them exchange something after a pause, and
    /// takes the primary away.
    ///
    /// # Panics
    /// When a connection is not kicked, or is kicked twice.
    #[must_use]
    pub fn run(connections: u32, active: u32, shards: u16) -> Takeover {
        let mut pair = Serving::pair(connections, shards);
        let mut clients = Clients::new(Work::Rpc, connections, &mut pair);
        // So that those in the middle are next.
        clients.run((connections / 2).into(), &mut pair, &mut Meter::default());
        clients.come_to_rest(&mut pair);
        pair.pause(IDLE_US);
        let since_us = pair.now_us();
        clients.run(active.into(), &mut pair, &mut Meter::default());
        clients.wait(&mut pair);
        let mut seen = Seen::new(clients, since_us);
        pair.kill_primary();
        let mut takeover = Takeover::default();
        let mut output: Vec<PoolFrame> = Vec::new();
        let (mut loops, mut spent) = (Vec::new(), Duration::ZERO);
        let mut quiet = 0;
        while quiet < QUIET_LOOPS {
            let start = Instant::now();
            pair.backup_loop();
            let took = start.elapsed();
            spent += took;
            loops.push(took);
            pair.take_from_backup(&mut output);
            quiet += 1;
            for frame in output.drain(..) {
                if seen.note(&frame, &mut takeover, spent) {
                    quiet = 0;
                    takeover.loops = loops.len() as u32;
                }
            }
        }
        assert_eq!(takeover.kicked, connections, "every connection is kicked");
        loops.truncate(takeover.loops as usize);
        takeover.longest = loops.iter().copied().max().unwrap_or_default();
        takeover
    }
}

/// Who was kicked.
struct Seen {
    clients: Clients,
    since_us: u64,
    kicked: Vec<bool>,
    idle: u32,
}

impl Seen {
    fn new(clients: Clients, since_us: u64) -> Seen {
        let kicked = vec![false; clients.len()];
        Seen { clients, since_us, kicked, idle: 0 }
    }

    /// Notes a frame; says whether it was a kick.
    fn note(&mut self, frame: &PoolFrame, takeover: &mut Takeover, spent: Duration) -> bool {
        let Some((index, active_us)) = self.clients.activity(frame) else { return false };
        assert!(!std::mem::replace(&mut self.kicked[index], true), "a kick is not repeated");
        if takeover.kicked == 0 {
            takeover.first = spent;
        }
        takeover.kicked += 1;
        takeover.last = spent;
        if active_us > self.since_us {
            takeover.last_active = spent;
            takeover.overtaken_by = self.idle;
        } else {
            self.idle += 1;
        }
        true
    }
}
