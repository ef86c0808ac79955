//! What the workers of a node tell each other: the lead what the node is, the others how they
//! fare. Atomics only; every field has one writer unless it says otherwise.

use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

use crossbeam::utils::CachePadded;
use replication::{
    Directive, Epoch, GateMode, Incarnation, Link, Log, MAX_PEERS, Majority, Mismatch, PeerIndex,
    Position, Role, Votes,
};

/// No time, no epoch.
const NONE: u64 = u64::MAX;
/// How often a reader tries for an undisturbed copy of the directive before it goes on with the
/// one it has.
const READ_TRIES: usize = 4;

/// All boards of a node.
#[derive(Debug)]
pub(crate) struct Board {
    order: CachePadded<Order>,
    workers: Box<[CachePadded<Tick>]>,
    /// Which worker holds each shard, written by that worker.
    owners: Box<[AtomicU16]>,
}

/// The directive, written by the lead. `version` is odd while it is being written.
#[derive(Debug, Default)]
struct Order {
    version: AtomicU64,
    epoch: AtomicU64,
    flags: AtomicU64,
    logs: [LogOrder; MAX_PEERS],
    parting: AtomicU64,
    tails: [LogOrder; MAX_PEERS],
    /// When the steward was last asked. Followers obey only what is not older than their last
    /// stall, and fall silent when the lead itself stands still.
    given_us: AtomicU64,
    /// The epoch in which the lead claimed the service address.
    serving_epoch: AtomicU64,
}

/// What the directive says of the log with one of the other nodes.
#[derive(Debug, Default)]
struct LogOrder {
    epoch: AtomicU64,
    run: AtomicU64,
    /// Zero: there is none.
    flags: AtomicU64,
}

/// One worker's state, written by it and read by the lead.
#[derive(Debug)]
struct Tick {
    alive_us: AtomicU64,
    /// Longest stall since the lead last looked: raised by the worker, taken by the lead.
    stalled_us: AtomicU64,
    unconfirmed_since_us: [AtomicU64; MAX_PEERS],
    first_packet_us: AtomicU64,
    last_kick_us: AtomicU64,
    /// When clients were last heard that another node serves, and when they last were in its log.
    clients_heard_us: AtomicU64,
    clients_logged_us: AtomicU64,
    /// The epoch for whose takeover nothing is left to apply.
    applied_epoch: AtomicU64,
    parted: AtomicU64,
    gathered: [AtomicU64; MAX_PEERS],
    /// Bits of `State`.
    state: AtomicU64,
    mismatch: [AtomicU64; 4],
}

/// What a worker tells the lead in each loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub unconfirmed_since_us: [Option<u64>; MAX_PEERS],
    pub first_packet_us: Option<u64>,
    pub last_kick_us: Option<u64>,
    pub session_open: bool,
    pub refused_log: bool,
    pub log_applied: bool,
    pub mismatch: Option<Mismatch>,
    /// Shards that are held and have caught up with their log.
    pub held: u16,
    pub handed_over: bool,
    pub settled: bool,
    pub handover_failed: bool,
    /// The order to quiesce that is carried out; 0: none.
    pub quiet: u32,
    /// The plan to leave backups out that can be carried out; 0: none.
    pub parted: u32,
    pub gathered: [Option<Epoch>; MAX_PEERS],
}

const SESSION_OPEN: u64 = 1;
const REFUSED_LOG: u64 = 2;
const LOG_APPLIED: u64 = 4;
const MISMATCH: u64 = 8;
const HANDED_OVER: u64 = 16;
const SETTLED: u64 = 32;
const HANDOVER_FAILED: u64 = 64;
/// Above the flags: the number of shards that are held.
const HELD_SHIFT: u32 = 16;
/// Above that: the order to quiesce that is carried out.
const QUIET_SHIFT: u32 = 32;

