//! Who the clients are, and what they do.

use super::Version;
use crate::host::work::{Ending, FILES, Habits, Work};
use crate::random::Random;
use crate::time::{MS, S, US};

/// Whose TCP a client has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// smoltcp's, which shares no line with ours.
    Foreign {
        /// With timestamps.
        timestamps: bool,
        /// Buffers in bytes, for each direction.
        buffer: usize,
        /// ACKs wait for company.
        delays_acks: bool,
        /// How it heeds congestion.
        congestion: Congestion,
    },
    /// Our engine as a client.
    Own {
        /// Largest receive buffer in bytes.
        buffer: u32,
    },
}

/// How smoltcp heeds congestion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Congestion {
    /// Not at all.
    None,
    /// As RFC 5681 has it.
    Reno,
    /// As RFC 9438 has it.
    Cubic,
}

/// A client's machine.
#[derive(Clone, Debug)]
pub struct HostPlan {
    /// Its TCP.
    pub stack: Stack,
    /// Its IP version.
    pub version: Version,
    /// MTU of its card.
    pub mtu: u16,
    /// It asks for ECN.
    pub ecn: bool,
    /// Its connections.
    pub jobs: Vec<JobPlan>,
}

/// A connection.
#[derive(Clone, Debug)]
pub struct JobPlan {
    /// When it is opened, from the moment that the pair has formed.
    pub start_ns: u64,
    /// What for.
    pub work: Work,
    /// In which manner.
    pub habits: Habits,
}

pub(super) fn plan(random: &mut Random) -> Vec<HostPlan> {
    let hosts = random.between(1, 3);
    (0..hosts)
        .map(|_| {
            let stack = stack(random);
            let jobs = (0..random.between(1, 6)).map(|_| job(random)).collect();
            HostPlan { stack, version: Version::V4, mtu: 1500, ecn: false, jobs }
        })
        .collect()
}

/// Some close their side early.
pub(super) fn close_early(hosts: &mut [HostPlan], random: &mut Random) {
    for job in hosts.iter_mut().flat_map(|host| &mut host.jobs) {
        let after_ns = random.magnitude(10, 100_000) * US;
        job.habits.half_close_ns = random.permille(300).then_some(after_ns);
    }
}

fn stack(random: &mut Random) -> Stack {
    if random.permille(450) {
        return Stack::Own { buffer: random.pick(&[8 << 10, 64 << 10, 1 << 20]) };
    }
    Stack::Foreign {
        timestamps: random.permille(500),
        buffer: random.pick(&[2 << 10, 8 << 10, 32 << 10, 64 << 10, 256 << 10]),
        delays_acks: random.permille(500),
        congestion: random.pick(&[Congestion::None, Congestion::Reno, Congestion::Cubic]),
    }
}

fn job(random: &mut Random) -> JobPlan {
    let start_ns = if random.permille(600) { random.below(50 * MS) } else { random.below(2 * S) };
    let work = work(random);
    let chunk = if random.permille(300) { random.magnitude(1, 500) } else { u64::MAX };
    let pause_ns = match chunk {
        u64::MAX => 0,
        _ => random.magnitude(1, 200) * MS,
    };
    // A small piece at long intervals would take forever.
    let pieces = work.sends() / chunk.max(1);
    let pause_ns = pause_ns.min(3 * S / (pieces + 1));
    let read_pause_ns = if random.permille(250) { random.magnitude(1, 3000) * MS } else { 0 };
    let ending = match random.below(20) {
        0 => Ending::AbortAfter(random.below(work.sends() + 1)),
        1 => Ending::AbandonAfter(random.below(work.sends() + 1)),
        _ => Ending::Orderly,
    };
    let silence_ns = if random.permille(150) { random.magnitude(1, 8) * S } else { 0 };
    let habits = Habits { chunk, pause_ns, read_pause_ns, silence_ns, half_close_ns: None, ending };
    JobPlan { start_ns, work, habits }
}

fn work(random: &mut Random) -> Work {
    let bytes = if random.permille(50) { 0 } else { random.magnitude(1, 600_000) };
    match random.below(10) {
        0..=3 => Work::Echo { bytes },
        4 | 5 => Work::Upload { bytes },
        6 | 7 => Work::Download { bytes, paced: false },
        8 => Work::Download { bytes: bytes / 8, paced: true },
        _ => {
            let requests = random.between(1, 5);
            let any = |_| FILES[random.below(FILES.len() as u64) as usize];
            Work::Fetch { files: (0..requests).map(any).collect() }
        }
    }
}
