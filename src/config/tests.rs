use engine::config::{AtLimit, Rate, ServiceLimits};
use replication::Protection;

use super::{
    ConfigError, Ingress, NodeConfig, Register,
    testing::{GOOD, read, with},
};

#[track_caller]
fn complaint(old: &str, new: &str) -> String {
    with(old, new).unwrap_err().to_string()
}

#[track_caller]
fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

#[test]
fn defaults_come_from_the_profile() {
    let config = read(GOOD).unwrap();
    let timers = hw_profiles::load("af_packet", None).unwrap().timers;
    assert_eq!(config.cluster.detection_timeout_ms, timers.detection_timeout_ms);
    assert_eq!(config.cluster.heartbeat_ms, timers.heartbeat_ms);
    assert_eq!(config.admin_socket.to_str(), Some("/run/holdfast/a.sock"));
    assert_eq!(config.cluster.vmac.0[..3], [0x02, 0x48, 0x46]);
    assert_eq!(config.member().validate(), Ok(()));
    assert_eq!(config.cluster.engine().validate(), Ok(()));
}

#[test]
fn unknown_key_names_its_line_and_the_nearest_key() {
    let message = complaint("vip =", "vipp =");
    assert_says(&message, &["/etc/holdfast/node.toml:5", "`cluster.vipp`", "did you mean `vip`?"]);
}

#[test]
fn addresses_must_be_addresses() {
    let message = complaint("10.77.0.100/24", "10.77.0.300/24");
    assert_says(&message, &["node.toml: cluster.vip[0]", "10.77.0.300/24", "prefix length"]);
    let message = complaint("\"10.78.0.1/24\"", "\"10.78.0.1\"");
    assert_says(&message, &["node.link.address", "e.g. \"10.77.0.1/24\""]);
}

#[test]
fn two_services_on_one_port_are_both_named() {
    let message = complaint("port = 19", "port = 7");
    assert_says(&message, &["cluster.service[1].port", "7", "\"echo\"", "its own port"]);
}

#[test]
fn http_needs_a_folder_that_exists() {
    let http = "name = \"web\"\nkind = \"http\"\nport = 80\n";
    let stream = "name = \"stream\"\nkind = \"stream\"\nport = 19\n";
    let message = complaint(stream, http);
    assert_says(&message, &["cluster.service[1].root", "missing", "folder"]);
    let message = complaint(stream, &format!("{http}root = \"no/such\"\n"));
    assert_says(&message, &["/etc/holdfast/no/such is not a folder"]);
}

#[test]
fn a_key_of_another_kind_of_service_is_refused() {
    let message = complaint("kind = \"echo\"", "kind = \"echo\"\nrate_bps = 1000000");
    assert_says(&message, &["cluster.service[0].rate_bps", "kind = \"stream\""]);
}

#[test]
fn secret_is_never_repeated() {
    let message = complaint("00112233445566778899aabbccddeeff0", "not-hex-but-secret");
    assert_says(&message, &["cluster.secret", "64 hexadecimal digits", "openssl rand -hex 32"]);
    assert!(!message.contains("not-hex"), "{message}");
}

#[test]
fn all_problems_are_reported_at_once() {
    let text = GOOD.replace("port = 7", "port = 0").replace("cores = [0]", "cores = [1, 1]");
    let message = read(&text).unwrap_err().to_string();
    assert_says(&message, &["cluster.service[0].port", "node.cores: core 1 is listed twice"]);
}

#[test]
fn own_and_peer_addresses_must_fit_together() {
    let message = complaint("lan = \"10.77.0.2\"", "lan = \"10.79.0.2\"");
    assert_says(&message, &["peer.lan", "10.79.0.2 is not in the network", "10.77.0.1/24"]);
    let message = complaint("\"10.77.0.100/24\"", "\"10.77.0.2/24\"");
    assert_says(&message, &["cluster.vip[0]", "10.77.0.2 is also a node's own address"]);
    let message = complaint("name = \"b\"", "name = \"a\"");
    assert_says(&message, &["peer.name", "must differ"]);
}