impl Board {
    pub fn new(workers: u16, shards: u16) -> Board {
        let tick = || {
            CachePadded::new(Tick {
                alive_us: AtomicU64::new(NONE),
                stalled_us: AtomicU64::new(0),
                unconfirmed_since_us: std::array::from_fn(|_| AtomicU64::new(NONE)),
                first_packet_us: AtomicU64::new(NONE),
                last_kick_us: AtomicU64::new(NONE),
                clients_heard_us: AtomicU64::new(NONE),
                clients_logged_us: AtomicU64::new(NONE),
                applied_epoch: AtomicU64::new(NONE),
                parted: AtomicU64::new(0),
                gathered: std::array::from_fn(|_| AtomicU64::new(NONE)),
                state: AtomicU64::new(0),
                mismatch: Default::default(),
            })
        };
        let order = Order { serving_epoch: AtomicU64::new(NONE), ..Order::default() };
        Board {
            order: CachePadded::new(order),
            workers: (0..workers).map(|_| tick()).collect(),
            owners: (0..shards).map(|_| AtomicU16::new(0)).collect(),
        }
    }

    pub fn workers(&self) -> u16 {
        u16::try_from(self.workers.len()).unwrap_or(u16::MAX)
    }

    /// Lead: publishes what the steward said at `now_us`; whether it is `news`, different from what
    /// was published last.
    pub fn publish(&self, now_us: u64, directive: &Directive, news: bool) {
        let order = &self.order;
        let version = order.version.load(Ordering::SeqCst);
        if !news && version != 0 {
            order.given_us.store(now_us, Ordering::SeqCst);
            return;
        }
        order.version.store(version.wrapping_add(1), Ordering::SeqCst);
        order.epoch.store(directive.epoch.0, Ordering::SeqCst);
        order.flags.store(flags_of(directive), Ordering::SeqCst);
        for (to, log) in order.logs.iter().zip(&directive.logs) {
            to.publish(log.as_ref());
        }
        order.parting.store(directive.majority.parting.into(), Ordering::SeqCst);
        for (to, log) in order.tails.iter().zip(&directive.majority.tails) {
            to.publish(log.as_ref());
        }
        order.given_us.store(now_us, Ordering::SeqCst);
        order.version.store(version.wrapping_add(2), Ordering::SeqCst);
    }

    /// The last directive and when it was given. Nothing before the first, or when the lead was
    /// writing at every try.
    pub fn read(&self) -> Option<(u64, Directive)> {
        let order = &self.order;
        for _ in 0..READ_TRIES {
            let before = order.version.load(Ordering::SeqCst);
            let epoch = Epoch(order.epoch.load(Ordering::SeqCst));
            let flags = order.flags.load(Ordering::SeqCst);
            let logs = std::array::from_fn(|place| order.logs[place].read());
            let majority = Majority {
                parting: order.parting.load(Ordering::SeqCst) as u32,
                sealed: flags & SEALED != 0,
                tails: std::array::from_fn(|place| order.tails[place].read()),
            };
            let given_us = order.given_us.load(Ordering::SeqCst);
            if before == order.version.load(Ordering::SeqCst) && before & 1 == 0 {
                return (before != 0)
                    .then(|| (given_us, directive_of(epoch, flags, logs, majority)));
            }
        }
        None
    }

    /// Lead: the service address is claimed in `epoch`.
    pub fn serve(&self, epoch: Epoch) {
        self.order.serving_epoch.store(epoch.0, Ordering::SeqCst);
    }

    /// Lead: this node does not serve.
    pub fn cease(&self) {
        self.order.serving_epoch.store(NONE, Ordering::SeqCst);
    }

    /// Whether the service address is claimed in `epoch`.
    pub fn serves(&self, epoch: Epoch) -> bool {
        self.order.serving_epoch.load(Ordering::SeqCst) == epoch.0
    }

    /// A worker: it holds `shard` from now on.
    pub fn own(&self, worker: u16, shard: u16) {
        self.owners[usize::from(shard)].store(worker, Ordering::SeqCst);
    }

    /// The worker of each shard, once [all have applied](Self::all_applied) what they hold.
    pub fn owners(&self) -> impl Iterator<Item = u16> {
        self.owners.iter().map(|owner| owner.load(Ordering::SeqCst))
    }

    /// A worker: alive at `now_us`.
    pub fn tick(&self, worker: u16, now_us: u64) {
        self.of(worker).alive_us.store(now_us, Ordering::SeqCst);
    }

