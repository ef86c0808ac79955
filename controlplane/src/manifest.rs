//! What both nodes must have in common, as lines of text that a person can compare.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

/// Lines in a difference before the rest is only counted.
const MAX_DIFF_LINES: usize = 40;

/// A text of lines and its digest. Equal digests mean equal texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    digest: [u8; 32],
    text: Arc<str>,
}

impl Manifest {
    /// The longest text that is sent to a peer for comparison, in bytes. A longer one still
    /// compares by its digest, but the difference cannot be shown.
    pub const MAX_BYTES: usize = 4 << 20;

    #[must_use]
    pub fn new(text: impl Into<Arc<str>>) -> Manifest {
        let text = text.into();
        Manifest { digest: *blake3::hash(text.as_bytes()).as_bytes(), text }
    }

    /// One line per setting, for example `service[web].port = 80`, in an order of its own. A list
    /// of tables that have a `name` is keyed by it, so that inserting one shows as just that.
    ///
    /// # Errors
    /// `settings` cannot be represented as JSON (a map with keys that are no strings).
    pub fn of(settings: &impl Serialize) -> Result<Manifest, serde_json::Error> {
        let mut text = String::new();
        flatten("", &serde_json::to_value(settings)?, &mut text);
        Ok(Manifest::new(text))
    }

    #[must_use]
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

fn flatten(path: &str, value: &Value, out: &mut String) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                flatten(&format!("{path}{dot}{key}"), field, out);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let name = item.get("name").and_then(Value::as_str).map(str::to_owned);
                let name = name.unwrap_or_else(|| index.to_string());
                flatten(&format!("{path}[{name}]"), item, out);
            }
        }
        leaf => {
            out.push_str(path);
            out.push_str(" = ");
            out.push_str(&leaf.to_string());
            out.push('\n');
        }
    }
}

/// The lines that only one side has: `- ` for ours, `+ ` for the peer's, at most 40 of them.
///
/// A comparison of line sets, not of sequences: both manifests name each thing in full on its
/// line, so order carries nothing, and the cost stays small for manifests of megabytes.
#[must_use]
pub fn difference(ours: &str, theirs: &str) -> String {
    let mut count = BTreeMap::<&str, i64>::new();
    ours.lines().for_each(|line| *count.entry(line).or_default() -= 1);
    theirs.lines().for_each(|line| *count.entry(line).or_default() += 1);
    let mut changed: Vec<_> = count.into_iter().filter(|(_, n)| *n != 0).collect();
    // Lines about the same thing stand together: both start with its name.
    changed.sort_by_key(|(line, n)| (line.split(" = ").next().unwrap_or(line).to_owned(), *n));
    let hidden = changed.len().saturating_sub(MAX_DIFF_LINES);
    let mut out = String::new();
    for (line, n) in changed.into_iter().take(MAX_DIFF_LINES) {
        out.push_str(if n < 0 { "- " } else { "+ " });
        out.push_str(line);
        out.push('\n');
    }
    if hidden > 0 {
        out.push_str(&format!("… and {hidden} more lines\n"));
    }
    if out.is_empty() && ours != theirs {
        out.push_str("the same lines in another order\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn flattens_settings_to_one_line_each() {
        let manifest = Manifest::of(&json!({
            "shards": 4,
            "vip": ["10.77.0.100/24"],
            "service": [{"name": "web", "port": 80}, {"name": "echo", "port": 7}],
        }))
        .unwrap();
        assert_eq!(
            manifest.text(),
            "service[web].name = \"web\"\nservice[web].port = 80\n\
             service[echo].name = \"echo\"\nservice[echo].port = 7\n\
             shards = 4\nvip[0] = \"10.77.0.100/24\"\n"
        );
    }

    #[test]
    fn shows_only_what_differs_ours_first() {
        let diff = difference("a = 1\nb = 2\nc = 3\n", "a = 1\nb = 5\nd = 4\n");
        assert_eq!(diff, "- b = 2\n+ b = 5\n- c = 3\n+ d = 4\n");
        assert_eq!(difference("a\n", "a\n"), "");
        assert_eq!(difference("a\nb\n", "b\na\n"), "the same lines in another order\n");
    }

    #[test]
    fn bounds_a_large_difference() {
        let many: String = (0..100).map(|n| format!("{n:03}\n")).collect();
        let diff = difference(&many, "");
        assert_eq!(diff.lines().count(), MAX_DIFF_LINES + 1);
        assert!(diff.ends_with("… and 60 more lines\n"));
    }
}