#[test]
fn both_ip_versions_stand_beside_each_other() {
    let text = GOOD
        .replace("[\"10.77.0.100/24\"]", "[\"10.77.0.100/24\", \"fd77::100/64\"]")
        .replace("\"10.77.0.1/24\"", "[\"10.77.0.1/24\", \"fd77::1/64\"]\ngateway = \"fe80::1\"");
    let config = read(&text).unwrap();
    assert_eq!(config.cluster.vips.len(), 2);
    let content = std::sync::Arc::new(engine::content::Content::new([]).unwrap());
    let worker = config.worker(replication::Incarnation(1), content);
    let hop = |text: &str| worker.lan.next_hop(text.parse().unwrap()).to_string();
    assert_eq!(hop("fd77::9"), "fd77::9");
    assert_eq!(hop("2001:db8::9"), "fe80::1");
    assert_eq!(hop("192.0.2.9"), "192.0.2.9");
}

#[test]
fn lan_may_be_ipv6_alone() {
    let text = GOOD
        .replace("10.77.0.100/24", "fd77::100/64")
        .replace("10.77.0.1/24", "fd77::1/64")
        .replace("10.77.0.2", "fd77::2");
    let config = read(&text).unwrap();
    assert_eq!(config.peers[0].lan.to_string(), "fd77::2");
    let other_text = text.replace("fd77::100", "fd77:0:0::0:100");
    let derived = |text: &str| read(text).unwrap().cluster.vmac;
    assert_eq!(derived(&other_text), derived(&text), "it is the same address");
    let message = read(&text.replace("name = \"lab\"", "name = \"lab\"\nmtu = 1000"));
    assert_says(&message.unwrap_err().to_string(), &["cluster.mtu", "1000", "1280"]);
}

#[test]
fn link_may_be_ipv6() {
    let text = GOOD.replace("10.78.0.1/24", "fd78::1/64").replace("10.78.0.2", "fd78::2");
    let config = read(&text).unwrap();
    let content = std::sync::Arc::new(engine::content::Content::new([]).unwrap());
    let link = config.worker(replication::Incarnation(1), content).links.remove(0);
    assert_eq!((link.addresses.len(), link.peers[0]), (1, "fd78::2".parse().unwrap()));
    let message = read(&text.replace("\"fd78::2\"", "\"10.78.0.2\"")).unwrap_err().to_string();
    assert_says(&message, &["peer.link", "10.78.0.2 is not in the network", "fd78::1/64"]);
    let message = read(&text.replace("fd78::1/64", "fe80::1/64")).unwrap_err().to_string();
    assert_says(&message, &["node.link.address", "fe80::1 can't be a host's address"]);
}

#[test]
fn each_version_needs_the_nodes_own_address() {
    let message = complaint("[\"10.77.0.100/24\"]", "[\"10.77.0.100/24\", \"fd77::100/64\"]");
    assert_says(&message, &["cluster.vip[1]", "fd77::100 is IPv6", "node.lan.address"]);
    let message = complaint("\"10.77.0.1/24\"", "[\"10.77.0.1/24\", \"10.77.0.3/24\"]");
    assert_says(&message, &["node.lan.address", "2 addresses of one IP version"]);
    let message = complaint("\"10.77.0.1/24\"", "[]");
    assert_says(&message, &["node.lan.address", "is empty"]);
    let message = complaint("\"10.77.0.1/24\"", "7");
    assert_says(&message, &["node.lan.address", "a string"]);
}

#[test]
fn commit_has_its_rule_and_limits() {
    let with = |keys: &str| {
        let head = "[[cluster.service]]\nname = \"echo\"";
        with(head, &format!("[cluster.commit]\n{keys}\n{head}"))
    };
    let content = || std::sync::Arc::new(engine::content::Content::default());
    let worker = |config: NodeConfig| config.worker(replication::Incarnation(1), content()).commit;
    assert_eq!(worker(read(GOOD).unwrap()), worker::Commit::default());
    let keys = "rule = \"none\"\nconfirm_bytes = 1000\nconfirm_delay_us = 7";
    let expected = worker::Commit {
        rule: replication::CommitRule::None,
        confirm_every_bytes: 1000,
        confirm_delay_us: 7,
    };
    assert_eq!(worker(with(keys).unwrap()), expected);
    for (keys, key) in [
        ("rule = \"all\"", "cluster.commit.rule"),
        ("confirm_bytes = 0", "cluster.commit.confirm_bytes"),
        ("confirm_delay_us = 10001", "cluster.commit.confirm_delay_us"),
    ] {
        assert_says(&with(keys).unwrap_err().to_string(), &[key]);
    }
}