    /// A worker: its loop stood still for so long.
    pub fn stalled(&self, worker: u16, for_us: u64) {
        self.of(worker).stalled_us.fetch_max(for_us, Ordering::SeqCst);
    }

    /// A worker: it heard clients of the service that another node serves.
    pub fn clients_heard(&self, worker: u16, now_us: u64) {
        self.of(worker).clients_heard_us.store(now_us, Ordering::Relaxed);
    }

    /// A worker: the log that it applies had segments of clients.
    pub fn clients_logged(&self, worker: u16, now_us: u64) {
        self.of(worker).clients_logged_us.store(now_us, Ordering::Relaxed);
    }

    /// Lead: when any worker last said so, of each of the two.
    pub fn clients_heard_and_logged(&self) -> (Option<u64>, Option<u64>) {
        let last = |of: fn(&Tick) -> &AtomicU64| {
            self.workers.iter().filter_map(|tick| some_time(of(tick))).max()
        };
        (last(|tick| &tick.clients_heard_us), last(|tick| &tick.clients_logged_us))
    }

    /// A worker: nothing is left to apply for the takeover of `epoch`.
    pub fn applied(&self, worker: u16, epoch: Epoch) {
        self.of(worker).applied_epoch.store(epoch.0, Ordering::SeqCst);
    }

    /// Whether every worker has applied all for the takeover of `epoch`.
    pub fn all_applied(&self, epoch: Epoch) -> bool {
        self.workers.iter().all(|tick| tick.applied_epoch.load(Ordering::SeqCst) == epoch.0)
    }

    /// A worker: how it stands at the end of a loop.
    pub fn stand(&self, worker: u16, standing: &Standing) {
        let tick = self.of(worker);
        let or_none = |time: Option<u64>| time.unwrap_or(NONE);
        for (to, since) in tick.unconfirmed_since_us.iter().zip(standing.unconfirmed_since_us) {
            set(to, or_none(since));
        }
        set(&tick.first_packet_us, or_none(standing.first_packet_us));
        set(&tick.last_kick_us, or_none(standing.last_kick_us));
        if let Some(mismatch) = standing.mismatch {
            let place = u64::from(mismatch.shard);
            let words = [place, mismatch.position.0, mismatch.primary, mismatch.ours];
            for (to, word) in tick.mismatch.iter().zip(words) {
                to.store(word, Ordering::SeqCst);
            }
        }
        set(&tick.parted, standing.parted.into());
        for (to, epoch) in tick.gathered.iter().zip(standing.gathered) {
            set(to, or_none(epoch.map(|epoch| epoch.0)));
        }
        let bit = |set: bool, bit: u64| if set { bit } else { 0 };
        let state = bit(standing.session_open, SESSION_OPEN)
            | bit(standing.refused_log, REFUSED_LOG)
            | bit(standing.log_applied, LOG_APPLIED)
            | bit(standing.mismatch.is_some(), MISMATCH)
            | bit(standing.handed_over, HANDED_OVER)
            | bit(standing.settled, SETTLED)
            | bit(standing.handover_failed, HANDOVER_FAILED)
            | u64::from(standing.held) << HELD_SHIFT
            | u64::from(standing.quiet) << QUIET_SHIFT;
        // The flag is stored last, so that whoever sees it sees the words it speaks of.
        set(&tick.state, state);
    }

