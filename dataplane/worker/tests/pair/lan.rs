//! A node in doubt about the service LAN asks neighbours there, and tells who answers.

use std::net::{IpAddr, Ipv6Addr};

use engine::addr::Addr;
use engine::wire::ethernet::{ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Header, Mac};
use engine::wire::ndp::{Advertisement, Message, Solicitation};
use engine::wire::{Checksums, arp, ipv6};
use replication::{Directive, Epoch, GateMode, Incarnation, Role, Solicited};
use worker::{At, Crew, MemoryNic, Shares, Wire, crew};

use crate::told::{AnySteward, Told};
use crate::world::{VIP, VMAC, config_of, crew_from, mac, own_v6, shard_config};
use crate::{STRANGER, STRANGER_MAC, frame, syn};

const STRANGER_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x77);
const OWN: [u8; 4] = [10, 77, 0, 1];
const CALM: Directive =
    Directive { epoch: Epoch(1), role: Role::Primary(GateMode::Open), ..Directive::SPARE };
const IN_DOUBT: Directive = Directive { solicits: true, ..CALM };

/// One node, and the wire of its LAN.
struct Node {
    crew: Crew<MemoryNic, AnySteward>,
    lan: Wire,
    told: Told,
    now_us: u64,
}

impl Node {
    /// With a gateway of that address, if any.
    fn new(gateway: Option<IpAddr>) -> Node {
        let told = Told::new(CALM);
        let mut config = config_of(0, Incarnation(100), shard_config());
        for own in &mut config.lan.addresses {
            let gateway = gateway.map(Addr::from);
            own.gateway = gateway.filter(|gateway| gateway.is_same_version(&own.address));
        }
        let (crew, lan, _links) = crew_from(config, 0, 1, AnySteward::Told(told.clone()));
        let mut node = Node { crew, lan, told, now_us: 0 };
        node.run_ms(10);
        node
    }

    /// Runs in loops of a millisecond; returns whom it asked on the LAN, and where it asked that.
    fn run_ms(&mut self, ms: u64) -> Vec<(IpAddr, Mac)> {
        for _ in 0..ms {
            self.now_us += 1_000;
            let now_us = self.now_us;
            self.crew.workers.iter_mut().for_each(|worker| {
                worker.run_once(&mut At(now_us));
            });
        }
        std::iter::from_fn(|| self.lan.take()).filter_map(|frame| question(&frame)).collect()
    }

    fn hear(&mut self, frame: Vec<u8>) {
        self.lan.deliver(frame);
        self.run_ms(2);
    }

    fn lan(&self) -> Option<Solicited> {
        self.told.report().lan
    }

    fn waits(&self) -> bool {
        self.lan().unwrap().unanswered_since_us.is_some()
    }
}

/// Who is asked for by a frame, and to which MAC address that goes.
fn question(frame: &[u8]) -> Option<(IpAddr, Mac)> {
    let (header, packet) = Header::parse(frame).unwrap();
    let asked: IpAddr = match header.ethertype {
        ETHERTYPE_ARP => {
            let packet = arp::Packet::parse(packet).unwrap();
            let asks = packet.operation == arp::Operation::Request;
            asks.then_some(packet.target_ip).filter(|target| *target != VIP)?.into()
        }
        _ => {
            let packet = ipv6::Packet::parse(packet).ok()?;
            match Message::parse(&packet, Checksums::Verify).ok()? {
                Message::Solicitation(asked) => asked.target.into(),
                Message::Advertisement(_) => return None,
            }
        }
    };
    assert_eq!(header.source, mac(0, 1), "in the node's own name");
    Some((asked, header.destination))
}

/// The answer of the stranger to the node's question, over either version.
fn answer(of: IpAddr, from: Mac) -> Vec<u8> {
    let bytes = match of {
        IpAddr::V4(of) => {
            let asked = arp::Packet::request(mac(0, 1), OWN.into(), of);
            frame(mac(0, 1), ETHERTYPE_ARP, &asked.reply(from).to_bytes())
        }
        IpAddr::V6(target) => {
            let (target_mac, solicited, replaces) = (Some(from), true, true);
            let told = Advertisement { target, target_mac, solicited, replaces };
            frame(mac(0, 1), ETHERTYPE_IPV6, &told.to_bytes(own_v6(0)))
        }
    };
    [&bytes[..6], &from.0, &bytes[12..]].concat()
}

/// The stranger asks for the node, which proves that it is heard and nothing more.
fn question_of(stranger: IpAddr) -> Vec<u8> {
    match stranger {
        IpAddr::V4(ip) => {
            let packet = arp::Packet::request(STRANGER_MAC, ip, OWN.into());
            frame(Mac::BROADCAST, ETHERTYPE_ARP, &packet.to_bytes())
        }
        IpAddr::V6(source) => {
            let group = ipv6::solicited_node(own_v6(0).into());
            let asked = Solicitation { source, target: own_v6(0), source_mac: Some(STRANGER_MAC) };
            frame(Mac::of_group(group), ETHERTYPE_IPV6, &asked.to_bytes(group))
        }
    }
}

