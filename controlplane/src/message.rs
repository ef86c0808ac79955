//! What nodes say to each other: heartbeats, and the manifests that explain a refusal.
//!
//! All integers are little-endian:
//!
//! ```text
//! bytes  in the clear                    bytes  encrypted
//!   4    magic "HFCP"                      8    receiver's incarnation, as far as the sender
//!   1    version                                knows it (0: it does not)
//!   1    kind                              8    sender's clock in µs
//!   2    length of the whole              ..    sender's name, the body of its kind
//!   4    name of the shared key
//!   8    sender's incarnation             16    tag of AES-256-GCM over all of it
//!   8    sequence number
//! ```
//!
//! The key follows from the shared key and the sender's incarnation, the nonce is the sequence
//! number: the same message on several paths is the same datagram, and no other ever has its
//! number.

use arrayvec::ArrayVec;
use replication::aead::TAG_BYTES;
use replication::keys::MAX_KEYS;
use replication::{Epoch, Incarnation, KeyId, KeyRing, MAX_LINKS};
use thiserror::Error;

use crate::identity::{MAX_NAME_BYTES, NodeId, NodeName};
use crate::register::{MAX_IN_SYNC, View};
use crate::status::LanState;

const MAGIC: [u8; 4] = *b"HFCP";
/// Version of these datagrams.
pub const VERSION: u8 = 8;
const LENGTH_AT: usize = 6;
const CLEAR_BYTES: usize = 28;

/// The longest datagram; fits an Ethernet frame of 1500 bytes with IP and UDP headers.
pub const MAX_DATAGRAM: usize = 1400;
/// Bytes of a manifest in one chunk.
pub const CHUNK_BYTES: usize = 1200;

/// A datagram under construction or ready to send.
pub type Datagram = ArrayVec<u8, MAX_DATAGRAM>;

/// A datagram that is refused, and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MessageError {
    #[error("control message is no Holdfast control message, or is cut short")]
    Malformed,
    #[error(
        "control message has version {0}, this node speaks version {VERSION}; run the same release on \
         all nodes"
    )]
    Version(u8),
    #[error(
        "control message is sealed with key {0}, which this node does not have: it comes from \
         another cluster, or the nodes do not share their keys; compare [cluster] name and secret \
         and node.key_file of both nodes"
    )]
    UnknownKey(KeyId),
    #[error("control message was forged, or damaged on the way: its seal does not fit")]
    Unauthentic,
    #[error("control message comes from node {0}, which is not among the configured peers")]
    Stranger(NodeName),
    #[error("control message is older than one already seen on this path, or a repetition")]
    Replayed,
    #[error("control message comes from a run of the peer that has ended")]
    FormerRun,
    #[error("control message is this node's own: the network sends it back, or mirrors it")]
    Own,
}

/// What a node is, as its peer needs to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Freshly started: holds no state, may become anything.
    Starting = 1,
    /// Proposed itself as primary of a new pair; does not serve before the peer acknowledged.
    Forming = 2,
    Primary = 3,
    Backup = 4,
    /// Holds no state and will not serve in this run.
    Spare = 5,
    /// Was backup, and left the in-sync set because its state is not the primary's.
    Withdrawn = 6,
    /// Takes in the state of the primary that admitted it.
    Joining = 7,
}

impl Condition {
    fn from_byte(byte: u8) -> Option<Condition> {
        use Condition::{Backup, Forming, Joining, Primary, Spare, Starting, Withdrawn};
        [Starting, Forming, Primary, Backup, Spare, Withdrawn, Joining]
            .into_iter()
            .find(|condition| *condition as u8 == byte)
    }

    /// Whether a service may depend on what this node holds.
    #[must_use]
    pub fn holds_service(self) -> bool {
        matches!(self, Condition::Primary | Condition::Backup)
    }

    /// Whether the sender's run holds nothing, whatever it held before.
    #[must_use]
    pub fn holds_nothing(self) -> bool {
        matches!(self, Condition::Starting | Condition::Spare | Condition::Withdrawn)
    }
}