    /// Lead: all workers' standing in one, and the longest stall among them: one that a worker
    /// confessed, or one that is still going on at `now_us`.
    pub fn survey(&self, now_us: u64) -> (Standing, u64) {
        let mut all = Standing {
            session_open: true,
            log_applied: true,
            handed_over: true,
            settled: true,
            ..Standing::default()
        };
        all.last_kick_us = Some(0);
        let mut stalled_us = 0;
        let (mut quiet, mut parted) = (None, None);
        let mut gathered = [None; MAX_PEERS];
        for tick in &self.workers {
            let state = tick.state.load(Ordering::SeqCst);
            all.session_open &= state & SESSION_OPEN != 0;
            all.log_applied &= state & LOG_APPLIED != 0;
            all.refused_log |= state & REFUSED_LOG != 0;
            all.handed_over &= state & HANDED_OVER != 0;
            all.settled &= state & SETTLED != 0;
            all.handover_failed |= state & HANDOVER_FAILED != 0;
            all.held = all.held.saturating_add((state >> HELD_SHIFT) as u16);
            let own = (state >> QUIET_SHIFT) as u32;
            agree(&mut quiet, own, 0);
            agree(&mut parted, tick.parted.load(Ordering::SeqCst) as u32, 0);
            for (all, own) in gathered.iter_mut().zip(&tick.gathered) {
                agree(all, own.load(Ordering::SeqCst), NONE);
            }
            for (all, own) in all.unconfirmed_since_us.iter_mut().zip(&tick.unconfirmed_since_us) {
                *all = earliest(*all, some_time(own));
            }
            all.first_packet_us = earliest(all.first_packet_us, some_time(&tick.first_packet_us));
            // The last one of all: there is none before each worker is through.
            let last_kick = all.last_kick_us.zip(some_time(&tick.last_kick_us));
            all.last_kick_us = last_kick.map(|(others, own)| others.max(own));
            if state & MISMATCH != 0 && all.mismatch.is_none() {
                let [shard, position, primary, ours] =
                    [0, 1, 2, 3].map(|word: usize| tick.mismatch[word].load(Ordering::SeqCst));
                let shard = u16::try_from(shard).unwrap_or(u16::MAX);
                all.mismatch =
                    Some(Mismatch { shard, position: Position(position), primary, ours });
            }
            let quiet_us = some_time(&tick.alive_us).map_or(0, |at| now_us.saturating_sub(at));
            let confessed_us = tick.stalled_us.swap(0, Ordering::SeqCst);
            stalled_us = stalled_us.max(quiet_us).max(confessed_us);
        }
        all.quiet = quiet.unwrap_or(0);
        all.parted = parted.unwrap_or(0);
        all.gathered = gathered.map(|all| all.filter(|epoch| *epoch != NONE).map(Epoch));
        (all, stalled_us)
    }

    fn of(&self, worker: u16) -> &Tick {
        &self.workers[usize::from(worker)]
    }
}

/// The earlier of two times that may not exist.
pub(crate) fn earliest(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}

/// What all workers say, or `none` if they do not say the same.
fn agree<T: Copy + PartialEq>(all: &mut Option<T>, own: T, none: T) {
    *all = Some(if all.is_none_or(|others| others == own) { own } else { none });
}

/// Writes what no other writes; mostly it is that already, and looking costs less than writing.
fn set(to: &AtomicU64, value: u64) {
    if to.load(Ordering::Relaxed) != value {
        to.store(value, Ordering::SeqCst);
    }
}

fn some_time(time: &AtomicU64) -> Option<u64> {
    Some(time.load(Ordering::SeqCst)).filter(|&time| time != NONE)
}

/// Above the role, `silent` and `solicits`.
const SEALED: u64 = 1 << 10;

fn flags_of(directive: &Directive) -> u64 {
    let role = match directive.role {
        Role::Spare => 0,
        Role::Backup => 1,
        Role::Primary(GateMode::Confirmed) => 2,
        Role::Primary(GateMode::Open) => 3,
        Role::Joining => 4,
    };
    let silent = u64::from(directive.silent) << 8;
    let solicits = u64::from(directive.solicits) << 9;
    let sealed = if directive.majority.sealed { SEALED } else { 0 };
    let passes_on = directive.passes_on.map_or(0, |peer| 1 + u64::from(peer.0)) << 16;
    let quiesce = u64::from(directive.quiesce) << 32;
    role | silent | solicits | sealed | passes_on | quiesce
}

fn directive_of(
    epoch: Epoch,
    flags: u64,
    logs: [Option<Log>; MAX_PEERS],
    majority: Majority,
) -> Directive {
    let role = match flags & 0xff {
        1 => Role::Backup,
        2 => Role::Primary(GateMode::Confirmed),
        3 => Role::Primary(GateMode::Open),
        4 => Role::Joining,
        _ => Role::Spare,
    };
    Directive {
        epoch,
        role,
        silent: flags & 1 << 8 != 0,
        logs,
        quiesce: (flags >> 32) as u32,
        passes_on: ((flags >> 16) as u8).checked_sub(1).map(PeerIndex),
        solicits: flags & 1 << 9 != 0,
        majority,
    }
}

