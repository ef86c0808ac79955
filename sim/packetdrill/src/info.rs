//! `TCP_INFO` and its relatives: what the engine knows of a connection, in the layout that Linux
//! gives to programs.

use engine::shard::{ConnectionInfo, Repair};
use engine::tcp::State;

use crate::socket::{Role, Socket};

/// Slow start threshold before the first loss, as Linux tells it.
const NO_THRESHOLD: u32 = 0x7fff_ffff;
const OPTION_TIMESTAMPS: u8 = 1;
const OPTION_SACK: u8 = 2;
const OPTION_SCALES: u8 = 4;

const CA_OPEN: u8 = 0;
const CA_DISORDER: u8 = 1;
const CA_REDUCED: u8 = 2;
const CA_RECOVERY: u8 = 3;
const CA_LOSS: u8 = 4;

/// The bytes of `struct tcp_info`, as far as we have something to say; what follows is zero.
#[must_use]
pub fn tcp_info(socket: &Socket, info: Option<&ConnectionInfo>, mtu: u32) -> Vec<u8> {
    let mut out = Layout(Vec::with_capacity(280));
    let Some(info) = info else {
        out.0.push(state_without_connection(socket));
        out.0.resize(280, 0);
        return out.0;
    };
    head(&mut out, info);
    let mss = u32::from(info.mss).max(1);
    let ms = |us: u64| u32::try_from(us / 1000).unwrap_or(u32::MAX);
    out.words(&[
        u32::try_from(info.rto_us).unwrap_or(u32::MAX),
        0,
        mss,
        info.recv_mss.into(),
        info.segments.unacked,
        info.segments.sacked,
        info.segments.lost,
        0,
        0,
        0,
        0,
        ms(info.idle_us),
        ms(info.idle_us),
        mtu,
        info.recv_window,
        info.srtt_us,
        info.rttvar_us,
        if info.ssthresh == u32::MAX { NO_THRESHOLD } else { info.ssthresh / mss },
        info.cwnd / mss,
        mss,
        3,
        0,
        info.recv_window,
        info.retransmissions,
    ]);
    // Not paced.
    out.longs(&[u64::MAX, u64::MAX, info.bytes_out, info.bytes_in]);
    let unsent = u32::try_from(info.unsent).unwrap_or(u32::MAX);
    out.words(&[0, 0, unsent, info.min_rtt_us, 0, 0]);
    out.longs(&[0; 4]);
    out.words(&[0, 0]);
    let sent = info.bytes_out + info.send_queue - info.unsent;
    out.longs(&[sent, 0]);
    out.words(&[0, 0, 0, info.send_window, info.recv_window]);
    out.0.resize(280, 0);
    out.0
}

/// The eight single bytes that it begins with.
fn head(out: &mut Layout, info: &ConnectionInfo) {
    let repair = match info.repair {
        Repair::None if info.segments.sacked > 0 => CA_DISORDER,
        Repair::None => CA_OPEN,
        Repair::Congestion => CA_REDUCED,
        Repair::Recovery => CA_RECOVERY,
        Repair::Timeout | Repair::Takeover => CA_LOSS,
    };
    let agreed = info.agreed;
    let mut options = 0;
    for (on, bit) in [
        (agreed.timestamps, OPTION_TIMESTAMPS),
        (agreed.sack, OPTION_SACK),
        (agreed.scales.is_some(), OPTION_SCALES),
    ] {
        options |= if on { bit } else { 0 };
    }
    let (peers, ours) = agreed.scales.unwrap_or_default();
    out.0.extend([
        state_number(info.state),
        repair,
        info.timeouts,
        info.probes,
        info.timeouts,
        options,
        peers | ours << 4,
        0,
    ]);
}

/// Linux' numbers of the states.
fn state_number(state: State) -> u8 {
    match state {
        State::Established => 1,
        State::SynSent => 2,
        State::SynReceived => 3,
        State::FinWait1 => 4,
        State::FinWait2 => 5,
        State::TimeWait => 6,
        State::Closed => 7,
        State::CloseWait => 8,
        State::LastAck => 9,
        State::Closing => 11,
    }
}

fn state_without_connection(socket: &Socket) -> u8 {
    const LISTEN: u8 = 10;
    match socket.role {
        Role::Listening { .. } => LISTEN,
        _ => state_number(State::Closed),
    }
}

/// The nine numbers of `SO_MEMINFO`: bytes that wait on each side, and the limits.
#[must_use]
pub fn memory_info(socket: &Socket, info: Option<&ConnectionInfo>) -> Vec<u8> {
    let size = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
    let (received, queued) = info.map_or((0, 0), |info| (info.recv_queue, info.send_queue));
    let mut out = Layout(Vec::with_capacity(36));
    let (receive, send) = (socket.options.recv_buffer, socket.options.send_buffer);
    out.words(&[size(received), receive, size(queued), send, 0, size(queued), 0, 0, 0]);
    out.0
}

struct Layout(Vec<u8>);

impl Layout {
    fn words(&mut self, words: &[u32]) {
        words.iter().for_each(|word| self.0.extend(word.to_ne_bytes()));
    }

    fn longs(&mut self, longs: &[u64]) {
        longs.iter().for_each(|long| self.0.extend(long.to_ne_bytes()));
    }
}