const SILENT: u16 = 1;
const ANSWER: u16 = 2;
const HEARS_LINK: u16 = 4;
const HEARS_LAN: u16 = 8;
const PENDING: u16 = 16;
const RESTORED: u16 = 32;
const DRAINED: u16 = 64;
const YIELDS: u16 = 128;
const ADMITS: u16 = 256;
const LINK_BEHIND: u16 = 512;
const SECOND_LINK_BEHIND: u16 = 1024;
const LAN_ANSWERS: u16 = 2048;
const LAN_SILENT: u16 = 4096;
const SEALED: u16 = 8192;
/// All of them.
const FLAGS: u16 = 2 * SEALED - 1;

/// The state of the sender, and what it says to this receiver alone; sent every heartbeat interval
/// on every path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    pub priority: u16,
    pub condition: Condition,
    /// The sender suspects itself and serves nothing at the moment.
    pub silent: bool,
    /// The sender waits for proof that it is still heard: answer at once.
    pub answer: bool,
    /// The sender's view waits for the receiver to acknowledge it; until then it yields to a
    /// rival view of the same epoch. Or the sender has asked to serve alone, and may do so by now
    /// for all that others know: that it holds nothing proves nothing then.
    pub pending: bool,
    /// The sender hears the receiver on at least one link.
    pub hears_link: bool,
    pub hears_lan: bool,
    /// On these links the sender hears the receiver later than elsewhere, or not at all, and has a
    /// choice: the receiver should take another one.
    pub links_behind: [bool; MAX_LINKS],
    /// What neighbours on the service LAN answer the sender.
    pub lan: LanState,
    /// The sender joins, and has restored all that a primary holds; or it is backup, and has
    /// applied all of the log that it has received.
    pub restored: bool,
    /// An operator took the sender out; it must not be given the state.
    pub drained: bool,
    /// The sender, a backup, confirms nothing more: it suspects the primary, and gives the other
    /// backups what it holds. It is in sync no more, as soon as the primary hears of it.
    pub sealed: bool,
    /// The epoch in which the log began that the sender, a primary or about to be one, writes for
    /// the receiver.
    pub log: Option<Epoch>,
    /// The state comes in that log, and the receiver is to take it in.
    pub admits: bool,
    /// And with the state, as soon as it has all of it, the service.
    pub yields: bool,
    /// The shared keys that the sender has. It seals with the first.
    pub keys: ArrayVec<KeyId, MAX_KEYS>,
    pub log_version: u16,
    pub link_version: u16,
    pub snapshot_version: u16,
    pub workers: u16,
    /// The latest sender's clock that the sender of this one heard from the receiver; 0 if none.
    pub echo_sent_us: u64,
    pub config_digest: [u8; 32],
    pub content_digest: [u8; 32],
    pub view: View,
}

/// Which manifest is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    Config = 1,
    Content = 2,
}

#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "lives on the stack of the poll loop, never boxed")]
pub enum Body<'a> {
    Heartbeat(Heartbeat),
    ManifestRequest { which: Which, chunk: u32 },
    ManifestChunk { which: Which, chunk: u32, chunks: u32, bytes: &'a [u8] },
}

/// One authenticated datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    pub from: NodeId,
    /// The receiver's run, as far as the sender knows it.
    pub to: Option<Incarnation>,
    /// Grows by at least one with each message of a run.
    pub seq: u64,
    /// The sender's clock.
    pub sent_us: u64,
    pub body: Body<'a>,
}

