//! Filter expressions over connections, in the manner of `ss`.
//!
//! ```text
//! expression = and { ("or" | "||") and }
//! and        = not { ["and" | "&&"] not }          neighbours without a word mean "and"
//! not        = ["not" | "!"] not | "(" expression ")" | test
//! test       = ("src" | "dst") ["=" | "!="] address [":" port]
//!            | ("sport" | "dport") compare [":"] port
//!            | "state" name                        a state, or: all connected synchronized
//!            | "service" ["=" | "!="] name
//! address    = IPv4 | "[" IPv6 "]" | IPv6 | "*", followed by "/" and a prefix length or not
//! compare    = "=" | "==" | "!=" | "<" | "<=" | ">" | ">=" | eq ne lt le gt ge
//! ```
//!
//! `src` and `sport` are the appliance's side of the connection, `dst` and `dport` the client's.

use std::cmp::Ordering;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use thiserror::Error;

use super::types::{ConnRow, TcpState};

/// The longest expression, in bytes.
pub const MAX_BYTES: usize = 4096;
/// The deepest nesting of parentheses and negations.
const MAX_DEPTH: usize = 64;

/// A parsed expression. The default selects every connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter(Option<Expression>);

/// What is wrong with an expression, and where.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("column {column}: {message}")]
pub struct FilterError {
    /// In characters from 1; one past the end if something is missing there.
    pub column: usize,
    pub message: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Expression {
    Any(Vec<Expression>),
    All(Vec<Expression>),
    Not(Box<Expression>),
    Address { side: Side, network: Option<Network>, port: Option<u16>, wanted: bool },
    Port { side: Side, compare: Compare, port: u16 },
    State(Vec<TcpState>),
    Service { name: String, wanted: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Local,
    Remote,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    prefix: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Filter {
    /// # Errors
    /// The expression does not follow the grammar; the message says what was expected where.
    pub fn parse(text: &str) -> Result<Filter, FilterError> {
        if text.len() > MAX_BYTES {
            let message = format!("the expression is longer than {MAX_BYTES} bytes");
            return Err(FilterError { column: MAX_BYTES + 1, message });
        }
        let mut parser = Parser { words: split(text), next: 0, end: text.chars().count() + 1 };
        if parser.words.is_empty() {
            return Ok(Filter(None));
        }
        let expression = parser.any(0)?;
        match parser.peek() {
            None => Ok(Filter(Some(expression))),
            Some(")") => Err(parser.wrong("there is no open parenthesis to close")),
            Some(word) => Err(parser.wrong(&format!("{word:?} does not belong here"))),
        }
    }

    #[must_use]
    pub fn selects(&self, row: &ConnRow) -> bool {
        self.0.as_ref().is_none_or(|expression| expression.holds(row))
    }
}

impl FromStr for Filter {
    type Err = FilterError;
    fn from_str(text: &str) -> Result<Filter, FilterError> {
        Filter::parse(text)
    }
}

impl Expression {
    fn holds(&self, row: &ConnRow) -> bool {
        match self {
            Expression::Any(parts) => parts.iter().any(|part| part.holds(row)),
            Expression::All(parts) => parts.iter().all(|part| part.holds(row)),
            Expression::Not(part) => !part.holds(row),
            Expression::Address { side, network, port, wanted } => {
                let end = side.of(row);
                let matches = network.is_none_or(|network| network.contains(end.ip()))
                    && port.is_none_or(|port| port == end.port());
                matches == *wanted
            }
            Expression::Port { side, compare, port } => {
                compare.holds(side.of(row).port().cmp(port))
            }
            Expression::State(states) => states.contains(&row.state),
            Expression::Service { name, wanted } => (row.service == *name) == *wanted,
        }
    }
}

impl Side {
    fn of(self, row: &ConnRow) -> SocketAddr {
        match self {
            Side::Local => row.local,
            Side::Remote => row.remote,
        }
    }
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        let (ours, theirs) = match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                (u128::from(ours.to_bits()) << 96, u128::from(theirs.to_bits()) << 96)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => (ours.to_bits(), theirs.to_bits()),
            _ => return false,
        };
        let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
        (ours ^ theirs) & mask == 0
    }
}

impl Compare {
    fn named(word: &str) -> Option<Compare> {
        Some(match word {
            "=" | "==" | "eq" => Compare::Equal,
            "!=" | "ne" | "neq" => Compare::NotEqual,
            "<" | "lt" => Compare::Less,
            "<=" | "le" | "leq" => Compare::LessOrEqual,
            ">" | "gt" => Compare::Greater,
            ">=" | "ge" | "geq" => Compare::GreaterOrEqual,
            _ => return None,
        })
    }

