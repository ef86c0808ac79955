//! What the worlds have seen, and how often: a fault, state or transition that is never hit is not
//! tested, however green the rest is.

use std::collections::BTreeMap;
use std::fmt;

/// Counts by kind and name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage(BTreeMap<&'static str, BTreeMap<String, u64>>);

impl Coverage {
    /// Notes that `name` happened.
    pub fn count(&mut self, kind: &'static str, name: &str) {
        self.add(kind, name, 1);
    }

    /// Notes that `name` happened so many times.
    pub fn add(&mut self, kind: &'static str, name: &str, times: u64) {
        if times == 0 {
            return;
        }
        let names = self.0.entry(kind).or_default();
        // A look first: the name need not be copied when it is there.
        match names.get_mut(name) {
            Some(count) => *count += times,
            None => drop(names.insert(name.to_owned(), times)),
        }
    }

    /// Adds another world's counts.
    pub fn merge(&mut self, other: &Coverage) {
        for (kind, names) in &other.0 {
            names.iter().for_each(|(name, times)| self.add(kind, name, *times));
        }
    }

    /// Notes that `name` could happen, whether it ever does or not.
    pub fn expect(&mut self, kind: &'static str, name: &str) {
        self.0.entry(kind).or_default().entry(name.to_owned()).or_default();
    }

    /// How often `name` happened.
    #[must_use]
    pub fn get(&self, kind: &str, name: &str) -> u64 {
        self.0.get(kind).and_then(|names| names.get(name)).copied().unwrap_or(0)
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, names) in &self.0 {
            writeln!(f, "{kind}")?;
            let width = names.keys().map(String::len).max().unwrap_or(0);
            for (name, times) in names {
                match times {
                    0 => writeln!(f, "  {name:<width$}         never")?,
                    _ => writeln!(f, "  {name:<width$}  {times:>12}")?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_two_worlds_add_up() {
        let (mut one, mut other) = (Coverage::default(), Coverage::default());
        one.count("faults", "crash");
        other.add("faults", "crash", 2);
        other.add("faults", "freeze", 0);
        one.merge(&other);
        assert_eq!((one.get("faults", "crash"), one.get("faults", "freeze")), (3, 0));
        assert!(one.to_string().contains("crash") && !one.to_string().contains("freeze"));
    }

    #[test]
    fn what_was_expected_and_never_came_is_told() {
        let mut coverage = Coverage::default();
        coverage.expect("faults", "crash");
        assert_eq!(coverage.to_string(), "faults\n  crash         never\n");
        coverage.count("faults", "crash");
        coverage.expect("faults", "crash");
        assert_eq!(coverage.to_string(), "faults\n  crash             1\n");
    }
}