#[test]
fn service_may_let_payload_leave_early() {
    let commit = |word: &str| {
        let config = with("name = \"echo\"", &format!("name = \"echo\"\n{word}"))?;
        Ok::<_, ConfigError>(config.cluster.services[0].commit)
    };
    assert_eq!(commit("").unwrap(), engine::config::Commit::Swmu);
    assert_eq!(commit("commit = \"swfr\"").unwrap(), engine::config::Commit::Swfr);
    let message = commit("commit = \"none\"").unwrap_err().to_string();
    assert_says(&message, &["cluster.service[0].commit", "swmu", "swfr", "quorum"]);
}

#[test]
fn packets_wait_for_a_majority_by_service_or_by_default() {
    use engine::config::Commit;
    let read = |rule: &str, word: &str| {
        let head = "[[cluster.service]]\nname = \"echo\"";
        let rule = format!("[cluster.commit]\nrule = \"{rule}\"\n");
        with(head, &format!("{rule}{head}\n{word}")).unwrap()
    };
    let first = |config: &NodeConfig| config.cluster.services[0].commit;
    for (rule, word, expected) in [
        ("swmu", "", Commit::Swmu),
        ("swmu", "commit = \"quorum\"", Commit::Quorum),
        ("quorum", "", Commit::Quorum),
        ("quorum", "commit = \"swfr\"", Commit::Swfr),
        ("quorum", "commit = \"swmu\"", Commit::Swmu),
    ] {
        assert_eq!(first(&read(rule, word)), expected, "{rule} {word}");
    }
    let (all, some) = (read("swmu", ""), read("swmu", "commit = \"quorum\""));
    assert!(!all.member().by_majority && some.member().by_majority);
    assert_ne!(all.manifest().digest(), some.manifest().digest(), "both nodes must have it");
    let content = std::sync::Arc::new(engine::content::Content::default());
    let worker = read("quorum", "").worker(replication::Incarnation(1), content);
    assert_eq!(worker.commit.rule, replication::CommitRule::Swmu, "of each service by itself");
}

/// The good configuration with more nodes, each by its number.
fn with_nodes(more: &[u8], register: &str) -> Result<NodeConfig, ConfigError> {
    let peer = |number: u8| {
        let name = char::from(b'a' + number - 1);
        format!(
            "[[peer]]\nname = \"{name}\"\nlan = \"10.77.0.{number}\"\nlink = \"10.78.0.{number}\"\n"
        )
    };
    let more: String = more.iter().copied().map(peer).collect();
    read(&(GOOD.replace("[peer]", "[[peer]]") + &more + register))
}

const THREE_VOTERS: &str = r#"
[register]
kind = "raft"
voters = { a = "10.79.0.1:7500", b = "10.79.0.2:7500", c = "10.79.0.3:7500" }
"#;

#[test]
fn cluster_may_have_more_than_two_nodes() {
    let config = with_nodes(&[3], THREE_VOTERS).unwrap();
    assert_eq!(config.peers.len(), 2);
    let Register::Raft(raft) = &config.register else { panic!("raft") };
    assert_eq!((raft.others.len(), &raft.witness), (2, &None));
    let content = std::sync::Arc::new(engine::content::Content::default());
    let identity = config.identity(replication::Incarnation(1), &content).unwrap();
    assert_eq!(identity.peers.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["b", "c"]);
    let worker = config.worker(replication::Incarnation(1), content);
    assert_eq!((worker.lan.peers.len(), worker.links[0].peers.len()), (2, 2));
    assert_eq!(worker.links[0].peers[1], "10.78.0.3".parse().unwrap());
}

#[test]
fn more_than_two_nodes_need_a_majority_and_differ() {
    let said = |more: &[u8], register| with_nodes(more, register).unwrap_err().to_string();
    assert_says(&said(&[3], ""), &["register.kind", "3 nodes", "\"raft\""]);
    assert_says(&said(&[3, 4], THREE_VOTERS), &["register.voters", "\"d\""]);
    assert_says(&said(&[3, 4, 5], THREE_VOTERS), &["peer", "has 4", "1 to 3"]);
    assert_says(&said(&[2], THREE_VOTERS), &["peer.name", "\"b\" is listed twice"]);
    let witness = THREE_VOTERS.replace(" }", ", w = \"10.79.0.4:7500\" }");
    assert_says(&said(&[3], &witness), &["register.voters", "are 4", "three or five"]);
    let unknown = "[[peer]]\nname = \"c\"\nlan = \"10.77.0.3\"\nlink = \"10.78.0.3\"\nlnk = 1\n";
    let message = read(&(GOOD.replace("[peer]", "[[peer]]") + unknown)).unwrap_err().to_string();
    assert_says(&message, &["`peer[1].lnk`", "`link`"]);
}

