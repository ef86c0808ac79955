//! What the log costs a core: append -> transmit -> receive -> apply -> confirm, both ends on one
//! core, datagrams copied once on the way as a NIC's buffers would be; with encryption and without.
//!
//!     cargo run --release -p replication --example throughput

use std::hint::black_box;

use replication::{
    Epoch, Incarnation, KeyRing, Numbers, PendingLog, Position, Protection, RecordKind, Sending,
    Session, SessionConfig,
};

const A: Incarnation = Incarnation(1);
const B: Incarnation = Incarnation(2);
/// Of IPv4 and UDP.
const HEADER_BYTES: usize = 28;
/// Datagrams that one poll of the receiver takes at most.
const BURST: usize = 256;

struct Lane {
    datagrams: Vec<(Vec<u8>, usize)>,
    used: usize,
}

impl Lane {
    fn new(max_datagram: usize) -> Lane {
        Lane { datagrams: vec![(vec![0; max_datagram], 0); BURST], used: 0 }
    }

    fn put(&mut self, sending: Sending<'_>) -> bool {
        let Some((buffer, length)) = self.datagrams.get_mut(self.used) else { return false };
        *length = 0;
        for part in sending.parts() {
            buffer[*length..*length + part.len()].copy_from_slice(part);
            *length += part.len();
        }
        let trailer = sending.seal(&mut buffer[..*length]);
        buffer[*length..*length + trailer.len()].copy_from_slice(&trailer);
        *length += trailer.len();
        self.used += 1;
        true
    }

    fn drain(&mut self) -> impl Iterator<Item = &mut [u8]> {
        let used = std::mem::take(&mut self.used);
        self.datagrams[..used].iter_mut().map(|(buffer, length)| &mut buffer[..*length])
    }
}

/// Time that this thread ran: other processes on the machine do not count.
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux keeps it");
    text.split(' ').next().and_then(|ns| ns.parse().ok()).expect("its first field")
}

fn measure(
    protection: &Protection,
    mtu: u16,
    body_bytes: usize,
    records_per_batch: usize,
    total_bytes: usize,
) {
    let config = SessionConfig::for_datagrams(0, usize::from(mtu) - HEADER_BYTES);
    let (mut primary, mut backup) = (Session::new(config), Session::new(config));
    primary.open(Epoch(1), A, B, protection);
    backup.open(Epoch(1), B, A, protection);
    let (mut numbers, mut numbers_back) = (Numbers::default(), Numbers::default());
    let mut log = PendingLog::new(64 << 20, config.max_batch_bytes);
    let mut unused = PendingLog::new(4 << 20, config.max_batch_bytes);
    let (mut there, mut back) = (Lane::new(config.max_datagram), Lane::new(config.max_datagram));
    let body = vec![0x5a; body_bytes];
    let batches = total_bytes / (body_bytes * records_per_batch);
    let (mut now_us, mut applied) = (0, 0_usize);
    let mut sum = 0_u64;

    let started_ns = cpu_ns();
    let mut closed = 0;
    while closed < batches || !primary.all_confirmed() {
        now_us += 1;
        if closed < batches && primary.room() >= records_per_batch * (body_bytes + 8) {
            for shard in 0..records_per_batch as u16 {
                primary.append(shard, RecordKind::Input, &[&body]).expect("there is room");
            }
            primary.close_batch();
            closed += 1;
        }
        primary
            .poll_transmit(now_us, false, &unused, &mut numbers, &mut |sending| there.put(sending));
        for datagram in there.drain() {
            backup.receive(now_us, datagram, &mut log).expect("a calm link");
        }
        backup.poll_transmit(now_us, false, &log, &mut numbers_back, &mut |sending| {
            back.put(sending)
        });
        while let Some((_, record)) = log.pop_record() {
            sum += u64::from(record.body[record.body.len() / 2]);
            applied += 1;
        }
        for datagram in back.drain() {
            primary.receive(now_us, datagram, &mut unused).expect("a calm link");
        }
    }
    let seconds = (cpu_ns() - started_ns) as f64 / 1e9;
    black_box(sum);
    assert_eq!(applied, batches * records_per_batch);
    assert_eq!(primary.confirmed(), Position(batches as u64));
    let gigabytes_per_s = (applied * body_bytes) as f64 / seconds / 1e9;
    let ns_per_record = seconds * 1e9 / applied as f64;
    let name = match protection {
        Protection::Sealed(_) => "aes-256-gcm",
        Protection::Checksum => "none",
    };
    println!(
        "{name:11}  mtu {mtu:5}  record {body_bytes:6} B x {records_per_batch:3} a batch  \
         {gigabytes_per_s:6.2} GB/s  {ns_per_record:8.0} ns a record"
    );
}

fn main() {
    let sealed = Protection::Sealed(KeyRing::single("bench", b"secret"));
    for mtu in [1_500, 9_000] {
        for protection in [&Protection::Checksum, &sealed] {
            measure(protection, mtu, 80, 1, 20 << 20);
            measure(protection, mtu, 80, 32, 100 << 20);
            measure(protection, mtu, 1_520, 32, 1 << 30);
            measure(protection, mtu, 16_000, 8, 1 << 30);
        }
    }
}
