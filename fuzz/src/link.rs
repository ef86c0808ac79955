//! Link sessions: two honest ends over a link that does what the input says, and one end against
//! datagrams that no honest end would send, some of them behind a seal that fits.

use std::collections::VecDeque;

use arbitrary::{Arbitrary, Unstructured};
use replication::frame::{self, Address, Confirm, Data, Gap};
use replication::record::HEADER_BYTES;
use replication::seal::Sealer;
use replication::{
    Epoch, Incarnation, KeyRing, Numbers, PendingLog, Position, Protection, RecordKind, Session,
    SessionConfig,
};

const EPOCH: Epoch = Epoch(7);
const ENDS: [Incarnation; 2] = [Incarnation(0xa), Incarnation(0xb)];
const CHANNEL: u16 = 3;
const MAX_ACTIONS: usize = 300;
/// Turns after which two ends that hear each other must have settled everything.
const PATIENCE: usize = 3_000;

const CONFIG: SessionConfig = SessionConfig {
    channel: CHANNEL,
    max_datagram: 280,
    window_frames: 16,
    max_batch_bytes: 1_500,
    confirm_every_bytes: 600,
    confirm_delay_us: 200,
    retransmit_min_us: 1_000,
    retransmit_max_us: 8_000,
};

/// Six bytes; what they mean depends on `kind`.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Action {
    pub kind: u8,
    pub end: u8,
    pub a: u16,
    pub b: u16,
}

impl Action {
    /// The bytes that this action is made of.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 6] {
        let ([a0, a1], [b0, b1]) = (self.a.to_le_bytes(), self.b.to_le_bytes());
        [self.kind, self.end, a0, a1, b0, b1]
    }
}

pub fn run(input: &[u8]) {
    let mut input = Unstructured::new(input);
    let Ok(mut pair) = u8::arbitrary(&mut input).map(Pair::new) else { return };
    for _ in 0..MAX_ACTIONS {
        if input.is_empty() {
            break;
        }
        let Ok(action) = Action::arbitrary(&mut input) else { break };
        pair.act(&action);
        pair.check();
    }
    pair.settle();
}

struct End {
    session: Session,
    numbers: Numbers,
    log: PendingLog,
    /// What was appended here: batch, shard, length and first byte of the body.
    appended: Vec<(Position, u16, Vec<u8>)>,
    /// How much of what the other end appended was taken out of the log here.
    taken: usize,
}

struct Pair {
    ends: [End; 2],
    /// Datagrams on their way to each end.
    wires: [VecDeque<Vec<u8>>; 2],
    now_us: u64,
    /// Datagrams may come that the other end did not send.
    hostile: bool,
    /// What would make them the other end's.
    protection: Protection,
}

impl Pair {
    fn new(mode: u8) -> Pair {
        let protection = match mode & 2 {
            0 => Protection::Sealed(KeyRing::single("fuzz", b"not one")),
            _ => Protection::Checksum,
        };
        let end = |local, peer| {
            let mut session = Session::new(CONFIG);
            session.open(EPOCH, local, peer, &protection);
            let smallest = 2 * (CONFIG.max_batch_bytes + 12) + 65_535;
            let log = PendingLog::new(smallest, CONFIG.max_batch_bytes);
            End { session, numbers: Numbers::default(), log, appended: Vec::new(), taken: 0 }
        };
        let ends = [end(ENDS[0], ENDS[1]), end(ENDS[1], ENDS[0])];
        let (wires, hostile) = (Default::default(), mode & 1 == 1);
        Pair { ends, wires, now_us: 1, hostile, protection }
    }

    fn act(&mut self, action: &Action) {
        let at = usize::from(action.end & 1);
        match action.kind % 10 {
            0 | 1 => self.append(at, action),
            2 => {
                self.ends[at].session.close_batch();
            }
            3 => self.poll(at, action.a & 1 == 1, usize::from(action.b % 64)),
            4 => self.deliver(at, usize::from(action.a)),
            5 => self.now_us += u64::from(action.a),
            6 => self.damage(at, action),
            7 => self.take_records(at, usize::from(action.a % 32)),
            8 => self.forge(at, action),
            _ => {
                let wire = &mut self.wires[at];
                if let Some(last) = wire.back().cloned() {
                    wire.push_front(last);
                }
            }
        }
    }

    /// A record of `a` bytes. What [`Session::room`] says has room is never refused.
    fn append(&mut self, at: usize, action: &Action) {
        let End { session, appended, .. } = &mut self.ends[at];
        let body = vec![action.b as u8; usize::from(action.a) % 1_600];
        let (one, two) = body.split_at(body.len() / 3);
        let promised = session.room() >= HEADER_BYTES + body.len();
        match session.append(action.b, RecordKind::Input, &[one, two]) {
            Ok(position) => appended.push((position, action.b, body)),
            Err(error) => assert!(!promised, "room() did not keep its promise: {error}"),
        }
    }