impl Message<'_> {
    /// Writes the datagram, sealed with the first of `keys`.
    ///
    /// # Panics
    /// If a manifest chunk is longer than [`CHUNK_BYTES`].
    #[must_use]
    pub fn encode(&self, keys: &KeyRing) -> Datagram {
        let (id, sender) = (keys.sealing(), self.from.incarnation);
        let mut out = Writer(Datagram::new());
        out.put(&MAGIC);
        out.put(&[VERSION, self.body.kind(), 0, 0]);
        out.u32(id.0);
        out.u64(sender.0);
        out.u64(self.seq);
        out.u64(self.to.map_or(0, |to| to.0));
        out.u64(self.sent_us);
        out.name(&self.from.name);
        match &self.body {
            Body::Heartbeat(heartbeat) => heartbeat.write(&mut out),
            Body::ManifestRequest { which, chunk } => {
                out.put(&[*which as u8]);
                out.u32(*chunk);
            }
            Body::ManifestChunk { which, chunk, chunks, bytes } => {
                assert!(bytes.len() <= CHUNK_BYTES, "a chunk is cut to fit a datagram");
                out.put(&[*which as u8]);
                out.u32(*chunk);
                out.u32(*chunks);
                out.u16(bytes.len() as u16);
                out.put(bytes);
            }
        }
        let mut datagram = out.0;
        let length = (datagram.len() + TAG_BYTES) as u16;
        datagram[LENGTH_AT..LENGTH_AT + 2].copy_from_slice(&length.to_le_bytes());
        let (clear, text) = datagram.split_at_mut(CLEAR_BYTES);
        let key = keys.control(id, sender).expect("a ring has the key that seals");
        let tag = key.seal(self.seq, clear, text);
        datagram.extend(tag);
        datagram
    }

    /// Reads a datagram, which is decrypted in `opened`. Bytes behind the stated length (padding of
    /// a short frame) are ignored.
    ///
    /// # Errors
    /// The datagram is foreign, damaged, of another version or of another cluster.
    pub fn decode<'a>(
        datagram: &[u8],
        keys: &KeyRing,
        opened: &'a mut Datagram,
    ) -> Result<Message<'a>, MessageError> {
        let header = datagram.get(..LENGTH_AT + 2).ok_or(MessageError::Malformed)?;
        if header[..4] != MAGIC {
            return Err(MessageError::Malformed);
        }
        if header[4] != VERSION {
            return Err(MessageError::Version(header[4]));
        }
        let length = usize::from(u16::from_le_bytes([header[6], header[7]]));
        let whole = datagram.get(..length).ok_or(MessageError::Malformed)?;
        opened.clear();
        opened.try_extend_from_slice(whole).map_err(|_| MessageError::Malformed)?;
        let (clear, sealed) =
            opened.split_at_mut_checked(CLEAR_BYTES).ok_or(MessageError::Malformed)?;
        let kind = clear[5];
        let mut names = Reader(&clear[LENGTH_AT + 2..]);
        let (id, incarnation, seq) = names.start().ok_or(MessageError::Malformed)?;
        let key = keys.control(id, incarnation).ok_or(MessageError::UnknownKey(id))?;
        let text = key.open(seq, clear, sealed).ok_or(MessageError::Unauthentic)?;
        let mut reader = Reader(text);
        let message = Message::read(kind, incarnation, seq, &mut reader);
        message.filter(|_| reader.0.is_empty()).ok_or(MessageError::Malformed)
    }

    fn read<'a>(
        kind: u8,
        incarnation: Incarnation,
        seq: u64,
        reader: &mut Reader<'a>,
    ) -> Option<Message<'a>> {
        let to = reader.incarnation()?;
        let sent_us = reader.u64()?;
        let from = NodeId { name: reader.name()?, incarnation };
        let body = match kind {
            1 => Body::Heartbeat(Heartbeat::read(reader)?),
            2 => Body::ManifestRequest { which: reader.which()?, chunk: reader.u32()? },
            3 => {
                let (which, chunk, chunks) = (reader.which()?, reader.u32()?, reader.u32()?);
                let length = usize::from(reader.u16()?);
                Body::ManifestChunk { which, chunk, chunks, bytes: reader.take(length)? }
            }
            _ => return None,
        };
        Some(Message { from, to, seq, sent_us, body })
    }
}

impl Body<'_> {
    fn kind(&self) -> u8 {
        match self {
            Body::Heartbeat(_) => 1,
            Body::ManifestRequest { .. } => 2,
            Body::ManifestChunk { .. } => 3,
        }
    }
}

