//! Against etcd itself, Debian's: `scripts/setup` fetches it, `ETCD=…` names another.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod certificates;
mod process;

use std::time::{Duration, Instant};

use certificates::Certificates;
use controlplane::register::{Proposal, Register as _};
use controlplane::{NodeId, NodeName, QuorumRegister, View};
use etcd::keeper::{self, Keeper, KeeperError, Setup};
use etcd::{Identity, Tls};
use process::Etcd;
use replication::Incarnation;

const KEY: &str = "/holdfast/lab/view";
/// The request that is about it.
const KEY_BYTES: &str = r#"{"key":"L2hvbGRmYXN0L2xhYi92aWV3"}"#;

fn setup(ports: &[u16], key: &str) -> Setup {
    let endpoint = |port: &u16| format!("http://127.0.0.1:{port}").parse().unwrap();
    Setup {
        endpoints: ports.iter().map(endpoint).collect(),
        key: key.into(),
        login: None,
        tls: None,
        patience: Duration::from_millis(1_000),
    }
}

/// One node's end of the register.
struct Node {
    me: NodeId,
    register: QuorumRegister,
    keeper: Keeper,
}

impl Node {
    fn start(name: &str, setup: Setup) -> Node {
        let (register, lines) = QuorumRegister::new(View::default());
        let me = NodeId { name: NodeName::new(name).unwrap(), incarnation: Incarnation(7) };
        Node { me, register, keeper: setup.start(lines).unwrap() }
    }

    fn ask(&mut self, next: &View) -> Proposal {
        self.register.refresh();
        self.register.compare_and_set(next.epoch.previous(), next)
    }

    /// The outcome of a change.
    fn change(&mut self, next: &View) -> Proposal {
        let mut outcome = Proposal::Pending;
        until("an outcome", || {
            outcome = self.ask(next);
            outcome != Proposal::Pending
        });
        outcome
    }

    fn next(&self) -> View {
        self.register.view().next(self.me, &[])
    }

    fn epoch(&mut self) -> u64 {
        self.register.refresh();
        self.register.view().epoch.0
    }

    fn problem(&self) -> String {
        self.keeper.status().borrow().problem.clone().unwrap_or_default()
    }

