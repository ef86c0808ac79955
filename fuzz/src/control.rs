//! Messages of the control plane, authentic or not, and a member that hears them.

use arbitrary::{Arbitrary, Unstructured};
use controlplane::message::{Body, Condition, Datagram, Heartbeat, MAX_DATAGRAM, Message, Which};
use controlplane::register::View;
use controlplane::status::LanState;
use controlplane::{Identity, Manifest, Member, MemberConfig, NodeId, NodeName, Order};
use replication::{Epoch, Incarnation, KeyRing, Link, Path, Report, Solicited};

const CLUSTER: &str = "fuzz";
const SECRET: &[u8] = b"not one";
const TAG_BYTES: usize = 16;
/// Bytes of a message that are not encrypted.
const CLEAR_BYTES: usize = 28;
const MAX_ACTIONS: usize = 200;

pub fn run(input: &[u8]) {
    let Some((&mode, bytes)) = input.split_first() else { return };
    match mode % 3 {
        0 => decode(bytes),
        1 => decode(&sealed(bytes)),
        _ => listen(bytes),
    }
}

fn keys() -> KeyRing {
    KeyRing::single(CLUSTER, SECRET)
}

fn decode(datagram: &[u8]) {
    let mut opened = Datagram::new();
    let Ok(message) = Message::decode(datagram, &keys(), &mut opened) else { return };
    let written = message.encode(&keys());
    assert_eq!(written[..], datagram[..written.len()], "what was read is what was written");
}

/// A datagram with the right magic, version, length, key and seal around whatever it holds.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut datagram = bytes[..bytes.len().min(MAX_DATAGRAM - TAG_BYTES)].to_vec();
    if datagram.len() < CLEAR_BYTES {
        return datagram;
    }
    let (keys, length) = (keys(), (datagram.len() + TAG_BYTES) as u16);
    let (clear, text) = datagram.split_at_mut(CLEAR_BYTES);
    clear[..5].copy_from_slice(b"HFCP\x03");
    clear[6..8].copy_from_slice(&length.to_le_bytes());
    clear[8..12].copy_from_slice(&keys.sealing().0.to_le_bytes());
    let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| clear[at + i]));
    let (sender, seq) = (Incarnation(number(12)), number(20));
    let key = keys.control(keys.sealing(), sender).expect("its own key");
    let tag = key.seal(seq, clear, text);
    datagram.extend_from_slice(&tag);
    datagram
}

/// What a peer with the right key says, sane or not.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Action {
    kind: u8,
    who: u8,
    condition: u8,
    flags: u8,
    view: u8,
    epoch: u8,
    wait: u16,
}

fn id(name: &str, incarnation: u64) -> NodeId {
    let name = NodeName::new(name).expect("a plain name");
    NodeId { name, incarnation: Incarnation(incarnation) }
}

fn member() -> Member {
    let name = |name| NodeName::new(name).expect("a plain name");
    let identity = Identity {
        name: name("a"),
        incarnation: Incarnation(1),
        peers: [name("b"), name("c")].into_iter().collect(),
        keys: keys(),
        config: Manifest::new("x = 1\n".repeat(300)),
        content: Manifest::new(""),
        log_version: 2,
        link_version: 3,
        snapshot_version: 6,
        workers: 2,
    };
    let config = MemberConfig { lone_start_us: 600_000, ..MemberConfig::default() };
    Member::new(config, identity, 1_000_000).expect("the default works")
}