/// Flags of a log, and above them the other node's workers.
const LOG_EXISTS: u64 = 1;
const LOG_COUNTS: u64 = 2;
const LOG_HANDS_OVER: u64 = 4;
const LOG_ON_SECOND_LINK: u64 = 8;
const LOG_VOTES_NOW: u64 = 16;
const LOG_VOTES_NEXT: u64 = 32;
const WORKERS_SHIFT: u32 = 16;

impl LogOrder {
    fn publish(&self, log: Option<&Log>) {
        let Some(log) = log else { return self.flags.store(0, Ordering::SeqCst) };
        let bit = |set: bool, bit: u64| if set { bit } else { 0 };
        let flags = LOG_EXISTS
            | bit(log.counts, LOG_COUNTS)
            | bit(log.hands_over, LOG_HANDS_OVER)
            | bit(log.link == Link::Second, LOG_ON_SECOND_LINK)
            | bit(log.votes.now, LOG_VOTES_NOW)
            | bit(log.votes.next, LOG_VOTES_NEXT)
            | u64::from(log.workers) << WORKERS_SHIFT;
        self.epoch.store(log.epoch.0, Ordering::SeqCst);
        self.run.store(log.run.0, Ordering::SeqCst);
        self.flags.store(flags, Ordering::SeqCst);
    }

    fn read(&self) -> Option<Log> {
        let flags = self.flags.load(Ordering::SeqCst);
        (flags & LOG_EXISTS != 0).then(|| Log {
            epoch: Epoch(self.epoch.load(Ordering::SeqCst)),
            run: Incarnation(self.run.load(Ordering::SeqCst)),
            workers: (flags >> WORKERS_SHIFT) as u16,
            link: Link::ALL[usize::from(flags & LOG_ON_SECOND_LINK != 0)],
            counts: flags & LOG_COUNTS != 0,
            hands_over: flags & LOG_HANDS_OVER != 0,
            votes: Votes { now: flags & LOG_VOTES_NOW != 0, next: flags & LOG_VOTES_NEXT != 0 },
        })
    }
}