impl Heartbeat {
    fn write(&self, out: &mut Writer) {
        let flag = |set: bool, bit: u16| if set { bit } else { 0 };
        let flags = flag(self.silent, SILENT)
            | flag(self.answer, ANSWER)
            | flag(self.pending, PENDING)
            | flag(self.hears_link, HEARS_LINK)
            | flag(self.hears_lan, HEARS_LAN)
            | flag(self.restored, RESTORED)
            | flag(self.drained, DRAINED)
            | flag(self.yields, YIELDS)
            | flag(self.admits, ADMITS)
            | flag(self.links_behind[0], LINK_BEHIND)
            | flag(self.links_behind[1], SECOND_LINK_BEHIND)
            | flag(self.lan == LanState::Answers, LAN_ANSWERS)
            | flag(self.lan == LanState::Silent, LAN_SILENT)
            | flag(self.sealed, SEALED);
        out.u16(self.priority);
        out.put(&[self.condition as u8]);
        out.u16(flags);
        out.u16(self.log_version);
        out.u16(self.link_version);
        out.u16(self.snapshot_version);
        out.u16(self.workers);
        out.u64(self.log.map_or(0, |epoch| epoch.0));
        out.put(&[self.keys.len() as u8]);
        self.keys.iter().for_each(|key| out.u32(key.0));
        out.u64(self.echo_sent_us);
        out.put(&self.config_digest);
        out.put(&self.content_digest);
        out.u64(self.view.epoch.0);
        out.node(self.view.primary);
        out.put(&[self.view.in_sync.len() as u8]);
        self.view.in_sync.iter().for_each(|node| out.node(Some(*node)));
    }

    fn read(reader: &mut Reader<'_>) -> Option<Heartbeat> {
        let priority = reader.u16()?;
        let condition = Condition::from_byte(reader.u8()?)?;
        let flags = reader.u16().filter(|flags| flags & !FLAGS == 0)?;
        let lan = match (flags & LAN_ANSWERS != 0, flags & LAN_SILENT != 0) {
            (false, false) => LanState::Untested,
            (true, false) => LanState::Answers,
            (false, true) => LanState::Silent,
            (true, true) => return None,
        };
        let log_version = reader.u16()?;
        let (link_version, snapshot_version) = (reader.u16()?, reader.u16()?);
        let workers = reader.u16()?;
        let log = reader.epoch()?;
        let mut keys = ArrayVec::new();
        for _ in 0..reader.u8()? {
            keys.try_push(KeyId(reader.u32()?)).ok()?;
        }
        let echo_sent_us = reader.u64()?;
        let (config_digest, content_digest) = (reader.array()?, reader.array()?);
        let epoch = Epoch(reader.u64()?);
        let primary = reader.node()?;
        let count = usize::from(reader.u8()?);
        let mut in_sync = ArrayVec::<NodeId, MAX_IN_SYNC>::new();
        for _ in 0..count {
            in_sync.try_push(reader.node()??).ok()?;
        }
        Some(Heartbeat {
            priority,
            condition,
            silent: flags & SILENT != 0,
            answer: flags & ANSWER != 0,
            pending: flags & PENDING != 0,
            hears_link: flags & HEARS_LINK != 0,
            hears_lan: flags & HEARS_LAN != 0,
            links_behind: [LINK_BEHIND, SECOND_LINK_BEHIND].map(|bit| flags & bit != 0),
            lan,
            restored: flags & RESTORED != 0,
            drained: flags & DRAINED != 0,
            sealed: flags & SEALED != 0,
            log,
            admits: flags & ADMITS != 0,
            yields: flags & YIELDS != 0,
            keys,
            log_version,
            link_version,
            snapshot_version,
            workers,
            echo_sent_us,
            config_digest,
            content_digest,
            view: View { epoch, primary, in_sync },
        })
    }
}

/// Appends to a datagram. What this crate encodes always fits, since every part is bounded.
struct Writer(Datagram);

impl Writer {
    fn put(&mut self, bytes: &[u8]) {
        self.0.try_extend_from_slice(bytes).expect("every message part is bounded");
    }
    fn u16(&mut self, value: u16) {
        self.put(&value.to_le_bytes());
    }
    fn u32(&mut self, value: u32) {
        self.put(&value.to_le_bytes());
    }
    fn u64(&mut self, value: u64) {
        self.put(&value.to_le_bytes());
    }
    fn name(&mut self, name: &NodeName) {
        self.put(&[name.as_str().len() as u8]);
        self.put(name.as_str().as_bytes());
    }
    fn node(&mut self, node: Option<NodeId>) {
        self.u64(node.map_or(0, |node| node.incarnation.0));
        if let Some(node) = node {
            self.name(&node.name);
        }
    }
}

