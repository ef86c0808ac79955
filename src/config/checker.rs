//! Collects what is wrong with a file, so that one run reports all of it.

use std::{fmt::Display, str::FromStr};

use super::error::Problem;

/// Problems found so far.
#[derive(Debug, Default)]
pub struct Checker {
    pub problems: Vec<Problem>,
}

impl Checker {
    /// Notes a problem with `key`.
    pub fn fail(&mut self, key: &str, what: impl Into<String>, hint: impl Into<String>) {
        self.problems.push(Problem { key: key.into(), what: what.into(), hint: hint.into() });
    }

    /// Notes a problem unless `holds`.
    pub fn require(&mut self, holds: bool, key: &str, what: impl Into<String>, hint: &str) {
        if !holds {
            self.fail(key, what, hint);
        }
    }

    /// A value with a text form; `expected` describes that form, with an example.
    pub fn parse<T: FromStr>(&mut self, key: &str, text: &str, expected: &str) -> Option<T> {
        let value = text.parse().ok();
        if value.is_none() {
            self.fail(key, format!("\"{text}\" does not fit"), format!("expected {expected}"));
        }
        value
    }

    /// A number of `min` to `max`; a wrong one comes back as the nearest good one.
    pub fn range<T: Ord + Display + Copy>(&mut self, key: &str, value: T, min: T, max: T) -> T {
        if value < min || value > max {
            let hint = format!("expected {min} to {max}");
            self.fail(key, format!("{value} is out of range"), hint);
        }
        value.clamp(min, max)
    }

    /// A name that can stand in file names, logs and labels.
    pub fn name(&mut self, key: &str, text: &str) -> String {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.';
        let good = (1..=32).contains(&text.len()) && text.chars().all(fits);
        let what = format!("\"{text}\" is not a usable name");
        self.require(good, key, what, "expected 1 to 32 letters, digits, `-`, `_` or `.`");
        text.into()
    }

    /// One word out of a list.
    pub fn choice<T: Copy>(&mut self, key: &str, word: &str, choices: &[(&str, T)]) -> Option<T> {
        let found = choices.iter().find(|(name, _)| *name == word).map(|(_, value)| *value);
        if found.is_none() {
            let names: Vec<String> =
                choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
            let hint = format!("expected {}", names.join(", "));
            self.fail(key, format!("\"{word}\" is unknown"), hint);
        }
        found
    }
}