#[test]
fn answer_to_an_own_question_proves_that_the_lan_works_over_both_versions() {
    for gateway in [IpAddr::V4(STRANGER), STRANGER_V6.into()] {
        let asks =
            |asked: &[(IpAddr, Mac)]| asked.iter().filter(|(target, _)| *target == gateway).count();
        let mut node = Node::new(Some(gateway));
        assert_eq!(node.run_ms(1_000), [], "nothing is asked without need");
        assert_eq!(node.lan(), None);
        node.told.say(IN_DOUBT);
        let since_us = node.now_us + 1_000;
        assert_eq!(asks(&node.run_ms(100)), 10);
        let told = node.lan().unwrap();
        assert_eq!((told.answered, told.unanswered_since_us), (false, Some(since_us)));
        assert_eq!(told.neighbours, 2, "the peer is asked, too");
        node.hear(question_of(gateway));
        assert!(node.waits(), "that it is heard says nothing of whom it hears");
        let other: IpAddr = match gateway {
            IpAddr::V4(_) => [10, 77, 0, 78].into(),
            IpAddr::V6(_) => Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x78).into(),
        };
        node.hear(answer(other, Mac([2, 0, 0, 0, 7, 8])));
        assert!(node.waits(), "nobody has asked that one");
        node.hear(answer(gateway, STRANGER_MAC));
        assert!(!node.waits() && node.lan().unwrap().answered);
        // From then on it is enough to ask that one, calmly, and without a word to others.
        let mut asked = Vec::new();
        for _ in 0..1_000 {
            let now = node.run_ms(1);
            if !now.is_empty() {
                node.hear(answer(gateway, STRANGER_MAC));
            }
            asked.extend(now);
        }
        assert!((9..=11).contains(&asked.len()), "{asked:?}");
        assert!(asked.iter().all(|asked| *asked == (gateway, STRANGER_MAC)), "{asked:?}");
        // And all are asked again, in haste, when it does not answer.
        while node.run_ms(1).is_empty() {}
        assert!(asks(&node.run_ms(100)) >= 9 && node.waits());
        node.told.say(CALM);
        node.run_ms(1);
        assert_eq!(node.run_ms(1_000), []);
        assert_eq!(node.lan(), None);
    }
}

#[test]
fn client_that_was_heard_lately_is_asked() {
    let mut node = Node::new(None);
    let packet = arp::Packet::request(STRANGER_MAC, STRANGER, VIP);
    node.hear(frame(Mac::BROADCAST, ETHERTYPE_ARP, &packet.to_bytes()));
    node.told.say(IN_DOUBT);
    let asked = node.run_ms(50);
    assert!(asked.contains(&(STRANGER.into(), Mac::BROADCAST)), "{asked:?}");
    node.hear(answer(STRANGER.into(), STRANGER_MAC));
    assert!(!node.waits());
}

#[test]
fn silent_node_asks_nobody() {
    let mut node = Node::new(Some(STRANGER.into()));
    node.told.say(Directive { silent: true, ..IN_DOUBT });
    assert_eq!(node.run_ms(500), []);
    assert_eq!(node.lan(), None);
}

#[test]
fn answer_counts_whichever_worker_hears_it() {
    let told = Told::new(IN_DOUBT);
    let shares = |lan| {
        let (link, _) = MemoryNic::new(mac(0, 2), 1500);
        Shares { lan, links: [link].into_iter().collect() }
    };
    let (first, lan) = MemoryNic::new(mac(0, 1), 1500);
    let (second, other_queue) = MemoryNic::new(mac(0, 1), 1500);
    let config = config_of(0, Incarnation(100), shard_config());
    let shares = vec![shares(first), shares(second)];
    let crew = crew(config, shares, AnySteward::Told(told.clone())).unwrap();
    let mut node = Node { crew, lan, told, now_us: 0 };
    let peer: IpAddr = [10, 77, 0, 2].into();
    assert!(node.run_ms(50).iter().all(|(asked, _)| *asked == peer) && node.waits());
    other_queue.deliver(answer(peer, mac(1, 1)));
    node.run_ms(3);
    assert!(!node.waits());
    assert!(other_queue.take().is_none(), "the lead alone asks");
}

#[test]
fn card_without_a_cable_does_not_keep_the_service() {
    for doubt in [false, true] {
        let mut node = Node::new(None);
        let packet = arp::Packet::request(STRANGER_MAC, STRANGER, VIP);
        node.hear(frame(Mac::BROADCAST, ETHERTYPE_ARP, &packet.to_bytes()));
        node.lan.plug_in(false);
        node.hear(frame(VMAC, ETHERTYPE_IPV4, &syn(7)));
        node.told.say(Directive { quiesce: 1, solicits: doubt, ..CALM });
        node.run_ms(20);
        assert_eq!(node.told.report().quiet, doubt);
        // And what it took in vain does not come out late.
        node.lan.plug_in(true);
        node.crew.workers[0].run_once(&mut At(node.now_us + 1));
        let is_ip = |frame: Vec<u8>| Header::parse(&frame).unwrap().0.ethertype == ETHERTYPE_IPV4;
        assert_eq!(std::iter::from_fn(|| node.lan.take()).any(is_ip), !doubt);
    }
}
