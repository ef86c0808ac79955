//! The replication log alone: one end appends and sends, the other receives and confirms.

use replication::{
    Epoch, Incarnation, Numbers, PendingLog, Position, Protection, RecordKind, Sending, Session,
    SessionConfig,
};

use crate::{LINK_MTU, Meter};

/// Of IPv4 and UDP.
const HEADER_BYTES: usize = 28;

/// A record with a 64 B request: time, length, and a packet with its headers.
const BODY: [u8; 8 + 2 + 52 + 64] = [0x5a; 126];
/// Records of a batch: one for each shard of a small cluster.
const BATCH: u16 = 4;
/// Batches until the other end is polled.
const BATCHES: u32 = 8;

/// Both ends, and the wire between them.
#[derive(Debug)]
pub struct Log {
    primary: Session,
    backup: Session,
    pending: PendingLog,
    /// What the backup never logs.
    nothing: PendingLog,
    there: Lane,
    back: Lane,
    now_us: u64,
    batches: u64,
    numbers: [Numbers; 2],
}

/// Datagrams on their way, in buffers that are used again, as a card's are.
#[derive(Debug, Default)]
struct Lane {
    datagrams: Vec<Vec<u8>>,
    used: usize,
}

impl Lane {
    fn put(&mut self, sending: Sending<'_>) -> bool {
        if self.used == self.datagrams.len() {
            self.datagrams.push(Vec::with_capacity(LINK_MTU.into()));
        }
        let datagram = &mut self.datagrams[self.used];
        datagram.clear();
        sending.parts().iter().for_each(|part| datagram.extend_from_slice(part));
        let trailer = sending.seal(datagram);
        datagram.extend_from_slice(&trailer);
        self.used += 1;
        true
    }

    fn drain(&mut self) -> &mut [Vec<u8>] {
        &mut self.datagrams[..std::mem::take(&mut self.used)]
    }
}

impl Log {
    /// A log that is protected like this.
    #[must_use]
    pub fn new(protection: &Protection) -> Log {
        let config = SessionConfig::for_datagrams(0, usize::from(LINK_MTU) - HEADER_BYTES);
        let (mut primary, mut backup) = (Session::new(config), Session::new(config));
        let (a, b) = (Incarnation(1), Incarnation(2));
        primary.open(Epoch(1), a, b, protection);
        backup.open(Epoch(1), b, a, protection);
        Log {
            primary,
            backup,
            pending: PendingLog::new(4 << 20, config.max_batch_bytes),
            nothing: PendingLog::new(4 << 20, config.max_batch_bytes),
            there: Lane::default(),
            back: Lane::default(),
            now_us: 0,
            batches: 0,
            numbers: Default::default(),
        }
    }
}

impl Log {
    /// Lets at least so many records cross, and says how many did. What the node does is the
    /// primary's end.
    ///
    /// # Panics
    /// When a record is lost.
    pub fn run(&mut self, records: u64, meter: &mut Meter) -> u64 {
        let mut done = 0;
        while done < records {
            self.now_us += 10;
            if meter.on {
                meter.node(|| counted_primary(self));
                done += meter.backup(|| counted_backup(self));
            } else {
                primary_end(self);
                done += backup_end(self);
            }
        }
        for datagram in self.back.drain() {
            take(&mut self.primary, self.now_us, datagram, &mut self.nothing);
        }
        assert_eq!(self.primary.confirmed(), Position(self.batches), "all of it arrived");
        done
    }
}

#[inline(never)]
fn counted_primary(log: &mut Log) {
    primary_end(log);
}

#[inline(never)]
fn counted_backup(log: &mut Log) -> u64 {
    backup_end(log)
}

#[inline(always)]
fn primary_end(log: &mut Log) {
    for datagram in log.back.drain() {
        take(&mut log.primary, log.now_us, datagram, &mut log.nothing);
    }
    for _ in 0..BATCHES {
        for shard in 0..BATCH {
            let appended = log.primary.append(shard, RecordKind::Input, &[&BODY]);
            appended.expect("the other end keeps up");
        }
        log.primary.close_batch();
        log.batches += 1;
        let Log { primary, nothing, there, numbers: [numbers, _], now_us, .. } = log;
        primary.poll_transmit(*now_us, true, nothing, numbers, &mut |sending| there.put(sending));
    }
}

#[inline(always)]
fn backup_end(log: &mut Log) -> u64 {
    for datagram in log.there.drain() {
        take(&mut log.backup, log.now_us, datagram, &mut log.pending);
    }
    let Log { backup, pending, back, numbers: [_, numbers], now_us, .. } = log;
    backup.poll_transmit(*now_us, true, pending, numbers, &mut |sending| back.put(sending));
    let mut records = 0;
    while let Some((_, record)) = log.pending.pop_record() {
        std::hint::black_box(record.body);
        records += 1;
    }
    records
}

fn take(session: &mut Session, now_us: u64, datagram: &mut [u8], log: &mut PendingLog) {
    session.receive(now_us, datagram, log).expect("a calm link");
}
