//! A script as it was written.

use std::net::IpAddr;

use super::icmp::Kind;

/// A file.
pub struct Script {
    /// Its path below the folder of scripts.
    pub path: String,
    /// What stands above the line of dashes.
    pub header: toml::Table,
    pub lines: Vec<Line>,
}

/// One line that does or asks something.
pub struct Line {
    pub number: usize,
    pub text: String,
    /// Time since the line before, at least and at most.
    pub wait_us: (u64, u64),
    /// Which connection.
    pub flow: String,
    pub command: Command,
}

pub enum Command {
    /// The peer sends; `together`: within the step of the line before.
    Send {
        what: Inbound,
        together: bool,
    },
    /// The shard must send.
    Expect(Segment),
    /// The shard must have sent nothing.
    Nothing,
    /// What the shard has sent does not matter.
    Drain,
    /// The peer opens a connection, with this SYN.
    Handshake(Segment),
    /// The shard opens a connection, and the peer answers with this SYN-ACK.
    Connected(Segment),
    /// The shard opens a connection.
    Connect(Connect),
    /// The peer sends segments of `each` bytes in order, and takes what comes.
    Feed {
        from: i64,
        to: i64,
        each: usize,
    },
    /// The peer's next numbers count from here.
    PeerIsn(Number),
    Service(Service),
    Assert(Assertion),
}

/// An active open.
pub struct Connect {
    /// Instead of the flow's peer.
    pub to: Option<IpAddr>,
    /// Name of the error that must come.
    pub fails: Option<String>,
}

/// What the service under the connection does.
pub enum Service {
    Write { content: Content, takes: Option<usize> },
    Read(Content),
    Close,
    Abort,
}

/// Bytes of a stream.
pub enum Content {
    /// So many bytes of the pattern that belongs to their place.
    Len(usize),
    Bytes(Vec<u8>),
    /// Whatever there is.
    All,
}

pub enum Assertion {
    /// Name of a state; `none` for no connection.
    State(String),
    /// Names of what the service was told since it was last asked.
    Events(Vec<String>),
    Readable(usize),
    Urgent(usize),
    Counter(String, Test),
    Malformed(String, Test),
    Info(String, Test),
    Memory(String, Test),
}

/// A comparison with a number.
pub struct Test {
    pub relation: String,
    pub value: u64,
}

/// What the peer sends.
pub enum Inbound {
    Segment(Segment),
    Icmp(Icmp),
    Raw(Vec<u8>),
}

/// An ICMP error.
pub struct Icmp {
    pub kind: Kind,
    /// Next-hop MTU (RFC 1191 4, RFC 4443 3.2).
    pub mtu: u32,
    /// The segment that it quotes.
    pub quote: Segment,
    /// Bytes of that segment's TCP header and payload in the quote.
    pub quoted: usize,
    /// Its checksum is wrong.
    pub badsum: bool,
}

/// A sequence number or a timestamp.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// Counted from the initial one.
    Relative(i64),
    /// As it stands in the packet.
    Raw(u32),
    /// The newest that came from the other side.
    Last,
    Any,
}

/// A segment, to be sent or to be expected. What is absent has its default, or is not looked at.
#[derive(Default)]
pub struct Segment {
    pub flags: u8,
    pub seq: Option<Number>,
    pub len: Option<usize>,
    pub ack: Option<Number>,
    pub window: Option<u16>,
    pub urgent: Option<u16>,
    pub options: Option<Vec<Opt>>,
    pub content: Option<Vec<u8>>,
    pub ip: Ip,
    pub damage: Damage,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Opt {
    Mss(u16),
    WindowScale(u8),
    SackPermitted,
    Timestamps {
        value: Number,
        echo: Number,
    },
    Sack(Vec<(Number, Number)>),
    Nop,
    End,
    /// Bytes as they are.
    Raw(Vec<u8>),
}

/// What the IP header says.
#[derive(Default)]
pub struct Ip {
    pub ecn: Option<u8>,
    pub dscp: Option<u8>,
    pub ttl: Option<u8>,
    pub source: Option<IpAddr>,
    pub destination: Option<IpAddr>,
    /// IPv4 options.
    pub options: Vec<u8>,
    /// Flags and offset of a fragment as they stand in the header, of IPv4.
    pub fragment: Option<u16>,
    /// Of IPv6.
    pub flow_label: Option<u32>,
    /// Types of extension headers, with what follows their first byte.
    pub extensions: Vec<(u8, Vec<u8>)>,
}

/// What is wrong with a packet on purpose.
#[derive(Default)]
pub struct Damage {
    pub tcp_checksum: bool,
    pub ip_checksum: bool,
    /// Bytes behind the packet, as Ethernet adds them.
    pub padding: usize,
    /// Length of the TCP header in words, whatever it is.
    pub data_offset: Option<u8>,
    /// The reserved bits of the TCP header.
    pub reserved: u8,
    /// Bytes cut off at the end, the IP header's length left as it was.
    pub cut: usize,
}