#[test]
fn addresses_of_no_host_are_refused() {
    for vip in ["ff02::1/64", "fe80::1/64", "::ffff:10.77.0.9/96", "::1/128", "224.0.0.1/24"] {
        let message = complaint("10.77.0.100/24", vip);
        assert_says(&message, &["cluster.vip[0]", "can't be a host's address"]);
    }
    let gateway = "\"10.77.0.1/24\"\ngateway = \"10.79.0.1\"";
    let message = complaint("\"10.77.0.1/24\"", gateway);
    assert_says(&message, &["node.lan.gateway", "10.79.0.1 is not in the network"]);
}

#[test]
fn timers_must_fit_together() {
    let good = "name = \"lab\"\n";
    let message = complaint(good, "name = \"lab\"\ndetection_timeout_ms = 50\nheartbeat_ms = 20\n");
    assert_says(&message, &["cluster.heartbeat_ms", "a quarter"]);
    let message = complaint(good, "name = \"lab\"\ndetection_timeout_ms = 5000\n");
    assert_says(&message, &["node.lone_start_ms", "ten times"]);
}

#[test]
fn frames_must_fit_the_profile() {
    let message = complaint("profile = \"af_packet\"", "profile = \"tap\"");
    assert_says(&message, &["node.link.mtu", "9000", "\"tap\"", "at most 1500"]);
}

#[test]
fn unknown_profile_names_the_nearest() {
    let message = complaint("profile = \"af_packet\"", "profile = \"afpacket\"");
    assert_says(&message, &["node.profile", "did you mean `af_packet`?"]);
}

#[test]
fn manifest_holds_what_matters_and_no_secret() {
    let config = read(GOOD).unwrap();
    let manifest = config.manifest();
    assert_says(
        manifest.text(),
        &["cluster.max_connections = 20000", "cluster.service[echo].port = 7"],
    );
    assert!(!manifest.text().contains("00112233"), "{}", manifest.text());
    let digest = |old: &str, new: &str| *with(old, new).unwrap().manifest().digest();
    assert_eq!(digest("cores = [0]", "cores = [1]"), *manifest.digest());
    assert_ne!(digest("port = 19", "port = 20"), *manifest.digest());
    assert_ne!(digest("vip =", "encryption = \"none\"\nvip ="), *manifest.digest());
    assert_says(manifest.text(), &["cluster.encryption = \"aes-256-gcm\""]);
    assert_ne!(digest("vip =", "lan_watch = false\nvip ="), *manifest.digest());
    assert!(config.member().lan_watch);
    assert_ne!(digest("0011", "1111"), *manifest.digest());
}

#[test]
fn log_is_encrypted_unless_it_is_switched_off() {
    let protection = |config: NodeConfig| {
        config.worker(replication::Incarnation(1), Default::default()).protection
    };
    assert!(matches!(protection(read(GOOD).unwrap()), Protection::Sealed(_)));
    let off = with("vip =", "encryption = \"none\"\nvip =").unwrap();
    assert_eq!(protection(off), Protection::Checksum);
    let message = complaint("vip =", "encryption = \"rot13\"\nvip =");
    assert_says(&message, &["cluster.encryption", "\"aes-256-gcm\", \"none\""]);
    let message = complaint("cores =", "key_file = \"missing.keys\"\ncores =");
    assert_says(&message, &["node.key_file", "/etc/holdfast/missing.keys"]);
}

#[test]
fn shards_share_what_the_cluster_has() {
    let engine = read(GOOD).unwrap().cluster.engine();
    assert_eq!(engine.shards, 4);
    assert!(engine.max_connections * 4 >= 20_000);
    assert_eq!(engine.pool_blocks * 4 * 2048, 256 << 20);
    assert_ne!(engine.isn_key, [0; 16]);
}