/// Reads a datagram; `None` where it is too short or holds what must not be.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }
    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }
    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }
    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }
    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
    /// What names a message: its key, its sender, its number.
    fn start(&mut self) -> Option<(KeyId, Incarnation, u64)> {
        Some((KeyId(self.u32()?), self.incarnation()??, self.u64()?))
    }
    /// Outer `None`: too short. Inner `None`: none was given.
    fn incarnation(&mut self) -> Option<Option<Incarnation>> {
        self.u64().map(|number| (number != 0).then_some(Incarnation(number)))
    }
    /// Outer `None`: too short. Inner `None`: none was given.
    fn epoch(&mut self) -> Option<Option<Epoch>> {
        self.u64().map(|number| (number != 0).then_some(Epoch(number)))
    }
    fn name(&mut self) -> Option<NodeName> {
        let length = usize::from(self.u8()?);
        let bytes = self.take(length.min(MAX_NAME_BYTES + 1))?;
        NodeName::new(std::str::from_utf8(bytes).ok()?).ok()
    }
    fn node(&mut self) -> Option<Option<NodeId>> {
        match self.incarnation()? {
            None => Some(None),
            Some(incarnation) => Some(Some(NodeId { incarnation, name: self.name()? })),
        }
    }
    fn which(&mut self) -> Option<Which> {
        match self.u8()? {
            1 => Some(Which::Config),
            2 => Some(Which::Content),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys() -> KeyRing {
        KeyRing::single("lab", b"0123")
    }

    fn refusal(datagram: &[u8], keys: &KeyRing) -> Option<MessageError> {
        Message::decode(datagram, keys, &mut Datagram::new()).err()
    }

    prop_compose! {
        fn any_node()(name in "[a-zA-Z0-9_.-]{1,32}", number in 1..=u64::MAX) -> NodeId {
            NodeId { name: NodeName::new(&name).unwrap(), incarnation: Incarnation(number) }
        }
    }

    prop_compose! {
        fn any_heartbeat()(
            numbers in any::<(u16, u16, u16, u64, u64, u16, u16)>(),
            condition in 1u8..=7,
            flags in any::<(bool, bool, bool, bool, bool, bool, bool)>(),
            (admits, yields, sealed) in any::<(bool, bool, bool)>(),
            links_behind in any::<[bool; MAX_LINKS]>(),
            lan in prop::sample::select(&[LanState::Untested, LanState::Answers, LanState::Silent]),
            log in prop::option::of((1..u64::MAX).prop_map(Epoch)),
            keys in prop::collection::vec(any::<u32>(), 0..=MAX_KEYS),
            digests in any::<([u8; 32], [u8; 32])>(),
            primary in prop::option::of(any_node()),
            in_sync in prop::collection::vec(any_node(), 0..=MAX_IN_SYNC),
        ) -> Heartbeat {
            Heartbeat {
                priority: numbers.0,
                condition: Condition::from_byte(condition).unwrap(),
                silent: flags.0,
                answer: flags.1,
                pending: flags.4,
                hears_link: flags.2,
                hears_lan: flags.3,
                links_behind,
                lan,
                restored: flags.5,
                drained: flags.6,
                sealed,
                log,
                admits,
                yields,
                keys: keys.into_iter().map(KeyId).collect(),
                log_version: numbers.1,
                link_version: numbers.6,
                snapshot_version: numbers.5,
                workers: numbers.2,
                echo_sent_us: numbers.3,
                config_digest: digests.0,
                content_digest: digests.1,
                view: View {
                    epoch: Epoch(numbers.4),
                    primary,
                    in_sync: in_sync.into_iter().collect(),
                },
            }
        }
    }

    fn any_body() -> impl Strategy<Value = Body<'static>> {
        let which = prop_oneof![Just(Which::Config), Just(Which::Content)];
        let chunk = (which.clone(), any::<u32>(), any::<u32>(), 0..=CHUNK_BYTES);
        prop_oneof![
            any_heartbeat().prop_map(Body::Heartbeat),
            (which, any::<u32>()).prop_map(|(which, chunk)| Body::ManifestRequest { which, chunk }),
            chunk.prop_map(|(which, chunk, chunks, length)| {
                let bytes = &[7; CHUNK_BYTES][..length];
                Body::ManifestChunk { which, chunk, chunks, bytes }
            }),
        ]
    }

    prop_compose! {
        fn any_message()(
            from in any_node(),
            to in prop::option::of(1..=u64::MAX),
            seq in any::<u64>(),
            sent_us in any::<u64>(),
            body in any_body(),
        ) -> Message<'static> {
            Message { from, to: to.map(Incarnation), seq, sent_us, body }
        }
    }

    proptest! {
        #[test]
        fn reads_what_it_wrote(message in any_message(), padding in 0usize..64) {
            let mut datagram = message.encode(&keys()).to_vec();
            datagram.resize(datagram.len() + padding, 0);
            let mut opened = Datagram::new();
            prop_assert_eq!(Message::decode(&datagram, &keys(), &mut opened), Ok(message));
        }

        #[test]
        fn any_damage_is_refused(message in any_message(), at in any::<usize>(), bit in 0..8) {
            let mut datagram = message.encode(&keys()).to_vec();
            let at = at % datagram.len();
            datagram[at] ^= 1u8 << bit;
            prop_assert!(refusal(&datagram, &keys()).is_some());
        }

        #[test]
        fn a_cut_message_is_refused(message in any_message(), keep in any::<usize>()) {
            let datagram = message.encode(&keys());
            let keep = keep % datagram.len();
            prop_assert!(refusal(&datagram[..keep], &keys()).is_some());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..1500)) {
            prop_assert!(refusal(&bytes, &keys()).is_some());
        }

        /// What stands behind a right seal is untrusted too: a peer may have a fault.
        #[test]
        fn arbitrary_authentic_bytes_never_panic(
            kind in 0u8..5, sender in 0..3_u64, seq in any::<u64>(),
            text in prop::collection::vec(any::<u8>(), 0..600),
        ) {
            let (keys, sender) = (keys(), Incarnation(sender));
            let length = (CLEAR_BYTES + text.len() + TAG_BYTES) as u16;
            let mut datagram = MAGIC.to_vec();
            datagram.extend([VERSION, kind]);
            datagram.extend(length.to_le_bytes());
            datagram.extend(keys.sealing().0.to_le_bytes());
            datagram.extend(sender.0.to_le_bytes());
            datagram.extend(seq.to_le_bytes());
            datagram.extend(text);
            let (clear, text) = datagram.split_at_mut(CLEAR_BYTES);
            let tag = keys.control(keys.sealing(), sender).unwrap().seal(seq, clear, text);
            datagram.extend(tag);
            if let Ok(message) = Message::decode(&datagram, &keys, &mut Datagram::new()) {
                prop_assert_eq!(message.encode(&keys).to_vec(), datagram);
            }
        }
    }

    fn question() -> Message<'static> {
        let from =
            NodeId { name: NodeName::new("left-node").unwrap(), incarnation: Incarnation(1) };
        let body = Body::ManifestRequest { which: Which::Config, chunk: 0 };
        Message { from, to: None, seq: 1, sent_us: 2, body }
    }

    #[test]
    fn another_cluster_secret_or_version_is_refused_in_words() {
        let mut datagram = question().encode(&keys());
        let unknown = Some(MessageError::UnknownKey(keys().sealing()));
        assert_eq!(refusal(&datagram, &KeyRing::single("lab", b"4567")), unknown);
        assert_eq!(refusal(&datagram, &KeyRing::single("labs", b"0123")), unknown);
        datagram[CLEAR_BYTES] ^= 1;
        assert_eq!(refusal(&datagram, &keys()), Some(MessageError::Unauthentic));
        datagram[4] = 9;
        assert_eq!(refusal(&datagram, &keys()), Some(MessageError::Version(9)));
    }

    #[test]
    fn what_is_said_is_hidden_and_any_shared_key_opens_it() {
        let datagram = question().encode(&keys());
        assert!(!datagram.windows(4).any(|bytes| bytes == b"left"));
        let several = KeyRing::new("lab", &[b"4567", b"0123"]).unwrap();
        assert_eq!(refusal(&datagram, &several), None);
        assert_ne!(question().encode(&several), datagram, "sealed with the first one");
    }
}