    fn is_well(&self) -> bool {
        let status = self.keeper.status();
        let status = status.borrow();
        status.answered.is_some() && status.problem.is_none()
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "gave up waiting for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn two_nodes_agree_and_others_changes_are_heard_of_at_once() {
    let etcd = Etcd::start();
    keeper::make(&setup(&[etcd.port], KEY)).unwrap();
    let mut a = Node::start("a", setup(&[etcd.port], KEY));
    let mut b = Node::start("b", setup(&[etcd.port], KEY));
    let (ours, theirs) = (a.next(), b.next());
    let outcomes = [a.ask(&ours), b.ask(&theirs), a.change(&ours), b.change(&theirs)];
    let won = outcomes.iter().filter(|outcome| **outcome == Proposal::Won).count();
    assert_eq!(won, 1, "{outcomes:?}");
    until("a watch", || b.keeper.status().borrow().watches);
    // By looks at the clock ten changes would take as many seconds.
    let began = Instant::now();
    for _ in 0..10 {
        let next = a.next();
        assert_eq!(a.change(&next), Proposal::Won);
        until("the watch to tell", || b.epoch() == next.epoch.0);
    }
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[test]
fn two_clusters_in_one_etcd_do_not_see_each_other() {
    let etcd = Etcd::start();
    // Of different nodes, or what one writes could pass for the other's.
    let clusters = [("a", "/holdfast/one/view"), ("z", "/holdfast/one/viewer")];
    let [mut one, mut other] = clusters.map(|(node, key)| {
        keeper::make(&setup(&[etcd.port], key)).unwrap();
        Node::start(node, setup(&[etcd.port], key))
    });
    for _ in 0..3 {
        let next = one.next();
        assert_eq!(one.change(&next), Proposal::Won);
    }
    let next = other.next();
    assert_eq!((other.change(&next), other.epoch(), one.epoch()), (Proposal::Won, 1, 3));
}

#[test]
fn change_waits_for_an_etcd_that_was_killed_and_nothing_is_forgotten() {
    let mut etcd = Etcd::start();
    keeper::make(&setup(&[etcd.port], KEY)).unwrap();
    let mut a = Node::start("a", setup(&[etcd.port], KEY));
    let next = a.next();
    assert_eq!(a.change(&next), Proposal::Won);
    etcd.kill();
    let next = a.next();
    assert_eq!(a.ask(&next), Proposal::Pending);
    until("the loss to be known", || !a.problem().is_empty());
    assert_eq!(a.ask(&next), Proposal::Pending);
    etcd.restart();
    assert_eq!((a.change(&next), a.epoch()), (Proposal::Won, 2));
    until("all to be well", || a.is_well());
}

#[test]
fn etcd_is_killed_again_and_again_while_changes_are_made() {
    let mut etcd = Etcd::start();
    keeper::make(&setup(&[etcd.port], KEY)).unwrap();
    let mut nodes = ["a", "b"].map(|name| Node::start(name, setup(&[etcd.port], KEY)));
    let (mut won, mut proposed) = (Vec::new(), 0);
    for round in 0..6 {
        let mut asked = [None, None];
        for _ in 0..40 {
            for (node, asked) in nodes.iter_mut().zip(&mut asked) {
                node.register.refresh();
                let next = asked.take().unwrap_or_else(|| {
                    proposed += 1;
                    node.next()
                });
                match node.ask(&next) {
                    Proposal::Pending => *asked = Some(next),
                    Proposal::Lost => {}
                    Proposal::Won => won.push(next.epoch.0),
                }
            }
            std::thread::sleep(Duration::from_millis(round));
        }
        etcd.kill();
        etcd.restart();
        for (node, asked) in nodes.iter_mut().zip(asked) {
            if let Some(next) = asked
                && node.change(&next) == Proposal::Won
            {
                won.push(next.epoch.0);
            }
        }
    }
    let (wins, last) = (won.len(), won.iter().max().copied().unwrap_or_default());
    won.sort_unstable();
    won.dedup();
    assert_eq!(won.len(), wins, "each epoch was won once");
    let mut newcomer = Node::start("c", setup(&[etcd.port], KEY));
    until("all to know the end", || {
        let [a, b] = &mut nodes;
        let end = newcomer.epoch();
        // A node may not hear that its change was made before it hears of the next one.
        end >= last && (end, end) == (a.epoch(), b.epoch())
    });
    let end = newcomer.epoch();
    assert!(end <= proposed, "{end} changes of {proposed} that were asked for");
}

#[test]
fn other_endpoint_is_tried_when_one_is_gone() {
    let etcd = Etcd::start();
    let nobody = Etcd::free_port();
    let ports = [nobody, etcd.port];
    keeper::make(&setup(&ports, KEY)).unwrap();
    let mut a = Node::start("a", setup(&ports, KEY));
    let next = a.next();
    assert_eq!(a.change(&next), Proposal::Won);
    assert!(a.is_well());
}

#[test]
fn key_is_made_once_and_never_again() {
    let etcd = Etcd::start();
    let setup = setup(&[etcd.port], KEY);
    let mut a = Node::start("a", setup.clone());
    let next = a.next();
    assert_eq!(a.ask(&next), Proposal::Pending);
    until("a word about the key", || a.problem().contains("--init"));
    keeper::make(&setup).unwrap();
    assert_eq!(a.change(&next), Proposal::Won);
    assert!(matches!(keeper::make(&setup), Err(KeeperError::Exists { .. })));
    // While nobody has used it, it is as new, whoever made it.
    let unused = Setup { key: "/holdfast/unused/view".into(), ..setup.clone() };
    keeper::make(&unused).unwrap();
    keeper::make(&unused).unwrap();
    etcd.request("/v3/kv/deleterange", KEY_BYTES);
    until("a word about its loss", || a.problem().contains("deleted"));
    let next = a.next();
    assert_eq!(a.ask(&next), Proposal::Pending);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(a.ask(&next), Proposal::Pending, "nobody makes it again by himself");
}

#[test]
fn user_and_password_are_asked_for_and_a_lost_token_is_renewed() {
    let mut etcd = Etcd::start();
    etcd.require_login();
    let without = setup(&[etcd.port], KEY);
    let login = etcd::Login { user: "root".into(), password: "secret".into() };
    let with = Setup { login: Some(login), ..without.clone() };
    keeper::make(&with).unwrap();
    let stranger = Node::start("s", without);
    until("a refusal", || stranger.problem().contains("refused"));
    let mut a = Node::start("a", with);
    let next = a.next();
    assert_eq!(a.change(&next), Proposal::Won);
    // Simple tokens do not outlive the process.
    etcd.kill();
    etcd.restart();
    let next = a.next();
    assert_eq!(a.change(&next), Proposal::Won);
}

/// How a node reaches an etcd with these certificates, as somebody of those.
fn secure(port: u16, ca: &Certificates, who: Option<(&Certificates, &str)>) -> Setup {
    let identity = who.map(|(certificates, name)| Identity {
        certificate: certificates.of(name),
        key: certificates.key_of(name),
    });
    let endpoints = vec![format!("https://127.0.0.1:{port}").parse().unwrap()];
    let tls = Some(Tls { authorities: ca.ca(), identity });
    Setup { endpoints, tls, ..setup(&[], KEY) }
}

#[test]
fn both_ends_prove_who_they_are_and_a_renewed_certificate_counts() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Certificates::make(&folder.path().join("ours"));
    let others = Certificates::make(&folder.path().join("others"));
    let mut etcd = Etcd::start_with(Some(ours.clone()));
    let right = secure(etcd.port, &ours, Some((&ours, "node")));
    let stranger = secure(etcd.port, &others, Some((&ours, "node")));
    let unknown = secure(etcd.port, &ours, Some((&others, "node")));
    let nobody = secure(etcd.port, &ours, None);
    let (by_us, by_etcd) = ("invalid peer certificate", "received fatal alert");
    for (setup, why) in [(stranger, by_us), (unknown, by_etcd), (nobody, by_etcd)] {
        let said = keeper::survey(&setup).unwrap().remove(0).is_there.unwrap_err();
        assert!(said.contains(why), "{said}");
    }
    keeper::make(&right).unwrap();
    assert_eq!(keeper::survey(&right).unwrap().remove(0).is_there, Ok(true));

    let mut a = Node::start("a", right);
    let next = a.next();
    assert_eq!(a.change(&next), Proposal::Won);
    until("a watch", || a.keeper.status().borrow().watches);
    // Another authority from now on, in the same files.
    etcd.kill();
    for file in ["ca.pem", "etcd.pem", "etcd.key", "node.pem", "node.key"] {
        let [from, to] = ["others", "ours"].map(|whose| folder.path().join(whose).join(file));
        std::fs::copy(from, to).unwrap();
    }
    etcd.restart();
    let next = a.next();
    assert_eq!(a.change(&next), Proposal::Won);
}