    fn poll(&mut self, at: usize, idle: bool, room: usize) {
        let wire = &mut self.wires[1 - at];
        let End { session, numbers, log, .. } = &mut self.ends[at];
        let mut room = room;
        session.poll_transmit(self.now_us, idle, log, numbers, &mut |sending| {
            assert!(frame::parse(&sending.parts().concat()).is_ok());
            let datagram = sending.to_vec();
            assert!(datagram.len() <= CONFIG.max_datagram, "{} bytes", datagram.len());
            if room == 0 {
                return false;
            }
            room -= 1;
            wire.push_back(datagram);
            true
        });
    }

    fn deliver(&mut self, at: usize, which: usize) {
        let wire = &mut self.wires[at];
        if let Some(datagram) = which.checked_rem(wire.len()).and_then(|at| wire.remove(at)) {
            self.receive(at, datagram);
        }
    }

    fn receive(&mut self, at: usize, mut datagram: Vec<u8>) {
        let End { session, log, .. } = &mut self.ends[at];
        // What is refused is counted; what that does to the outcome is judged at the end.
        let _ = session.receive(self.now_us, &mut datagram, log);
    }

    /// Changes a byte of a datagram on its way, cuts it, or loses it.
    fn damage(&mut self, at: usize, action: &Action) {
        let wire = &mut self.wires[at];
        let Some(mut datagram) = wire.pop_front().filter(|datagram| !datagram.is_empty()) else {
            return;
        };
        match action.b & 3 {
            0 => {}
            1 => {
                datagram.truncate(usize::from(action.a) % datagram.len());
                wire.push_back(datagram);
            }
            _ => {
                let place = usize::from(action.a) % datagram.len();
                datagram[place] ^= (action.b >> 8) as u8 | 1;
                wire.push_back(datagram);
            }
        }
    }

    fn take_records(&mut self, at: usize, most: usize) {
        for _ in 0..most {
            let other = &self.ends[1 - at].appended;
            let expected = other.get(self.ends[at].taken).cloned();
            let End { log, taken, .. } = &mut self.ends[at];
            let Some((position, record)) = log.pop_record() else { return };
            *taken += 1;
            if !self.hostile {
                let got = (position, record.shard, record.body.to_vec());
                assert_eq!(Some(got), expected, "each record once, in order");
            }
        }
    }

    /// A well-formed datagram with numbers that nobody agreed upon.
    fn forge(&mut self, at: usize, action: &Action) {
        if !self.hostile {
            return;
        }
        let (sender, receiver) = (ENDS[1 - at], ENDS[at]);
        let address = Address { channel: CHANNEL, epoch: EPOCH, sender, receiver };
        let near = u64::from(action.a & 31);
        let number = if action.a & 32 == 0 { near } else { u64::MAX - near };
        let gap = |n: u16| Gap { missing: u32::from(n & 7) + 1, held: u32::from(n >> 3 & 7) + 1 };
        let confirm = (action.a & 64 == 0).then(|| Confirm {
            next: number,
            credit: u32::from(action.b) << (action.a >> 12),
            gaps: (0..action.a >> 7 & 15).map(|n| gap(action.b.rotate_left(n.into()))).collect(),
        });
        let body = [[1, 0, 1, 0, 2, 0, 0, 0, 9, 9], [1, 0, 9, 0, 255, 0, 0, 0, 0, 0]];
        let payload = body[usize::from(action.b >> 4 & 1)].repeat(1 + usize::from(action.b >> 8));
        let payload = &payload[..payload.len().min(CONFIG.max_datagram)];
        let batch_end = action.b & 1 == 1;
        let data = Data { sequence: number, batch_end, payload };
        let data = (action.b & 2 == 2 || confirm.is_none()).then_some(data);
        let mut datagram = frame::encode(&address, confirm.as_ref(), data.as_ref()).to_vec();
        datagram.extend_from_slice(data.map_or(&[], |data| data.payload));
        // With the sender's own numbers: it must not be taken for a repetition.
        let mut sealer = Sealer::new(address, &self.protection);
        let trailer = sealer.seal(&mut self.ends[1 - at].numbers, &mut datagram);
        datagram.extend_from_slice(&trailer);
        self.receive(at, datagram);
    }

    /// No end holds more to be confirmed than the other has.
    fn check(&self) {
        for (end, other) in [(0, 1), (1, 0)] {
            let session = &self.ends[end].session;
            assert!(session.confirmed() < session.position());
            let received = self.ends[other].log.received();
            assert!(self.hostile || session.confirmed() <= received, "confirmed and not received");
        }
    }

    /// Over a link that has become good, all that was appended arrives and is confirmed.
    fn settle(&mut self) {
        self.ends.iter_mut().for_each(|end| {
            end.session.close_batch();
        });
        for _ in 0..PATIENCE {
            let done = |end: &End| end.session.all_confirmed() && end.log.is_empty();
            if self.hostile || self.ends.iter().all(done) {
                break;
            }
            self.now_us += 300;
            for at in [0, 1] {
                while !self.wires[at].is_empty() {
                    self.deliver(at, 0);
                }
                self.take_records(at, usize::MAX);
                self.poll(at, true, usize::MAX);
            }
        }
        for (end, other) in [(0, 1), (1, 0)] {
            let all = self.ends[other].appended.len();
            assert!(self.hostile || self.ends[end].taken == all, "a record never came");
        }
    }
}