#[test]
fn limits_are_shared_out_among_the_shards() {
    let keys = "port = 7\nbacklog = 1000\nmax_connections = 8000\nmax_buffer_mib = 8\n\
                connections_per_s = 400\nat_limit = \"reset\"\n";
    let config = with("port = 7", keys).unwrap();
    let engine = config.cluster.engine();
    assert_eq!(engine.validate(), Ok(()));
    let service = &engine.services[0];
    let burst = 100 + 4 * 10 + 1;
    assert_eq!(service.limits.rate, Some(Rate { per_second: 100, burst }));
    assert_eq!(service.limits.max_blocks, Some(8 * 512 / 4));
    assert_eq!(service.limits.at_limit, AtLimit::Reset);
    assert_eq!((service.backlog, service.cookies_above), (250 + 60 + 1, 63));
    assert_eq!(engine.services[1].limits, ServiceLimits::default());
    assert!(engine.services[1].uses_cookies());
    let off = with("port = 7", "port = 7\nbacklog = 100\nsyn_cookies_above = 100").unwrap();
    assert!(!off.cluster.engine().services[0].uses_cookies());
    let always = with("port = 7", "port = 7\nsyn_cookies_above = 0").unwrap();
    assert_eq!(always.cluster.engine().services[0].cookies_above, 0);
}

#[test]
fn limits_per_source_are_checked_by_name() {
    let section = |keys: &str| {
        let head = "[[cluster.service]]\nname = \"echo\"";
        with(head, &format!("[cluster.per_source]\n{keys}\n{head}"))
    };
    let config = section("ipv4_prefix = 24\nmax_connections = 10\nconnections_per_s = 8").unwrap();
    let sources = config.cluster.engine().sources;
    assert_eq!((sources.ipv4_prefix, sources.ipv6_prefix), (24, 64));
    assert_eq!(sources.max_connections, Some(8));
    assert_eq!(sources.rate, Some(Rate { per_second: 2, burst: 7 }));
    let message = section("ipv4_prefix = 33").unwrap_err().to_string();
    assert_says(&message, &["cluster.per_source.ipv4_prefix", "1 to 32"]);
    let message = section("connections_burst = 5").unwrap_err().to_string();
    assert_says(&message, &["cluster.per_source.connections_burst", "set connections_per_s too"]);
    let message = complaint("port = 7", "port = 7\nat_limit = \"refuse\"");
    assert_says(&message, &["cluster.service[0].at_limit", "\"drop\", \"reset\""]);
}

#[test]
fn buffers_too_small_for_a_shard_are_refused_before_the_start() {
    let message =
        complaint("[[cluster.service]]", "shards = 64\nbuffer_mib = 1\n[[cluster.service]]");
    assert_says(&message, &["cluster.buffer_mib", "16 KiB for each of 64 shards", "32 KiB"]);
    let message =
        complaint("[[cluster.service]]", "shards = 1\nbuffer_mib = 1048576\n[[cluster.service]]");
    assert_says(&message, &["cluster.buffer_mib", "128 GiB for each shard"]);
    let http = "kind = \"http\"\nroot = \"/\"\nrecv_buffer_kib = 8";
    let message = complaint("kind = \"echo\"", http);
    assert_says(&message, &["cluster.service[0].recv_buffer_kib", "expected 16 to"]);
}

#[test]
fn more_addresses_than_a_worker_holds_are_refused() {
    let many: Vec<String> = (100..117).map(|last| format!("\"10.77.0.{last}/24\"")).collect();
    let message = complaint("\"10.77.0.100/24\"", &many.join(", "));
    assert_says(&message, &["cluster.vip", "17 addresses", "at most 16"]);
}

/// [`GOOD`] with these lines more in its `[cluster]`.
fn with_cluster(lines: &str) -> Result<super::NodeConfig, super::ConfigError> {
    with("name = \"lab\"\n", &format!("name = \"lab\"\n{lines}\n"))
}

#[test]
fn switch_may_learn_or_flood() {
    assert_eq!(read(GOOD).unwrap().cluster.ingress, Ingress::Switch);
    let flood = |lines: &str| {
        let config = with_cluster(&format!("ingress = \"flood\"\n{lines}")).unwrap();
        config.cluster.ingress
    };
    assert_eq!(flood(""), Ingress::Flood { keep_ms: 200, keep_frames: 8192 });
    let lines = "flood_keep_ms = 500\nflood_keep_frames = 100";
    assert_eq!(flood(lines), Ingress::Flood { keep_ms: 500, keep_frames: 100 });
    let manifest = |lines: &str| with_cluster(lines).unwrap().manifest();
    assert_ne!(
        manifest("ingress = \"flood\"").digest(),
        manifest("ingress = \"flood\"\nflood_keep_ms = 500").digest()
    );
}

