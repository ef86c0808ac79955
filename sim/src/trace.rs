//! What happened in a world: a digest always, the whole story on request.

use std::fmt::Display;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Context;
use engine::digest::Digest;

use crate::check::segment::Segment;
use crate::net::{Place, Way};
use crate::time::{MS, S};
use crate::wire::{ICMP, ICMPV6, Packet, UDP};

/// What the trace calls the control plane's datagrams.
const HEARTBEAT: &str = "heartbeat";
/// Types of ICMPv6 (RFC 4861).
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// The longest frame of a capture.
const SNAPLEN: u32 = 65_535;

/// The story of a world.
#[derive(Debug, Default)]
pub struct Trace {
    digest: Digest,
    story: Option<Story>,
}

/// Lines for people, and frames for Wireshark.
#[derive(Debug, Default)]
pub struct Story {
    lines: Vec<String>,
    frames: Vec<(u64, Vec<u8>)>,
}

impl Trace {
    /// A trace that keeps the story, or only its digest.
    #[must_use]
    pub fn new(keep: bool) -> Trace {
        Trace { digest: Digest::default(), story: keep.then(Story::default) }
    }

    /// Equal for equal stories: every frame, its place and its time are in it.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest.value()
    }

    /// A frame passes a port.
    pub fn frame(&mut self, now_ns: u64, place: Place, way: Way, bytes: &[u8], fate: &str) {
        self.digest.fold(now_ns);
        self.digest.fold(u64::from(way == Way::In) << 32 | number(place));
        self.digest.fold_bytes(bytes);
        let Some(story) = &mut self.story else { return };
        // The LAN's frames are told where they leave, and where they do not arrive.
        let arrow = if way == Way::Out { "->" } else { "<-" };
        let what = match Segment::parse(bytes) {
            Ok(Some(segment)) => segment.describe(),
            Ok(None) => format!("{} bytes, {}", bytes.len(), kind(bytes)),
            Err(wrong) => format!("{} bytes: {wrong}", bytes.len()),
        };
        story.lines.push(format!("{} {arrow} {} {what}{fate}", stamp(now_ns), name(place)));
        // Each frame once: where its sender's card lets it go, and damaged ones where they come
        // out.
        if way == Way::Out {
            story.frames.push((now_ns, bytes.to_vec()));
        }
    }

    /// Something else happens.
    pub fn note(&mut self, now_ns: u64, what: impl Display) {
        if let Some(story) = &mut self.story {
            story.lines.push(format!("{} == {what}", stamp(now_ns)));
        }
    }

    /// The whole story, if it was kept.
    #[must_use]
    pub fn story(self) -> Option<Story> {
        self.story
    }
}

fn stamp(now_ns: u64) -> String {
    format!("{:>12.6} ms", now_ns as f64 / MS as f64)
}

fn number(place: Place) -> u64 {
    match place {
        Place::Lan(node) => node as u64,
        Place::Link(node) => 1 << 8 | node as u64,
        Place::Host(host) => 2 << 8 | host as u64,
        Place::SecondLink(node) => 3 << 8 | node as u64,
    }
}

fn name(place: Place) -> String {
    let node = |index: usize| char::from(b'a' + index as u8);
    match place {
        Place::Lan(index) => format!("{} lan  ", node(index)),
        Place::Link(index) => format!("{} link ", node(index)),
        Place::SecondLink(index) => format!("{} link2", node(index)),
        Place::Host(host) => format!("client {host}"),
    }
}

fn kind(bytes: &[u8]) -> &'static str {
    let Ok(Some(packet)) = Packet::parse(bytes) else {
        return if bytes.get(12..14) == Some(&[8, 6]) { "ARP" } else { "other" };
    };
    let neighbours = |kind| matches!(kind, NEIGHBOUR_SOLICITATION | NEIGHBOUR_ADVERTISEMENT);
    match (packet.protocol, packet.payload) {
        (UDP, [0x1c, 0xe8, ..]) => HEARTBEAT,
        (UDP, [0x1c, ..]) => "log",
        (ICMPV6, [kind, ..]) if neighbours(*kind) => "neighbour discovery",
        (ICMP | ICMPV6, _) => "ICMP",
        _ => "other",
    }
}

impl Story {
    /// Writes the lines.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_lines(&self, path: &Path) -> anyhow::Result<()> {
        let file =
            File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let mut file = BufWriter::new(file);
        self.lines.iter().try_for_each(|line| writeln!(file, "{line}"))?;
        Ok(file.flush()?)
    }

    /// Writes the frames for Wireshark or tcpdump.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_pcap(&self, path: &Path) -> anyhow::Result<()> {
        let file =
            File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let mut file = BufWriter::new(file);
        // Magic number for nanoseconds, version 2.4, no time zone, longest frame, Ethernet.
        for word in [0xa1b2_3c4d_u32, 4 << 16 | 2, 0, 0, SNAPLEN, 1] {
            file.write_all(&word.to_le_bytes())?;
        }
        for (now_ns, bytes) in &self.frames {
            let len = bytes.len() as u32;
            for word in [(now_ns / S) as u32, (now_ns % S) as u32, len, len] {
                file.write_all(&word.to_le_bytes())?;
            }
            file.write_all(bytes)?;
        }
        file.flush()?;
        Ok(())
    }

    /// The last lines, without heartbeats.
    #[must_use]
    pub fn tail(&self, lines: usize) -> Vec<&str> {
        let told = self.lines.iter().filter(|line| !line.contains(HEARTBEAT));
        let mut tail: Vec<&str> = told.rev().take(lines).map(String::as_str).collect();
        tail.reverse();
        tail
    }
}