/// A member never panics, and never serves as the primary of an epoch that it also follows in.
fn listen(bytes: &[u8]) {
    let mut input = Unstructured::new(bytes);
    let mut member = member();
    let (mut now_us, mut seq) = (1_000_000, 1);
    let mut report = Report::default();
    for _ in 0..MAX_ACTIONS {
        if input.is_empty() {
            break;
        }
        let Ok(action) = Action::arbitrary(&mut input) else { break };
        now_us += u64::from(action.wait) * 4;
        seq += u64::from(action.kind >> 4);
        let path = if action.flags & 0x80 == 0 { Path::Link(Link::First) } else { Path::Lan };
        match action.kind % 6 {
            0..=2 => {
                let heartbeat = Body::Heartbeat(heartbeat(&action, now_us));
                say(&mut member, &action, now_us, seq, path, heartbeat);
            }
            3 => {
                let which = if action.flags & 1 == 0 { Which::Config } else { Which::Content };
                let chunk = u32::from(action.epoch);
                let text = [b'x'; 1200];
                let chunks = u32::from(action.view) << (action.condition & 31);
                let bytes = &text[..usize::from(action.wait % 1201)];
                let body = if action.flags & 2 == 0 {
                    Body::ManifestChunk { which, chunk, chunks, bytes }
                } else {
                    Body::ManifestRequest { which, chunk }
                };
                say(&mut member, &action, now_us, seq, path, body);
            }
            4 => {
                report = Report {
                    stalled_for_us: u64::from(action.wait) * u64::from(action.flags & 1),
                    unconfirmed_since_us: [
                        (action.flags & 2 != 0).then_some(now_us / 2),
                        None,
                        None,
                    ],
                    session_open: action.flags & 4 != 0,
                    refused_log: action.flags & 8 != 0,
                    log_applied: action.flags & 16 != 0,
                    serving_since_us: (action.flags & 32 != 0).then_some(now_us),
                    quiet: action.view & 2 != 0,
                    first_packet_us: (action.flags & 64 != 0).then_some(now_us),
                    last_kick_us: (action.view & 1 != 0).then_some(now_us),
                    lan: (action.view & 4 != 0).then_some(Solicited {
                        neighbours: 3,
                        answered: action.view & 8 != 0,
                        unanswered_since_us: (action.view & 16 != 0).then_some(now_us / 2),
                    }),
                    ..Report::default()
                };
            }
            _ => {
                let to = (action.flags & 1 != 0).then_some(id("b", 1).name);
                let orders = [Order::Switchover { to }, Order::Drain, Order::Undrain];
                let order = orders[usize::from(action.who % 3)];
                let _ = member.order(now_us, &order);
            }
        }
        member.poll(now_us, &report, &mut |_, _, datagram| {
            let mut opened = Datagram::new();
            let said = Message::decode(datagram, &keys(), &mut opened);
            assert!(said.is_ok(), "it says what cannot be read");
        });
        while member.next_event().is_some() {}
    }
}

fn say(member: &mut Member, action: &Action, now_us: u64, seq: u64, path: Path, body: Body<'_>) {
    let names = ["b", "b", "c", "d"];
    let from = id(names[usize::from(action.who & 3)], 10 + u64::from(action.who >> 5));
    let to = (action.who & 4 == 0).then_some(Incarnation(1));
    let message = Message { from, to, seq, sent_us: now_us, body };
    let _ = member.receive(now_us, path, &message.encode(&keys()));
}

fn heartbeat(action: &Action, now_us: u64) -> Heartbeat {
    use Condition::{Backup, Forming, Joining, Primary, Spare, Starting, Withdrawn};
    let conditions = [Starting, Forming, Primary, Backup, Spare, Withdrawn, Joining];
    let bit = |n: u8| action.flags >> n & 1 == 1;
    let nodes = [id("a", 1), id("b", 10 + u64::from(action.who >> 5)), id("a", 2), id("c", 3)];
    let member = |n: u8| (action.view >> n & 1 == 1).then_some(nodes[usize::from(n)]);
    let same = |text: &str, equal: bool| {
        *blake3::hash(if equal { text } else { "" }.as_bytes()).as_bytes()
    };
    let epoch = match action.epoch {
        255 => u64::MAX,
        254 => u64::MAX - 1,
        low => u64::from(low & 7),
    };
    Heartbeat {
        priority: 90 + u16::from(action.condition >> 4) * 2,
        condition: conditions[usize::from(action.condition % 7)],
        silent: bit(0),
        answer: bit(1),
        pending: bit(2),
        hears_link: !bit(3),
        hears_lan: !bit(4),
        links_behind: [bit(6), bit(7)],
        lan: [LanState::Untested, LanState::Answers, LanState::Silent][action.wait as usize % 3],
        restored: action.wait & 0x100 != 0,
        drained: action.wait & 0x200 != 0,
        sealed: action.wait & 0x900 == 0x900,
        log: (action.wait & 0x1000 != 0).then_some(Epoch(u64::from(action.epoch & 7))),
        admits: action.wait & 0x400 != 0,
        yields: action.wait & 0x800 != 0,
        keys: keys().ids().collect(),
        log_version: 2 + u16::from(bit(5)),
        link_version: 3 + u16::from(action.wait & 0x7000 == 0x7000),
        snapshot_version: 6 + u16::from(action.wait & 0xe000 == 0xe000),
        workers: u16::from(action.condition & 3),
        echo_sent_us: now_us.saturating_sub(u64::from(action.epoch)),
        config_digest: same(&"x = 1\n".repeat(300), !bit(6)),
        content_digest: same("", true),
        view: View {
            epoch: Epoch(epoch),
            primary: (action.view & 0x80 == 0).then_some(nodes[usize::from(action.view >> 4 & 3)]),
            in_sync: (0..4).filter_map(member).collect(),
        },
    }
}
