//! A line taken apart into words.

/// A word of a line.
#[derive(Clone, Debug, PartialEq)]
pub enum Word {
    Plain(String),
    /// What stands between `<` and `>`.
    Options(String),
    /// What stands between quotes, as often as `*N` says.
    Text(Vec<u8>),
}

/// The words of a line, without its comment.
pub fn split(line: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, behind) = match first {
            '#' => break,
            '"' => text(&rest[1..])?,
            // The signs of direction stand alone at the start of a command.
            '<' if !rest.starts_with("< ") && !rest.starts_with("<+ ") => {
                let (inner, behind) = rest[1..].split_once('>').ok_or("\"<\" without \">\"")?;
                (Word::Options(inner.to_owned()), behind)
            }
            _ => {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                (Word::Plain(rest[..end].to_owned()), &rest[end..])
            }
        };
        words.push(word);
        rest = behind.trim_start();
    }
    Ok(words)
}

/// A text, its opening quote left out, and what follows it.
fn text(rest: &str) -> Result<(Word, &str), String> {
    let (inner, mut behind) = rest.split_once('"').ok_or("a quote without its end")?;
    let mut bytes = unescape(inner)?;
    if let Some(count) = behind.strip_prefix('*') {
        let end = count.find(|c: char| !c.is_ascii_digit()).unwrap_or(count.len());
        bytes = bytes.repeat(number(&count[..end])?);
        behind = &count[end..];
    }
    Ok((Word::Text(bytes), behind))
}

/// `\n`, `\r` and `\xHH`.
fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let (mut bytes, mut rest) = (Vec::new(), text);
    while let Some(c) = rest.chars().next() {
        if c != '\\' {
            bytes.extend_from_slice(c.to_string().as_bytes());
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let (byte, len) = match rest.as_bytes().get(1) {
            Some(b'n') => (b'\n', 2),
            Some(b'r') => (b'\r', 2),
            Some(b'x') => (hex(rest.get(2..4).ok_or("two digits follow \\x")?)?[0], 4),
            _ => return Err("after a backslash: n, r or xHH".to_owned()),
        };
        bytes.push(byte);
        rest = &rest[len..];
    }
    Ok(bytes)
}

/// Bytes in hex, blanks between them or not.
pub fn hex(text: &str) -> Result<Vec<u8>, String> {
    let digits: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let pair = |at: usize| {
        let pair = digits.get(at..at + 2);
        let byte = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok());
        byte.ok_or_else(|| format!("\"{text}\" is no run of bytes in hex"))
    };
    (0..digits.len()).step_by(2).map(pair).collect()
}

/// A number, decimal or after `0x` in hex.
pub fn number<T: TryFrom<i128>>(text: &str) -> Result<T, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => i128::from_str_radix(digits, 16),
        None => text.replace('_', "").parse(),
    };
    let value = parsed.ok().and_then(|value| T::try_from(value).ok());
    value.ok_or_else(|| format!("\"{text}\" is no number that fits here"))
}

/// Words one after the other.
pub struct Reader {
    words: std::vec::IntoIter<Word>,
}

impl Reader {
    pub fn new(words: Vec<Word>) -> Reader {
        Reader { words: words.into_iter() }
    }

    pub fn next(&mut self) -> Option<Word> {
        self.words.next()
    }

    pub fn peek(&self) -> Option<&Word> {
        self.words.as_slice().first()
    }

    /// The next word, which must be a plain one.
    pub fn plain(&mut self, what: &str) -> Result<String, String> {
        match self.next() {
            Some(Word::Plain(word)) => Ok(word),
            other => Err(format!("expected {what}, found {other:?}")),
        }
    }

    pub fn number<T: TryFrom<i128>>(&mut self, what: &str) -> Result<T, String> {
        number(&self.plain(what)?)
    }

    /// Takes the next word if it is this one.
    pub fn takes(&mut self, word: &str) -> bool {
        let there = matches!(self.peek(), Some(Word::Plain(next)) if next == word);
        if there {
            self.next();
        }
        there
    }

    /// All plain words that are left.
    pub fn rest(&mut self) -> Result<Vec<String>, String> {
        let mut rest = Vec::new();
        while self.peek().is_some() {
            rest.push(self.plain("a word")?);
        }
        Ok(rest)
    }

    pub fn end(&mut self) -> Result<(), String> {
        match self.next() {
            None => Ok(()),
            Some(word) => Err(format!("does not belong here: {word:?}")),
        }
    }
}
