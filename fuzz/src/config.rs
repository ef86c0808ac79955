//! `node.toml` and hardware profiles: whatever the text is, it is refused in words, or all that is
//! built from it works.

/// The command's own reader, which is no library.
#[path = "../../src/config/mod.rs"]
#[allow(dead_code, unused_imports, clippy::pedantic)]
mod node;

use std::path::Path;
use std::sync::Arc;

use engine::addr::Addr;
use engine::content::Content;
use replication::Incarnation;

/// Longer texts only repeat themselves.
const MAX_BYTES: usize = 16_384;

pub fn run(input: &[u8]) {
    let Some((&mode, bytes)) = input.split_first() else { return };
    let Ok(text) = str::from_utf8(&bytes[..bytes.len().min(MAX_BYTES)]) else { return };
    match mode & 1 {
        0 => node_file(text),
        _ => profile(usize::from(mode >> 1), text),
    }
}

fn node_file(text: &str) {
    // Relative paths lead nowhere, so that no file of the machine decides anything.
    let config = match node::parse(text, Path::new("/nonexistent/node.toml")) {
        Ok(config) => config,
        Err(error) => return assert!(!error.to_string().trim().is_empty(), "refused in silence"),
    };
    let shard = config.cluster.engine();
    assert_eq!(shard.validate(), Ok(()), "a node with this file would not start");
    assert_eq!(config.member().validate(), Ok(()));
    let content = Arc::new(Content::default());
    let identity = config.identity(Incarnation(1), &content).expect("its names are names");
    assert!(!identity.config.text().contains(SECRET), "the secret is told");
    assert!(shard.vips.len() <= worker::MAX_VIPS, "a node with this file would not start");
    let worker = config.worker(Incarnation(1), content);
    let links = || worker.links.iter();
    assert!((1..=2).contains(&links().count()), "a node with this file would not start");
    for own in worker.lan.addresses.iter().chain(links().flat_map(|link| &link.addresses)) {
        assert!(own.prefix_len <= if own.address.is_ipv4() { 32 } else { 128 });
    }
    let mut on_lan = shard.vips.iter().chain(&worker.lan.peers);
    assert!(on_lan.all(|address| worker.lan.address_beside(*address).is_some()), "nobody to ask");
    for link in links() {
        assert_eq!(link.peers.len(), config.peers.len(), "a peer has no place there");
        let sends = |peer: &Addr| link.address_beside(*peer).is_some();
        assert!(link.peers.iter().all(sends), "no address to send from");
    }
    let mtus =
        [config.cluster.mtu].into_iter().chain(config.node.links.iter().map(|link| link.mtu));
    for (profile, mtu) in config.profiles.iter().zip(mtus) {
        let argument = profile.device.argument(0, "dev0", 1, mtu);
        assert!(argument.is_some(), "profile {} has no room for {mtu} bytes", profile.name);
    }
}

/// The secret of the files in the corpus.
const SECRET: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn profile(which: usize, text: &str) {
    let names: Vec<_> = hw_profiles::names().collect();
    let name = names[which % names.len()];
    match hw_profiles::load_text(name, Some((text, "site.toml"))) {
        Ok(profile) => {
            let mtu = profile.device.standard.mtu;
            assert!(profile.burst_size > 0 && profile.queues.pairs > 0);
            let _ = profile.device.argument(1, "dev1", profile.queues.pairs, mtu);
        }
        Err(error) => assert!(!error.to_string().trim().is_empty(), "refused in silence"),
    }
}