/// Which worker of `workers` receives what comes in for session channel `channel`, and applies
/// its records when this node is the backup.
pub(crate) fn worker_of_channel(channel: u16, workers: u16) -> u16 {
    channel % workers.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directive(role: Role) -> Directive {
        let hands_over = role == Role::Primary(GateMode::Open);
        let (epoch, run) = (Epoch(5), Incarnation(0xabcd));
        let link = if hands_over { Link::Second } else { Link::First };
        let votes = Votes { now: hands_over, next: !hands_over };
        let log = Log { epoch, run, workers: 300, link, counts: !hands_over, hands_over, votes };
        let other = Log { epoch: Epoch(6), workers: u16::MAX, counts: hands_over, ..log };
        let passes_on = (role == Role::Backup).then_some(PeerIndex(2));
        let logs = [Some(log), None, Some(other)];
        let (epoch, quiesce) = (Epoch(7), u32::MAX);
        let solicits = role == Role::Backup;
        let sealed = role == Role::Backup;
        let tails = [None, Some(Log { epoch: Epoch(8), ..log }), None];
        let majority = Majority { parting: u32::MAX - 1, sealed, tails };
        Directive { epoch, role, silent: true, logs, quiesce, passes_on, solicits, majority }
    }

    #[test]
    fn directive_is_read_as_it_was_published() {
        let board = Board::new(1, 1);
        assert_eq!(board.read(), None);
        for role in [
            Role::Spare,
            Role::Joining,
            Role::Backup,
            Role::Primary(GateMode::Open),
            Role::Primary(GateMode::Confirmed),
        ] {
            board.publish(42, &directive(role), true);
            assert_eq!(board.read(), Some((42, directive(role))));
        }
        let nobody = Directive { logs: [None; MAX_PEERS], silent: false, ..directive(Role::Spare) };
        board.publish(43, &nobody, true);
        assert_eq!(board.read(), Some((43, nobody)));
        board.publish(44, &nobody, false);
        assert_eq!(board.read(), Some((44, nobody)), "it still holds");
    }

    #[test]
    fn first_directive_is_always_published() {
        let board = Board::new(1, 1);
        board.publish(1, &directive(Role::Spare), false);
        assert_eq!(board.read(), Some((1, directive(Role::Spare))));
    }

    #[test]
    fn follower_that_stands_still_counts_as_a_stall() {
        let board = Board::new(2, 1);
        board.tick(0, 100);
        board.tick(1, 40);
        assert_eq!(board.survey(100).1, 60);
        board.tick(1, 100);
        board.stalled(1, 77);
        assert_eq!(board.survey(100).1, 77, "also after it woke up");
        assert_eq!(board.survey(100).1, 0, "but once");
    }

    #[test]
    fn standing_of_all_is_the_worst_of_each() {
        let board = Board::new(2, 1);
        let good = Standing { session_open: true, log_applied: true, ..Standing::default() };
        let mismatch = Mismatch { shard: 3, position: Position(9), primary: 0xaaaa, ours: 0xbbbb };
        board.stand(0, &Standing { unconfirmed_since_us: [Some(9), None, Some(3)], ..good });
        board.stand(
            1,
            &Standing {
                unconfirmed_since_us: [Some(5), None, Some(4)],
                mismatch: Some(mismatch),
                log_applied: false,
                ..good
            },
        );
        let (all, _) = board.survey(0);
        assert_eq!(all.unconfirmed_since_us, [Some(5), None, Some(3)]);
        assert_eq!(all.mismatch, Some(mismatch));
        assert!(all.session_open && !all.log_applied && !all.refused_log);
    }

    #[test]
    fn node_is_quiet_when_all_workers_carry_out_the_same_order() {
        let board = Board::new(3, 1);
        let quiet = |quiet| Standing { quiet, ..Standing::default() };
        board.stand(0, &quiet(2));
        board.stand(1, &quiet(2));
        assert_eq!(board.survey(0).0.quiet, 0, "one is at work");
        board.stand(2, &quiet(1));
        assert_eq!(board.survey(0).0.quiet, 0, "one knows of an earlier order only");
        board.stand(2, &quiet(2));
        assert_eq!(board.survey(0).0.quiet, 2);
    }

    #[test]
    fn plan_and_exchange_count_when_all_workers_say_the_same_of_them() {
        let board = Board::new(2, 1);
        let done = |parted, epoch| Standing {
            parted,
            gathered: [None, Some(Epoch(epoch)), None],
            ..Standing::default()
        };
        board.stand(0, &done(3, 7));
        let all = board.survey(0).0;
        assert_eq!((all.parted, all.gathered), (0, [None; 3]));
        board.stand(1, &done(2, 6));
        let all = board.survey(0).0;
        assert_eq!((all.parted, all.gathered), (0, [None; 3]), "it knows of earlier ones only");
        board.stand(1, &done(3, 7));
        let all = board.survey(0).0;
        assert_eq!((all.parted, all.gathered), (3, [None, Some(Epoch(7)), None]));
    }

    #[test]
    fn last_kick_of_all_is_the_last_one_of_the_last_worker() {
        let board = Board::new(2, 1);
        board.stand(1, &Standing { last_kick_us: Some(7), ..Standing::default() });
        assert_eq!(board.survey(0).0.last_kick_us, None);
        board.stand(0, &Standing { last_kick_us: Some(5), ..Standing::default() });
        assert_eq!(board.survey(0).0.last_kick_us, Some(7));
    }

    #[test]
    fn takeover_waits_for_every_worker() {
        let board = Board::new(2, 1);
        board.applied(0, Epoch(4));
        assert!(!board.all_applied(Epoch(4)));
        board.applied(1, Epoch(4));
        assert!(board.all_applied(Epoch(4)) && !board.all_applied(Epoch(5)));
        board.serve(Epoch(4));
        assert!(board.serves(Epoch(4)) && !board.serves(Epoch(5)));
        board.cease();
        assert!(!board.serves(Epoch(4)));
    }
}