    fn holds(self, order: Ordering) -> bool {
        match self {
            Compare::Equal => order.is_eq(),
            Compare::NotEqual => order.is_ne(),
            Compare::Less => order.is_lt(),
            Compare::LessOrEqual => order.is_le(),
            Compare::Greater => order.is_gt(),
            Compare::GreaterOrEqual => order.is_ge(),
        }
    }
}

/// A word of the expression and its column.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Word {
    text: String,
    column: usize,
}

/// Words are runs of characters that are no blank, parenthesis or operator; operators are words
/// of their own, so that `dport>=1024` and `dport >= 1024` are the same.
fn split(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut previous = Class::Blank;
    for (index, character) in text.chars().enumerate() {
        let class = Class::of(character);
        let joins = class == previous
            && match class {
                Class::Word => true,
                Class::Operator => words.last().is_some_and(|word| {
                    let joined = format!("{}{character}", word.text);
                    ["==", "!=", "<=", ">=", "&&", "||"].contains(&joined.as_str())
                }),
                Class::Blank | Class::Parenthesis => false,
            };
        match words.last_mut().filter(|_| joins) {
            Some(word) => word.text.push(character),
            None if class == Class::Blank => {}
            None => words.push(Word { text: character.to_string(), column: index + 1 }),
        }
        previous = class;
    }
    words
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Blank,
    Parenthesis,
    Operator,
    Word,
}

impl Class {
    fn of(character: char) -> Class {
        match character {
            '(' | ')' => Class::Parenthesis,
            '=' | '!' | '<' | '>' | '&' | '|' => Class::Operator,
            _ if character.is_whitespace() => Class::Blank,
            _ => Class::Word,
        }
    }
}

struct Parser {
    words: Vec<Word>,
    next: usize,
    /// The column behind the last character.
    end: usize,
}

impl Parser {
    fn peek(&self) -> Option<&str> {
        self.words.get(self.next).map(|word| word.text.as_str())
    }

    fn accept(&mut self, any_of: &[&str]) -> bool {
        let found = self.peek().is_some_and(|word| any_of.contains(&word));
        self.next += usize::from(found);
        found
    }

    fn take(&mut self, expected: &str) -> Result<String, FilterError> {
        let word = self.peek().map(str::to_owned);
        let word = word.ok_or_else(|| self.wrong(&format!("{expected} is missing")))?;
        self.next += 1;
        Ok(word)
    }

    /// An error at the next word, or at the end.
    fn wrong(&self, message: &str) -> FilterError {
        let column = self.words.get(self.next).map_or(self.end, |word| word.column);
        FilterError { column, message: message.to_owned() }
    }

    /// An error at the word taken last.
    fn wrong_before(&mut self, message: &str) -> FilterError {
        self.next = self.next.saturating_sub(1);
        self.wrong(message)
    }

    fn any(&mut self, depth: usize) -> Result<Expression, FilterError> {
        let mut parts = vec![self.all(depth)?];
        while self.accept(&["or", "||"]) {
            parts.push(self.all(depth)?);
        }
        Ok(single_or(parts, Expression::Any))
    }

    fn all(&mut self, depth: usize) -> Result<Expression, FilterError> {
        let mut parts = vec![self.not(depth)?];
        while self.accept(&["and", "&&"])
            || self.peek().is_some_and(|word| !["or", "||", ")"].contains(&word))
        {
            parts.push(self.not(depth)?);
        }
        Ok(single_or(parts, Expression::All))
    }

    fn not(&mut self, depth: usize) -> Result<Expression, FilterError> {
        if depth >= MAX_DEPTH {
            return Err(self.wrong("parentheses and negations are nested too deep"));
        }
        if self.accept(&["not", "!"]) {
            return Ok(Expression::Not(Box::new(self.not(depth + 1)?)));
        }
        if self.accept(&["("]) {
            let inner = self.any(depth + 1)?;
            if self.accept(&[")"]) {
                return Ok(inner);
            }
            return Err(self.wrong("a closing parenthesis is missing"));
        }
        self.test()
    }

    fn test(&mut self) -> Result<Expression, FilterError> {
        const TESTS: &str = "src, dst, sport, dport, state or service";
        let word = self.take(&format!("a test ({TESTS})"))?;
        match word.as_str() {
            "src" => self.address(Side::Local),
            "dst" => self.address(Side::Remote),
            "sport" => self.port(Side::Local),
            "dport" => self.port(Side::Remote),
            "state" => self.state(),
            "service" => {
                let wanted = self.wanted();
                let name = self.take("the name of a service")?;
                Ok(Expression::Service { name, wanted })
            }
            _ => Err(self.wrong_before(&format!("{word:?} is no test; expected {TESTS}"))),
        }
    }

