//! Whether a packet is the one that a script expects.

use super::flow::{Flow, options};
use super::packet::{Packet, URG, letters};
use super::syntax::{Number, Opt, Segment};

/// The first thing about `got` that is not as expected.
pub fn compare(expected: &Segment, got: &Packet, flow: &Flow) -> Result<(), String> {
    let tcp = &got.tcp;
    let differ = |what: &str, expected: String, got: String| {
        if expected == got {
            Ok(())
        } else {
            Err(format!("{what}: expected {expected}, got {got}"))
        }
    };
    differ("flags", letters(expected.flags), letters(tcp.flags))?;
    if let Some(seq) = expected.seq.filter(|seq| *seq != Number::Any) {
        let expected = flow.relative_to_iss(flow.our_number(seq));
        differ("sequence number", expected, flow.relative_to_iss(tcp.seq))?;
    }
    if let Some(len) = expected.len {
        differ("length", len.to_string(), got.payload.len().to_string())?;
    }
    if let Some(ack) = expected.ack.filter(|ack| *ack != Number::Any) {
        let expected = flow.relative_to_isn(flow.peer_number(ack));
        differ("acknowledgment", expected, flow.relative_to_isn(tcp.ack))?;
    }
    if let Some(window) = expected.window {
        differ("window", window.to_string(), tcp.window.to_string())?;
    }
    let urgent = expected.urgent.unwrap_or(0);
    if expected.flags & URG != 0 || urgent != 0 {
        differ("urgent pointer", urgent.to_string(), tcp.urgent.to_string())?;
    }
    if let Some(expected) = &expected.options {
        compare_options(expected, got, flow)?;
    }
    if let Some(ecn) = expected.ip.ecn {
        differ("ECN", ecn.to_string(), (got.ip.traffic_class & 3).to_string())?;
    }
    if let Some(dscp) = expected.ip.dscp {
        differ("DSCP", dscp.to_string(), (got.ip.traffic_class >> 2).to_string())?;
    }
    if let Some(ttl) = expected.ip.ttl {
        differ("TTL", ttl.to_string(), got.ip.ttl.to_string())?;
    }
    if let Some(fragment) = expected.ip.fragment {
        differ("fragment field", fragment.to_string(), got.ip.fragment.to_string())?;
    }
    compare_content(expected, got, flow)
}

/// What the script says, or else what the service has written there.
fn compare_content(expected: &Segment, got: &Packet, flow: &Flow) -> Result<(), String> {
    let payload = &got.payload;
    let start = got.tcp.seq.wrapping_sub(flow.iss.unwrap_or(0)).wrapping_sub(1) as usize;
    let written = flow.written.get(start..start.saturating_add(payload.len()));
    match expected.content.as_deref().or(written) {
        Some(bytes) if bytes != payload.as_slice() => {
            let at = bytes.iter().zip(payload).take_while(|(a, b)| a == b).count();
            Err(format!("the content differs from byte {at} on"))
        }
        _ => Ok(()),
    }
}

fn compare_options(expected: &[Opt], got: &Packet, flow: &Flow) -> Result<(), String> {
    let found = options(&got.tcp.options)?;
    let expected: Vec<&Opt> = expected.iter().filter(|option| **option != Opt::Nop).collect();
    for option in &expected {
        if !found.iter().any(|other| is_option(option, other, flow)) {
            return Err(format!("options: no {}", text_of(option, flow)));
        }
    }
    if found.len() == expected.len() { Ok(()) } else { Err("options: there are more".to_owned()) }
}

fn is_option(expected: &Opt, found: &Opt, flow: &Flow) -> bool {
    match (expected, found) {
        (
            Opt::Timestamps { value, echo },
            Opt::Timestamps { value: Number::Raw(found_value), echo: Number::Raw(found_echo) },
        ) => {
            let value_fits = match value {
                Number::Relative(n) => found_value.wrapping_sub(flow.first_stamp()) == *n as u32,
                Number::Raw(raw) => raw == found_value,
                Number::Last | Number::Any => true,
            };
            let echo_fits = match echo {
                Number::Relative(n) => *found_echo == *n as u32,
                Number::Raw(raw) => raw == found_echo,
                Number::Last | Number::Any => true,
            };
            value_fits && echo_fits
        }
        (Opt::Sack(expected), Opt::Sack(found)) => {
            let raw = |(start, end): &(Number, Number)| {
                (flow.peer_number(*start), flow.peer_number(*end))
            };
            expected.iter().map(raw).eq(found.iter().map(raw))
        }
        (expected, found) => expected == found,
    }
}

/// A packet as a script would write it.
pub fn render(packet: &Packet, flow: &Flow) -> String {
    let tcp = &packet.tcp;
    let len = packet.payload.len();
    let (from, to) = (tcp.seq, tcp.seq.wrapping_add(len as u32));
    let (from, to) = (flow.relative_to_iss(from), flow.relative_to_iss(to));
    let mut text = format!("> {} {from}:{to}({len})", letters(tcp.flags));
    if tcp.flags & super::packet::ACK != 0 {
        text += &format!(" ack {}", flow.relative_to_isn(tcp.ack));
    }
    text += &format!(" win {}", tcp.window);
    if tcp.flags & URG != 0 {
        text += &format!(" urg {}", tcp.urgent);
    }
    let options = options(&tcp.options).unwrap_or_default();
    if !options.is_empty() {
        let options: Vec<String> = options.iter().map(|option| text_of(option, flow)).collect();
        text += &format!(" <{}>", options.join(","));
    }
    match packet.ip.traffic_class & 3 {
        0 => text,
        codepoint => text + " ecn " + ["not-ect", "ect1", "ect0", "ce"][usize::from(codepoint)],
    }
}

fn text_of(option: &Opt, flow: &Flow) -> String {
    match option {
        Opt::Mss(mss) => format!("mss {mss}"),
        Opt::WindowScale(shift) => format!("wscale {shift}"),
        Opt::SackPermitted => "sackOK".to_owned(),
        Opt::Timestamps { value, echo } => {
            let value = match value {
                Number::Raw(raw) => relative_stamp(*raw, flow),
                other => number(*other),
            };
            format!("TS val {value} ecr {}", number(*echo))
        }
        Opt::Sack(blocks) => {
            let raw = |number: Number| flow.relative_to_isn(flow.peer_number(number));
            let blocks =
                blocks.iter().map(|(start, end)| format!(" {}:{}", raw(*start), raw(*end)));
            format!("sack{}", blocks.collect::<String>())
        }
        Opt::Nop => "nop".to_owned(),
        Opt::End => "eol".to_owned(),
        Opt::Raw(bytes) => format!("hex {bytes:02x?}"),
    }
}

fn relative_stamp(raw: u32, flow: &Flow) -> String {
    raw.wrapping_sub(flow.first_stamp()).to_string()
}

fn number(number: Number) -> String {
    match number {
        Number::Relative(n) => n.to_string(),
        Number::Raw(raw) => raw.to_string(),
        Number::Last => "last".to_owned(),
        Number::Any => "*".to_owned(),
    }
}
