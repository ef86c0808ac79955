//! From text to a script. `scripts/README.md` is the grammar.

use super::icmp::Kind;
use super::packet::flags;
use super::syntax::{
    Assertion, Command, Connect, Content, Icmp, Inbound, Line, Number, Opt, Script, Segment,
    Service, Test,
};
use super::words::{Reader, Word, hex, number, split};

/// The line between the header and the conversation.
const DIVIDER: &str = "---";
/// The flow of lines that name none.
const FIRST_FLOW: &str = "a";

/// Reads a script. An error says where it is.
pub fn parse(path: &str, text: &str) -> Result<Script, String> {
    let count = text.lines().take_while(|line| line.trim_end() != DIVIDER).count();
    let divided = count < text.lines().count();
    let header: String = text.lines().take(count).map(|line| format!("{line}\n")).collect();
    let header = if divided { header } else { String::new() };
    let header = header.parse().map_err(|error| format!("{path}: {error}"))?;
    let mut lines: Vec<Line> = Vec::new();
    let start = if divided { count + 1 } else { 0 };
    for (at, text) in text.lines().enumerate().skip(start) {
        let parsed = split(text).and_then(|words| line(words, text.trim(), at + 1));
        lines.extend(parsed.map_err(|error| format!("{path}:{}: {error}\n  {text}", at + 1))?);
    }
    Ok(Script { path: path.to_owned(), header, lines })
}

fn line(words: Vec<Word>, text: &str, number: usize) -> Result<Option<Line>, String> {
    if words.is_empty() {
        return Ok(None);
    }
    let mut words = Reader::new(words);
    let mut wait_us = (0, 0);
    if let Some(Word::Plain(word)) = words.peek()
        && let Some(time) = word.strip_prefix('+')
    {
        wait_us = match time.split_once("..") {
            Some((least, most)) => (micros(least)?, micros(most)?),
            None => (micros(time)?, micros(time)?),
        };
        words.next();
    }
    let mut flow = FIRST_FLOW.to_owned();
    if let Some(Word::Plain(word)) = words.peek()
        && let Some(name) = word.strip_prefix('[')
    {
        name.strip_suffix(']').ok_or("\"[\" without \"]\"")?.clone_into(&mut flow);
        words.next();
    }
    let command = command(&mut words)?;
    words.end()?;
    Ok(Some(Line { number, text: text.to_owned(), wait_us, flow, command }))
}

/// Seconds as microseconds.
fn micros(text: &str) -> Result<u64, String> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 6 {
        return Err(format!("{text}: no finer than a microsecond"));
    }
    let whole: u64 = if whole.is_empty() { 0 } else { number(whole)? };
    Ok(whole * 1_000_000 + number::<u64>(&format!("{part:0<6}"))?)
}

fn command(words: &mut Reader) -> Result<Command, String> {
    let verb = words.plain("a command")?;
    Ok(match verb.as_str() {
        "<" | "<+" => Command::Send { what: inbound(words)?, together: verb == "<+" },
        ">" => Command::Expect(segment(words)?),
        "nothing" => Command::Nothing,
        "drain" => Command::Drain,
        "handshake" => Command::Handshake(opening(words)?),
        "connected" => Command::Connected(opening(words)?),
        "connect" => Command::Connect(connect(words)?),
        "feed" => feed(&words.plain("from:to(each)")?)?,
        "isn" => Command::PeerIsn(sequence(&words.plain("a number")?)?),
        "write" => {
            let content = content(words)?;
            let takes = if words.takes("takes") { Some(words.number("bytes")?) } else { None };
            Command::Service(Service::Write { content, takes })
        }
        "read" => Command::Service(Service::Read(content(words)?)),
        "close" => Command::Service(Service::Close),
        "abort" => Command::Service(Service::Abort),
        other => Command::Assert(assertion(other, words)?),
    })
}

fn assertion(verb: &str, words: &mut Reader) -> Result<Assertion, String> {
    let named = |words: &mut Reader| Ok::<_, String>((words.plain("a name")?, test(words)?));
    Ok(match verb {
        "state" => Assertion::State(words.plain("a state")?),
        "told" => Assertion::Events(words.rest()?),
        "readable" => Assertion::Readable(words.number("bytes")?),
        "urgent" => Assertion::Urgent(words.number("bytes")?),
        "counter" => named(words).map(|(name, test)| Assertion::Counter(name, test))?,
        "malformed" => named(words).map(|(name, test)| Assertion::Malformed(name, test))?,
        "info" => named(words).map(|(name, test)| Assertion::Info(name, test))?,
        "memory" => named(words).map(|(name, test)| Assertion::Memory(name, test))?,
        _ => return Err(format!("\"{verb}\" is no command")),
    })
}