    /// Whether equality is asked for: an optional operator.
    fn wanted(&mut self) -> bool {
        let unwanted = self.accept(&["!=", "ne", "neq"]);
        if !unwanted {
            self.accept(&["=", "==", "eq"]);
        }
        !unwanted
    }

    fn address(&mut self, side: Side) -> Result<Expression, FilterError> {
        let wanted = self.wanted();
        let word = self.take("an address, for example 10.0.0.0/8 or [fd00::1]:80")?;
        let (network, port) = parse_address(&word).map_err(|why| self.wrong_before(&why))?;
        Ok(Expression::Address { side, network, port, wanted })
    }

    fn port(&mut self, side: Side) -> Result<Expression, FilterError> {
        let word = self.take("a comparison, for example = or >=")?;
        let compare = Compare::named(&word).ok_or_else(|| {
            self.wrong_before(&format!("{word:?} is no comparison; expected = != < <= > or >="))
        })?;
        let word = self.take("a port, for example :80")?;
        let digits = word.strip_prefix(':').unwrap_or(&word);
        let port = parse_port(digits).map_err(|why| self.wrong_before(&why))?;
        Ok(Expression::Port { side, compare, port })
    }

    fn state(&mut self) -> Result<Expression, FilterError> {
        let word = self.take("a state, for example established")?;
        let synchronized = |state: &TcpState| {
            !matches!(state, TcpState::Closed | TcpState::SynSent | TcpState::SynRecv)
        };
        let states: Vec<TcpState> = match word.as_str() {
            "all" => TcpState::ALL.to_vec(),
            "connected" => TcpState::ALL.into_iter().filter(|s| *s != TcpState::Closed).collect(),
            "synchronized" => TcpState::ALL.into_iter().filter(synchronized).collect(),
            name => TcpState::ALL.into_iter().filter(|state| state.name() == name).collect(),
        };
        if states.is_empty() {
            let names = TcpState::ALL.map(TcpState::name).join(" ");
            let message =
                format!("{word:?} is no state; expected all connected synchronized {names}");
            return Err(self.wrong_before(&message));
        }
        Ok(Expression::State(states))
    }
}

fn single_or(mut parts: Vec<Expression>, many: fn(Vec<Expression>) -> Expression) -> Expression {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            many(parts)
        }
    }
}

fn parse_port(digits: &str) -> Result<u16, String> {
    digits.parse().map_err(|_| format!("{digits:?} is no port; a number to 65535 is expected"))
}

