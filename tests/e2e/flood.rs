//! Floods: with `hping3`, and over IPv6, which it does not know, by forgeries of our own.

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::net::{
    AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, sendto, socket_with,
};

use crate::lab::{Lab, VIP, VIP6};

/// Packets in a second, and how many leave at once.
const RATE: u64 = 50_000;
const BURST: u64 = 50;

/// Flags of TCP, as on the wire, in the order of `hping3`'s letters.
const LETTERS: [(u8, &str); 6] =
    [(1, "-F"), (2, "-S"), (4, "-R"), (8, "-P"), (16, "-A"), (32, "-U")];
const SYN: u8 = 2;

/// What a flood consists of.
#[derive(Clone, Copy)]
pub enum Kind {
    /// SYNs from everywhere.
    Syns,
    /// Segments with these flags that might be of a client's connection, from its address and this
    /// port, but for their numbers.
    Guesses { flags: u8, from: u16 },
}

/// 50,000 packets in a second to `port`, over IPv4.
pub fn flood(lab: &Lab, seconds: u64, port: u16, kind: Kind) {
    let mut timeout = lab.client("timeout");
    timeout.arg(seconds.to_string()).args(["hping3", "-q", "-n", "-i", "u20", "-p"]);
    timeout.arg(port.to_string());
    match kind {
        Kind::Syns => timeout.args(["-S", "--rand-source"]),
        Kind::Guesses { flags, from } => {
            let letters = LETTERS.iter().filter(|(bit, _)| flags & bit != 0);
            timeout.args(letters.map(|(_, letter)| letter));
            timeout.args(["-a", "10.77.0.10", "-k", "-d", "20", "-s"]).arg(from.to_string())
        }
    };
    // It ends by a signal.
    let output = timeout.arg(VIP).output().expect("timeout runs");
    assert_ne!(output.status.code(), Some(127), "hping3 is not there: run scripts/setup");
}

/// The same over IPv6.
pub fn flood_v6(lab: &Lab, seconds: u64, port: u16, kind: Kind) {
    let to: Ipv6Addr = VIP6.parse().expect("an address");
    lab.as_client(|| {
        let flags = SocketFlags::empty();
        let socket = socket_with(AddressFamily::INET6, SocketType::RAW, flags, Some(ipproto::RAW));
        let socket = socket.expect("we are root");
        let (began, mut sent) = (Instant::now(), 0_u64);
        let whom = SocketAddr::V6(SocketAddrV6::new(to, 0, 0, 0));
        while began.elapsed() < Duration::from_secs(seconds) {
            for _ in 0..BURST {
                let packet = forge(kind, mixed(sent), (to, port));
                // A full queue is no reason to stop.
                let _ = sendto(&socket, &packet, SendFlags::DONTWAIT, &whom);
                sent += 1;
            }
            let due = Duration::from_micros(sent * 1_000_000 / RATE);
            sleep(due.saturating_sub(began.elapsed()));
        }
    });
}

/// Bits that look like chance (SplitMix64).
fn mixed(count: u64) -> u64 {
    let mut bits = count.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

fn forge(kind: Kind, chance: u64, to: (Ipv6Addr, u16)) -> Vec<u8> {
    let numbers = mixed(chance).to_be_bytes();
    let (source, flags, payload) = match kind {
        Kind::Syns => {
            let everywhere = (0x2000 << 112) | u128::from(chance);
            ((Ipv6Addr::from_bits(everywhere), 1024 + (chance % 60_000) as u16), SYN, 0)
        }
        Kind::Guesses { flags, from } => {
            ((Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x10), from), flags, 20)
        }
    };
    packet(source, to, numbers, flags, payload)
}

/// An IPv6 packet with a segment of `payload` zeros. `numbers`: sequence and acknowledgment.
fn packet(
    (source, source_port): (Ipv6Addr, u16),
    (to, port): (Ipv6Addr, u16),
    numbers: [u8; 8],
    flags: u8,
    payload: u16,
) -> Vec<u8> {
    let len = 20 + payload;
    let mut bytes = vec![0x60, 0, 0, 0];
    bytes.extend(len.to_be_bytes());
    bytes.extend([6, 64]);
    bytes.extend(source.octets());
    bytes.extend(to.octets());
    bytes.extend(source_port.to_be_bytes());
    bytes.extend(port.to_be_bytes());
    bytes.extend(numbers);
    // A header of five words, the flags, a window; the sum and the urgent pointer to come.
    bytes.extend([0x50, flags, 0x20, 0, 0, 0, 0, 0]);
    bytes.resize(40 + usize::from(len), 0);
    let words = |bytes: &[u8]| -> u32 {
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum()
    };
    // Both addresses, and the segment with its length and protocol (RFC 8200 8.1).
    let sum = words(&bytes[8..]) + u32::from(len) + 6;
    let folded = (sum >> 16) + (sum & 0xffff);
    let sum = !((folded >> 16) + (folded & 0xffff)) as u16;
    bytes[56..58].copy_from_slice(&sum.to_be_bytes());
    bytes
}