fn test(words: &mut Reader) -> Result<Test, String> {
    let relation = match words.peek() {
        Some(Word::Plain(word)) if word == "at-least" || word == "at-most" => word.clone(),
        _ => return Ok(Test { relation: "is".to_owned(), value: words.number("a number")? }),
    };
    words.next();
    Ok(Test { relation, value: words.number("a number")? })
}

fn content(words: &mut Reader) -> Result<Content, String> {
    match words.next() {
        Some(Word::Text(bytes)) => Ok(Content::Bytes(bytes)),
        Some(Word::Plain(word)) if word == "all" => Ok(Content::All),
        Some(Word::Plain(word)) => number(&word).map(Content::Len),
        other => Err(format!("expected a number of bytes or a text, found {other:?}")),
    }
}

fn connect(words: &mut Reader) -> Result<Connect, String> {
    let mut connect = Connect { to: None, fails: None };
    if words.takes("to") {
        let text = words.plain("an address")?;
        connect.to = Some(text.parse().map_err(|_| format!("\"{text}\" is no address"))?);
    }
    if words.takes("fails") {
        connect.fails = Some(words.plain("the name of an error")?);
    }
    Ok(connect)
}

fn feed(text: &str) -> Result<Command, String> {
    let (from, to, each) = numbers(text)?;
    let (Number::Relative(from), Some(Number::Relative(to)), Some(each)) = (from, to, each) else {
        return Err("feed wants from:to(each)".to_owned());
    };
    Ok(Command::Feed { from, to, each })
}

fn inbound(words: &mut Reader) -> Result<Inbound, String> {
    if words.takes("icmp") {
        return icmp(words).map(Inbound::Icmp);
    }
    if words.takes("raw") {
        return hex(&words.rest()?.concat()).map(Inbound::Raw);
    }
    segment(words).map(Inbound::Segment)
}

fn icmp(words: &mut Reader) -> Result<Icmp, String> {
    let name = words.plain("the kind of an ICMP message")?;
    let kind = match (Kind::from_name(&name), name.split_once('/')) {
        (Some(kind), _) => kind,
        (None, Some((kind, code))) => Kind::Numbers(number(kind)?, number(code)?),
        (None, None) => return Err(format!("\"{name}\" is neither a kind nor type/code")),
    };
    let mtu = if words.takes("mtu") { words.number("an MTU")? } else { 0 };
    let badsum = words.takes("badsum");
    if !words.takes("quote") {
        return Err("an ICMP error quotes: \"quote FLAGS from:to(len)\"".to_owned());
    }
    let quoted = if words.takes("bytes") { words.number("bytes")? } else { 8 };
    Ok(Icmp { kind, mtu, quote: segment(words)?, quoted, badsum })
}

/// A SYN whose numbers are known.
fn opening(words: &mut Reader) -> Result<Segment, String> {
    let mut segment =
        Segment { seq: Some(Number::Relative(0)), len: Some(0), ..Segment::default() };
    details(words, &mut segment)?;
    if segment.options.is_none() {
        segment.options = Some(vec![Opt::Mss(1000)]);
    }
    Ok(segment)
}

fn segment(words: &mut Reader) -> Result<Segment, String> {
    let mut segment = Segment { flags: flags(&words.plain("flags")?)?, ..Segment::default() };
    let text = words.plain("from:to(len)")?;
    let (from, to, len) = numbers(&text)?;
    if let (Number::Relative(from), Some(Number::Relative(to)), Some(len)) = (from, to, len)
        && from + i64::try_from(len).unwrap_or(i64::MAX) != to
    {
        return Err(format!("{text}: the numbers do not fit each other"));
    }
    (segment.seq, segment.len) = (Some(from), len);
    details(words, &mut segment)?;
    Ok(segment)
}

/// What may follow flags and numbers, in any order.
fn details(words: &mut Reader, segment: &mut Segment) -> Result<(), String> {
    while let Some(word) = words.next() {
        let word = match word {
            Word::Options(text) => {
                segment.options = Some(options(&text)?);
                continue;
            }
            Word::Text(bytes) => {
                segment.content = Some(bytes);
                continue;
            }
            Word::Plain(word) => word,
        };
        match word.as_str() {
            "ack" => segment.ack = Some(sequence(&words.plain("a number")?)?),
            "win" => segment.window = Some(words.number("a window")?),
            "urg" => segment.urgent = Some(words.number("an urgent pointer")?),
            other => ip_detail(other, words, segment)?,
        }
    }
    Ok(())
}

