use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

#[derive(Debug, PartialEq, Deserialize)]
struct Node {
    name: String,
    port: u16,
    #[serde(default)]
    ratio: f64,
    mode: Option<Mode>,
    #[serde(default)]
    service: Vec<Service>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Fast,
    Paced { rate_bps: u64 },
}

#[derive(Debug, PartialEq, Deserialize)]
struct Service {
    #[serde(default)]
    rate_bps: u64,
}

fn message(text: &str) -> String {
    from_toml::<Node>(text, "node.toml").unwrap_err().to_string()
}

#[test]
fn reads_every_kind_of_value() {
    let text = "name = 'a'\nport = 0x50\nratio = 1.5\nmode = 'fast'\n\
                [[service]]\nrate_bps = 1_000\n[[service]]\n[labels]\nrack = 'r1'\n";
    let node: Node = from_toml(text, "node.toml").unwrap();
    assert_eq!((node.port, node.ratio, &node.mode), (80, 1.5, &Some(Mode::Fast)));
    assert_eq!(node.service[0].rate_bps, 1000);
    assert_eq!(node.labels["rack"], "r1");
    let node: Node = from_toml("name='a'\nport=1\nmode={paced={rate_bps=9}}", "x").unwrap();
    assert_eq!(node.mode, Some(Mode::Paced { rate_bps: 9 }));
}

#[test]
fn unknown_keys_are_listed_all_at_once_with_line_path_and_nearest_name() {
    let text = "name = 'a'\nprt = 80\n[[service]]\nrate_bps = 1\n[[service]]\nrate_bsp = 2\n";
    assert_eq!(
        message(text),
        "node.toml:2: unknown key `prt`; did you mean `port`?\n\
         node.toml:6: unknown key `service[1].rate_bsp`; did you mean `rate_bps`?"
    );
}

#[test]
fn an_unknown_key_near_to_none_lists_what_is_known() {
    let text = "name = 'a'\nport = 1\n[[service]]\nzzz = 2\n";
    assert_eq!(message(text), "node.toml:4: unknown key `service[0].zzz`; known here: rate_bps");
}

#[test]
fn a_wrong_value_names_its_path_and_line() {
    let wrong_type = message("name = 'a'\nport = 'x'\n");
    assert!(wrong_type.starts_with("node.toml:2: `port`: invalid type"), "{wrong_type}");
    let too_large = message("name = 'a'\nport = 70000\n");
    assert!(too_large.starts_with("node.toml:2: `port`: invalid value"), "{too_large}");
    let nested = message("name = 'a'\nport = 1\n[[service]]\nrate_bps = -1\n");
    assert!(nested.starts_with("node.toml:4: `service[0].rate_bps`: invalid value"), "{nested}");
    assert_eq!(message("name = 'a'\n"), "node.toml:1: missing field `port`");
    let variant = message("name = 'a'\nport = 1\nmode = 'fats'\n");
    assert!(variant.starts_with("node.toml:3: `mode`: unknown value `fats`; did you mean `fast`?"));
    let variant = message("name = 'a'\nport = 1\nmode = {paced = {rate = 1}}\n");
    assert!(variant.contains("unknown key `mode.paced.rate`; did you mean"), "{variant}");
}

#[test]
fn a_syntax_error_names_the_line() {
    let text = message("name = 'a'\nport = = 1\n");
    assert!(text.starts_with("node.toml:2: "), "{text}");
}

#[test]
fn an_override_reports_lines_of_its_own_text() {
    let base = "name = 'a'\nport = 1\n\n\n\n[labels]\nx = 'y'\n";
    let node: Node = from_toml_over(base, "port = 2\n[labels]\nz = 'w'\n", "o.toml").unwrap();
    assert_eq!((node.port, node.labels.len()), (2, 2));
    let error = from_toml_over::<Node>(base, "\nport = 'x'\n", "o.toml").unwrap_err().to_string();
    assert!(error.starts_with("o.toml:2: `port`"), "{error}");
}
