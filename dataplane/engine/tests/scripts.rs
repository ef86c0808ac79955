//! Packet scripts: conversations between the shard and a peer that does just what the script says.
//! `scripts/README.md` describes the format, `docs/conformance.md` what each script shows.
//!
//! `SCRIPT=rfc9293/3.5 cargo test -p engine --test scripts` runs those whose path has that in it.

mod script;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use script::run::Mode;
use script::syntax::Script;

/// Ending of a script's file name.
const EXTENSION: &str = "pkt";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts")
}

/// All scripts, as paths below their folder and without the ending, in order.
fn names() -> BTreeSet<String> {
    let (root, mut names) = (folder(), BTreeSet::new());
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder of scripts can be read") {
            let path = entry.expect("and what is in it").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == EXTENSION) {
                let name = path.strip_prefix(&root).expect("below its root").with_extension("");
                names.insert(name.to_string_lossy().into_owned());
            }
        }
    }
    names
}

fn load(name: &str) -> Result<(Script, String), String> {
    let file = folder().join(format!("{name}.{EXTENSION}"));
    let text = fs::read_to_string(&file).map_err(|error| format!("{name}: {error}"))?;
    let script = script::parse::parse(&format!("{name}.{EXTENSION}"), &text)?;
    Ok((script, text))
}

/// Runs the scripts that `SCRIPT` asks for, or all of them, in each of its families.
fn run_all(mode: Mode) {
    let wanted = std::env::var("SCRIPT").unwrap_or_default();
    let mut failures = Vec::new();
    for name in names().iter().filter(|name| name.contains(&wanted)) {
        let result = load(name).and_then(|(script, _)| script::run::run(&script, mode));
        failures.extend(result.err());
    }
    let count = failures.len();
    assert!(failures.is_empty(), "{count} scripts failed\n\n{}\n", failures.join("\n\n"));
}

#[test]
fn every_script_holds() {
    run_all(Mode::Plain);
}

/// A node that joins between any two lines of a script must go on just like the first one.
#[test]
fn every_script_holds_on_a_shard_that_is_restored_before_each_line() {
    run_all(Mode::Restored);
}

#[test]
fn every_script_cites_what_it_checks() {
    for name in names() {
        let (_, text) = load(&name).unwrap_or_else(|error| panic!("{error}"));
        let first = text.lines().next().unwrap_or_default();
        let topic = name.split('/').next().unwrap_or_default();
        let cited = match topic.strip_prefix("rfc") {
            Some(number) => first.starts_with(&format!("# RFC {number} ")),
            None => first.starts_with("# "),
        };
        assert!(cited, "{name}: the first line must cite it, like \"# RFC 9293 3.5: ...\"");
    }
}

/// The list for people and the scripts themselves say the same.
#[test]
fn conformance_document_names_each_script_and_no_other() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/conformance.md");
    let document = fs::read_to_string(file).expect("docs/conformance.md is there");
    let topics: BTreeSet<String> =
        names().iter().filter_map(|name| Some(name.split_once('/')?.0.to_owned())).collect();
    let is_name = |text: &&str| {
        text.split_once('/').is_some_and(|(topic, rest)| {
            let of_topic = topics.contains(topic) || topic.starts_with("rfc");
            of_topic && !rest.contains(char::is_whitespace)
        })
    };
    let named: BTreeSet<String> =
        document.split('`').skip(1).step_by(2).filter(is_name).map(str::to_owned).collect();
    let missing: Vec<_> = names().difference(&named).cloned().collect();
    let gone: Vec<_> = named.difference(&names()).cloned().collect();
    assert!(missing.is_empty(), "docs/conformance.md does not name these scripts: {missing:#?}");
    assert!(gone.is_empty(), "docs/conformance.md names scripts that do not exist: {gone:#?}");
}