fn ip_detail(word: &str, words: &mut Reader, segment: &mut Segment) -> Result<(), String> {
    let address = |words: &mut Reader| {
        let text = words.plain("an address")?;
        text.parse().map(Some).map_err(|_| format!("\"{text}\" is no address"))
    };
    let (ip, damage) = (&mut segment.ip, &mut segment.damage);
    match word {
        "ecn" => ip.ecn = Some(codepoint(&words.plain("a codepoint")?)?),
        "dscp" => ip.dscp = Some(words.number("a codepoint")?),
        "ttl" => ip.ttl = Some(words.number("hops")?),
        "from" => ip.source = address(words)?,
        "to" => ip.destination = address(words)?,
        "ipopt" => ip.options = hex(&words.plain("bytes in hex")?)?,
        "label" => ip.flow_label = Some(words.number("a flow label")?),
        "ext" => ip.extensions.push(extension(words)?),
        "frag" => ip.fragment = Some(words.number("flags and offset")?),
        "badsum" => damage.tcp_checksum = true,
        "badipsum" => damage.ip_checksum = true,
        "pad" => damage.padding = words.number("bytes")?,
        "doff" => damage.data_offset = Some(words.number("words")?),
        "rsvd" => damage.reserved = words.number("bits")?,
        "cut" => damage.cut = words.number("bytes")?,
        other => return Err(format!("\"{other}\" says nothing about a segment")),
    }
    Ok(())
}

/// The type of an extension header, by name or number, and what follows its first byte.
fn extension(words: &mut Reader) -> Result<(u8, Vec<u8>), String> {
    let kind = match words.plain("the kind of an extension header")?.as_str() {
        "hop-by-hop" => 0,
        "routing" => 43,
        "fragment" => 44,
        "destination" => 60,
        other => number(other)?,
    };
    Ok((kind, hex(&words.plain("bytes in hex")?)?))
}

fn codepoint(name: &str) -> Result<u8, String> {
    let names = ["not-ect", "ect1", "ect0", "ce"];
    let at = names.iter().position(|known| *known == name);
    let at = at.ok_or_else(|| format!("\"{name}\" is none of {names:?}"))?;
    u8::try_from(at).map_err(|error| error.to_string())
}

type Numbers = (Number, Option<Number>, Option<usize>);

/// `from:to(len)`; `*` stands for anything.
fn numbers(text: &str) -> Result<Numbers, String> {
    let wrong = || format!("\"{text}\" is not of the form from:to(len)");
    let (from, rest) = text.split_once(':').ok_or_else(wrong)?;
    let (to, len) = rest.strip_suffix(')').and_then(|r| r.split_once('(')).ok_or_else(wrong)?;
    let len = if len == "*" { None } else { Some(number(len)?) };
    Ok((sequence(from)?, Some(sequence(to)?), len))
}

fn sequence(text: &str) -> Result<Number, String> {
    Ok(match (text, text.strip_prefix('=')) {
        ("*", _) => Number::Any,
        ("last", _) => Number::Last,
        (_, Some(raw)) => Number::Raw(number(raw)?),
        (relative, None) => Number::Relative(number(relative)?),
    })
}

fn options(text: &str) -> Result<Vec<Opt>, String> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(option).collect()
}

fn option(text: &str) -> Result<Opt, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    Ok(match words.as_slice() {
        ["mss", value] => Opt::Mss(number(value)?),
        ["wscale", shift] => Opt::WindowScale(number(shift)?),
        ["sackOK"] => Opt::SackPermitted,
        ["nop"] => Opt::Nop,
        ["eol"] => Opt::End,
        ["TS", "val", value, "ecr", echo] => {
            Opt::Timestamps { value: sequence(value)?, echo: sequence(echo)? }
        }
        ["sack", blocks @ ..] => {
            let block = |text: &&str| {
                let (start, end) = text.split_once(':').ok_or("a block is start:end")?;
                Ok::<_, String>((sequence(start)?, sequence(end)?))
            };
            Opt::Sack(blocks.iter().map(block).collect::<Result<_, _>>()?)
        }
        ["hex", bytes @ ..] => Opt::Raw(hex(&bytes.concat())?),
        _ => return Err(format!("\"{text}\" is no option")),
    })
}