#[test]
fn ingress_that_cannot_work_is_refused() {
    for (lines, words) in [
        ("ingress = \"hub\"", ["cluster.ingress", "\"hub\" is unknown", "\"flood\""]),
        ("flood_keep_ms = 500", ["cluster.flood_keep_ms", "no meaning", "ingress = \"flood\""]),
        (
            "ingress = \"flood\"\nflood_keep_ms = 99",
            ["cluster.flood_keep_ms", "99 ms", "twice cluster.detection_timeout_ms"],
        ),
        ("ingress = \"flood\"\nflood_keep_frames = 1", ["cluster.flood_keep_frames", "1 is", "64"]),
        (
            "ingress = \"flood\"\nvmac = \"01:00:5e:01:02:03\"",
            ["cluster.vmac", "01:00:5e:01:02:03", "03:48:46"],
        ),
        ("vmac = \"03:48:46:00:00:64\"", ["cluster.vmac", "is a group address", "flood"]),
    ] {
        assert_says(&with_cluster(lines).unwrap_err().to_string(), &words);
    }
    assert!(with_cluster("ingress = \"flood\"\nvmac = \"03:48:46:00:00:64\"").is_ok());
    let cloud = GOOD
        .replace("name = \"lab\"\n", "name = \"lab\"\ningress = \"flood\"\n")
        .replace("profile = \"af_packet\"", "profile = \"ena\"");
    assert_says(&read(&cloud).unwrap_err().to_string(), &["cluster.ingress", "\"ena\"", "switch"]);
}

/// The good configuration with two links, and the second one's table and the peer's addresses.
fn with_links(second: &str, theirs: &str) -> Result<NodeConfig, ConfigError> {
    let text = GOOD.replace("[node.link]", "[[node.link]]");
    let text = text.replace("\n[peer]", &format!("\n[[node.link]]\n{second}\n\n[peer]"));
    read(&text.replace("link = \"10.78.0.2\"", &format!("link = {theirs}")))
}

const SECOND: &str = "device = \"link1\"\naddress = \"10.80.0.1/24\"\nmtu = 8000";
const THEIRS: &str = r#"["10.78.0.2", "10.80.0.2"]"#;

#[test]
fn second_link_has_a_port_and_addresses_of_its_own() {
    let config = with_links(SECOND, THEIRS).unwrap();
    assert_eq!(config.member().links, 2);
    assert_eq!((config.profiles.links.len(), config.node.links[1].mtu), (2, 8000));
    let content = std::sync::Arc::default();
    let links = config.worker(replication::Incarnation(1), content).links;
    let seen: Vec<_> =
        links.iter().map(|link| (link.addresses[0].address, link.peers[0])).collect();
    let expected = [("10.78.0.1", "10.78.0.2"), ("10.80.0.1", "10.80.0.2")]
        .map(|(own, peer)| (own.parse::<engine::addr::Addr>().unwrap(), peer.parse().unwrap()));
    assert_eq!(seen, expected);
}

#[test]
fn second_link_that_is_no_other_link_is_refused() {
    let says = |second: &str, theirs: &str, what: &[&str]| {
        let message = with_links(second, theirs).unwrap_err().to_string();
        assert_says(&message, what);
    };
    says(SECOND, "\"10.78.0.2\"", &["peer.link", "1 addresses for 2 links", "same order"]);
    says(SECOND, r#"["10.78.0.2", "10.78.0.3"]"#, &["peer.link[1]", "node.link[1].address"]);
    let same_device = SECOND.replace("link1", "link0");
    says(&same_device, THEIRS, &["node.link[1].device", "the first link's device too"]);
    let same_network = SECOND.replace("10.80.0.1", "10.78.0.9");
    says(&same_network, THEIRS, &["node.link[1].address", "overlaps the first link's network"]);
    let too_wide = SECOND.replace("8000", "9700");
    says(&too_wide, THEIRS, &["node.link[1].mtu", "9700 is out of range"]);
    let three = format!("{SECOND}\n\n[[node.link]]\n{}", SECOND.replace("80", "81"));
    says(&three, THEIRS, &["node.link", "has 3", "expected 1 to 2 links"]);
}
