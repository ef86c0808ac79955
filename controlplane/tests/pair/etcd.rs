//! An etcd for the world, and each node's way to it: requests and answers that are late or lost, an
//! etcd that stands still or is gone. What it has written it never forgets.

use std::collections::BTreeMap;

use controlplane::{QuorumLines, QuorumRegister, View};
use etcd::{Answer, Ask, Scribe};
use replication::Epoch;

/// How often a node looks. A watch would be quicker, which is less to test.
const LOOK_US: u64 = 50_000;
/// How long a node waits for an answer.
const PATIENCE_US: u64 = 40_000;
/// A pause after that.
const PAUSE_US: u64 = 10_000;

struct Client {
    run: u64,
    scribe: Scribe,
    lines: QuorumLines,
    /// The request without an answer, and how long that is waited for.
    waits: Option<(u64, u64)>,
    looks_at_us: u64,
    asks_at_us: u64,
    frozen_until_us: u64,
}

/// A request, or its answer, on its way.
struct Flight {
    number: u64,
    client: usize,
    run: u64,
    ask: Ask,
    answer: Option<Answer>,
}

pub struct Etcd {
    random: u64,
    pub loss_percent: u64,
    /// How long a few requests and answers take.
    pub latest_us: u64,
    /// It has been killed.
    pub is_down: bool,
    /// The way from that node is cut.
    pub cut: [bool; 2],
    stalled_until_us: u64,
    value: Vec<u8>,
    decided: BTreeMap<Epoch, View>,
    clients: [Option<Client>; 2],
    wire: BTreeMap<(u64, u64), Flight>,
    sent: u64,
    runs: u64,
}

impl Etcd {
    pub fn new(seed: u64) -> Etcd {
        let view = View::default();
        Etcd {
            random: seed ^ 0x00e7_cd00,
            loss_percent: 0,
            latest_us: 60_000,
            is_down: false,
            cut: [false; 2],
            stalled_until_us: 0,
            value: view.to_json().into_bytes(),
            decided: [(view.epoch, view)].into(),
            clients: [None, None],
            wire: BTreeMap::new(),
            sent: 0,
            runs: 0,
        }
    }

    fn random(&mut self, low: u64, high: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        low + (z ^ (z >> 31)) % (high - low + 1)
    }

    pub fn start_node(&mut self, index: usize) -> QuorumRegister {
        let (register, lines) = QuorumRegister::new(View::default());
        self.runs += 1;
        self.clients[index] = Some(Client {
            run: self.runs,
            scribe: Scribe::default(),
            lines,
            waits: None,
            looks_at_us: 0,
            asks_at_us: 0,
            frozen_until_us: 0,
        });
        register
    }

    /// What it has sent stays under way.
    pub fn crash(&mut self, index: usize) {
        self.clients[index] = None;
    }

    pub fn freeze(&mut self, index: usize, until_us: u64) {
        if let Some(client) = &mut self.clients[index] {
            client.frozen_until_us = until_us;
        }
    }

    /// etcd does nothing until then; what comes meanwhile waits.
    pub fn stall(&mut self, until_us: u64) {
        self.stalled_until_us = until_us;
    }

    pub fn recover(&mut self) {
        (self.is_down, self.cut) = (false, [false; 2]);
    }

    pub fn runs(&self, index: usize) -> bool {
        self.clients[index].is_some()
    }

    pub fn view(&self, epoch: Epoch) -> Option<&View> {
        self.decided.get(&epoch)
    }

    pub fn step(&mut self, now_us: u64) {
        while let Some(first) = self.wire.first_entry() {
            if first.key().0 > now_us {
                break;
            }
            let flight = first.remove();
            self.arrive(now_us, flight);
        }
        (0..2).for_each(|index| self.turn(now_us, index));
    }

    fn arrive(&mut self, now_us: u64, mut flight: Flight) {
        let Some(answer) = flight.answer.take() else {
            if now_us < self.stalled_until_us {
                self.fly(self.stalled_until_us, flight);
            } else if !self.is_down {
                flight.answer = Some(self.serve(&flight.ask));
                self.transmit(now_us, flight);
            }
            return;
        };
        let waits = (flight.number, flight.run);
        let client = self.clients[flight.client].as_mut();
        let Some(client) = client
            .filter(|client| client.waits.map(|(number, _)| (number, client.run)) == Some(waits))
        else {
            return;
        };
        if client.frozen_until_us > now_us {
            let thaws_us = client.frozen_until_us;
            flight.answer = Some(answer);
            self.fly(thaws_us, flight);
            return;
        }
        client.waits = None;
        client.scribe.learn(&flight.ask, answer);
        assert!(client.scribe.trouble().is_none(), "{:?}", client.scribe.trouble());
        let view = client.scribe.view();
        client.lines.views.send_if_modified(|told| {
            let is_news = view.epoch > told.epoch;
            told.clone_from(view);
            is_news
        });
    }

    fn serve(&mut self, ask: &Ask) -> Answer {
        match ask {
            Ask::Swap { held, next } if *held == self.value => {
                let before = self.decided.insert(next.epoch, next.clone());
                assert!(before.is_none(), "two views of epoch {}", next.epoch);
                self.value = next.to_json().into_bytes();
                Answer::Made
            }
            _ => Answer::Holds(Some(self.value.clone())),
        }
    }

    fn turn(&mut self, now_us: u64, index: usize) {
        let Some(client) = &mut self.clients[index] else { return };
        if client.frozen_until_us > now_us {
            return;
        }
        while let Ok(change) = client.lines.changes.try_recv() {
            client.scribe.want(change);
        }
        if client.waits.take_if(|(_, until_us)| *until_us <= now_us).is_some() {
            client.asks_at_us = now_us + PAUSE_US;
        }
        if client.looks_at_us <= now_us {
            client.looks_at_us = now_us + LOOK_US;
            client.scribe.look();
        }
        if client.waits.is_some() || client.asks_at_us > now_us {
            return;
        }
        let (run, next) = (client.run, client.scribe.next());
        let Some(ask) = next else { return };
        self.sent += 1;
        let number = self.sent;
        client.waits = Some((number, now_us + PATIENCE_US));
        self.transmit(now_us, Flight { number, client: index, run, ask, answer: None });
    }

    fn transmit(&mut self, now_us: u64, flight: Flight) {
        if self.cut[flight.client] || self.random(0, 99) < self.loss_percent {
            return;
        }
        let late = self.random(0, 19) == 0;
        let delay_us =
            if late { self.random(2_000, self.latest_us) } else { self.random(100, 1_500) };
        self.fly(now_us + delay_us, flight);
    }

    fn fly(&mut self, arrives_us: u64, flight: Flight) {
        self.sent += 1;
        self.wire.insert((arrives_us, self.sent), flight);
    }
}