/// `ADDRESS[/PREFIX][:PORT]` with IPv6 in brackets, `IPv6[/PREFIX]`, `*[:PORT]`, `:PORT`.
fn parse_address(word: &str) -> Result<(Option<Network>, Option<u16>), String> {
    let (address, rest) = if let Some(rest) = word.strip_prefix('[') {
        rest.split_once(']').ok_or("the bracket around the IPv6 address is not closed")?
    } else if word.matches(':').count() > 1 {
        word.split_at(word.find('/').unwrap_or(word.len()))
    } else {
        word.split_at(word.find(['/', ':']).unwrap_or(word.len()))
    };
    let (prefix, port) = match rest.split_once(':') {
        Some((prefix, "*")) => (prefix, None),
        Some((prefix, digits)) => (prefix, Some(parse_port(digits)?)),
        None => (rest, None),
    };
    if prefix.is_empty() && (address == "*" || address.is_empty() && port.is_some()) {
        return Ok((None, port));
    }
    let address: IpAddr = address.parse().map_err(|_| {
        format!("{address:?} is no address; expected for example 10.0.0.0/8, [fd00::1]:80 or *")
    })?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length = match prefix.strip_prefix('/') {
        None if prefix.is_empty() => Some(most),
        None => return Err(format!("{prefix:?} behind the address; expected / or :")),
        Some(digits) => digits.parse().ok().filter(|length| *length <= most),
    };
    let length = length
        .ok_or_else(|| format!("{prefix:?} is no prefix length; /0 to /{most} is expected"))?;
    Ok((Some(Network { address, prefix: length }), port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(local: &str, remote: &str, state: TcpState, service: &str) -> ConnRow {
        ConnRow {
            shard: 0,
            state,
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            service: service.to_owned(),
            recv_queue: 0,
            send_queue: 0,
            rtt_us: None,
            rtt_var_us: None,
            rto_us: 1_000_000,
            cwnd: 14_600,
            mss: 1460,
            retransmissions: 0,
            bytes_in: 0,
            bytes_out: 0,
            idle_us: None,
        }
    }

    fn web() -> ConnRow {
        row("10.77.0.100:80", "10.77.0.9:40001", TcpState::Established, "web")
    }

    #[track_caller]
    fn check(expression: &str, expected: bool) {
        let filter = Filter::parse(expression).unwrap_or_else(|e| panic!("{expression}: {e}"));
        assert_eq!(filter.selects(&web()), expected, "{expression}");
    }

    #[test]
    fn selects_by_address_port_state_and_service() {
        check("", true);
        check("src 10.0.0.0/8 and sport = :80", true);
        check("dst 10.77.0.9", true);
        check("dst 10.77.0.9:40001", true);
        check("dst 10.77.0.8/31", true);
        check("dst 10.77.0.8", false);
        check("dst != 10.77.0.8", true);
        check("src [fd00::]/8", false);
        check("src [::]/0:80", false);
        check("src 10.77.0.0/16:80", true);
        check("src *:80", true);
        check("src :81", false);
        check("dport >= :1024 dport<50000", true);
        check("dport lt 1024", false);
        check("state established", true);
        check("state synchronized", true);
        check("service web", true);
        check("service != web", false);
        check("src 0.0.0.0/0", true);
        check("src ::/0", false);
    }

    #[test]
    fn not_binds_tighter_than_and_and_than_or() {
        check("not service web or state established", true);
        check("not (service web or state established)", false);
        check("service echo and state closing or sport = 80", true);
        check("service echo and (state closing or sport = 80)", false);
        check("!!service web && ! state close-wait", true);
        check(
            "src 10.0.0.0/8 and dport = :40001 and (state established or state close-wait) \
             and not service echo",
            true,
        );
    }

    #[track_caller]
    fn error(expression: &str, column: usize, part: &str) {
        let error = Filter::parse(expression).expect_err(expression);
        assert_eq!(error.column, column, "{expression}: {error}");
        assert!(error.message.contains(part), "{expression}: {error}");
    }

    #[test]
    fn errors_point_at_the_column() {
        error("port = 80", 1, "no test");
        error("sport = :80 and", 16, "missing");
        error("sport 80", 7, "no comparison");
        error("sport = 65536", 9, "no port");
        error("src 10.0.0.0/33", 5, "prefix");
        error("src 10.0.0", 5, "no address");
        error("src [fd00::1", 5, "bracket");
        error("(state established", 19, "closing parenthesis");
        error("state established)", 18, "no open parenthesis");
        error("state open", 7, "no state");
        error("service web or or", 16, "no test");
        error("ä or service web", 1, "no test");
        error(&"(".repeat(200), MAX_DEPTH + 1, "deep");
        error(&"not ".repeat(200), 4 * MAX_DEPTH + 1, "deep");
    }

    prop_compose! {
        fn any_test()(
            side in prop::sample::select(vec!["src", "dst"]),
            address in any::<u32>().prop_map(std::net::Ipv4Addr::from_bits),
            prefix in 0u8..=32,
            port in any::<u16>(),
            operator in prop::sample::select(vec!["=", "!=", "<", "<=", ">", ">="]),
            state in prop::sample::select(TcpState::ALL.to_vec()),
            kind in 0..4,
        ) -> String {
            match kind {
                0 => format!("{side} {address}/{prefix}"),
                1 => format!("{}port {operator} :{port}", &side[..1]),
                2 => format!("state {state}"),
                _ => "service web".to_owned(),
            }
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in ".{0,200}") {
            if let Err(error) = Filter::parse(&text) {
                prop_assert!(error.column >= 1 && error.column <= text.chars().count() + 1);
            }
        }

        #[test]
        fn words_in_any_order_never_panic(words in prop::collection::vec(
            prop::sample::select(vec![
                "src", "dst", "sport", "dport", "state", "service", "and", "or", "not", "(", ")",
                "=", "!=", "10.0.0.0/8", ":80", "established", "web", "[::1]:80", "*",
            ]), 0..20)) {
            let _ = Filter::parse(&words.join(" "));
        }

        #[test]
        fn combines_like_boolean_algebra(a in any_test(), b in any_test()) {
            let one = |text: &str| Filter::parse(text).unwrap().selects(&web());
            prop_assert_eq!(one(&format!("{a} and {b}")), one(&a) && one(&b));
            prop_assert_eq!(one(&format!("{a} {b}")), one(&a) && one(&b));
            prop_assert_eq!(one(&format!("{a} or {b}")), one(&a) || one(&b));
            prop_assert_eq!(one(&format!("not ({a} or {b})")), !one(&a) && !one(&b));
        }

        #[test]
        fn a_network_holds_what_shares_its_prefix(
            net in any::<u32>(), address in any::<u32>(), prefix in 0u8..=32,
        ) {
            let network = Network { address: IpAddr::V4(net.into()), prefix };
            let same = (0..prefix).all(|bit| (net ^ address) & (1 << (31 - bit)) == 0);
            prop_assert_eq!(network.contains(IpAddr::V4(address.into())), same);
        }
    }
}
