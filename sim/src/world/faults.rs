//! What goes wrong, and how it ends.

use controlplane::Order;
use replication::Role;

use super::World;
use crate::net::{Place, Way, Weather};
use crate::node::Run;
use crate::node::card::Limits;
use crate::node::fuse::Blow;
use crate::plan::Fault;

/// What ends by itself on a node.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mend {
    Speed,
    Cards,
    Drain,
    Mistake,
}

impl World {
    pub(super) fn inflict(&mut self, fault: &Fault) {
        self.trace.note(self.now_ns, format_args!("fault: {fault:?}"));
        self.coverage.count("faults", fault.name());
        let now_ns = self.now_ns;
        match *fault {
            Fault::Blow { node, aim, calls, blow, part, card_dies } => {
                self.nodes[node].card_dies = card_dies;
                let Some(run) = &self.nodes[node].run else { return };
                if blow == Blow::Crash && run.frozen_until_ns > now_ns {
                    self.coverage.count("crash at", "asleep");
                    self.bury(node);
                } else {
                    run.fuse.light(aim, calls, blow, part);
                }
            }
            Fault::Restart { node } => {
                if self.nodes[node].run.is_none() {
                    self.start_node(node, None);
                }
            }
            Fault::Mistake { node, mistake, for_ns } => {
                if self.nodes[node].run.is_none() {
                    self.start_node(node, Some(mistake));
                    self.nodes[node].mends.push_back((now_ns + for_ns, Mend::Mistake));
                }
            }
            Fault::Leap { node, by_ns } => {
                if let Some(run) = &mut self.nodes[node].run {
                    run.clock.leap(now_ns, by_ns);
                }
            }
            Fault::Slow { node, loop_ns, for_ns } => {
                if let Some(run) = &mut self.nodes[node].run {
                    run.loop_ns = loop_ns;
                    self.nodes[node].mends.push_back((now_ns + for_ns, Mend::Speed));
                }
            }
            Fault::Drift { node, ppm } => {
                if let Some(run) = &mut self.nodes[node].run {
                    run.clock.drift(now_ns, ppm);
                }
            }
            Fault::Scarce { node, link, pool, ring, for_ns } => {
                if let Some(run) = &self.nodes[node].run {
                    let card = if link { &run.links[0] } else { &run.lan };
                    card.limit(Limits { receive_ring: ring, transmit_ring: ring, pool });
                    self.nodes[node].mends.push_back((now_ns + for_ns, Mend::Cards));
                }
            }
            Fault::Switchover => {
                let serves = |run: &&Run| matches!(run.directive().role, Role::Primary(_));
                let runs = self.nodes.iter().filter_map(|node| node.run.as_ref());
                if let Some(run) = runs.into_iter().find(serves) {
                    run.order(Order::Switchover { to: None });
                }
            }
            Fault::Drain { node, for_ns } => {
                if let Some(run) = &self.nodes[node].run {
                    run.order(Order::Drain);
                    self.nodes[node].mends.push_back((now_ns + for_ns, Mend::Drain));
                }
            }
            Fault::Tail { place, frames } => {
                let lost = self.network.lose_tail(place, frames);
                self.coverage.add("frames", "lost at a tail", lost as u64);
            }
            Fault::Deaf { node, to, for_ns } => self.network.deafen(node, to, now_ns + for_ns),
            Fault::Mute { node, for_ns } => self.register.mute(node, now_ns + for_ns),
            Fault::Unplug { host, for_ns } => {
                for way in [Way::Out, Way::In] {
                    let line = (Place::Host(host), way);
                    self.change(line, for_ns, |weather| weather.cut = true);
                }
            }
            Fault::Vanish { host } => self.gone[host] = true,
            Fault::Cut { line, for_ns } => self.change(line, for_ns, |weather| weather.cut = true),
            Fault::Loss { line, permille, for_ns } => {
                self.change(line, for_ns, |weather| weather.loss = permille);
            }
            Fault::Bursts { line, burst, for_ns } => {
                self.change(line, for_ns, |weather| weather.burst = Some(burst));
            }
            Fault::Mess { line, reorder, duplicate, corrupt, for_ns } => {
                self.change(line, for_ns, |weather| {
                    *weather = Weather { reorder, duplicate, corrupt, ..*weather };
                });
            }
            Fault::Narrow { line, mtu, router, for_ns } => {
                self.change(line, for_ns, |weather| *weather = Weather { mtu, router, ..*weather });
            }
            Fault::Mark { line, permille, for_ns } => {
                self.change(line, for_ns, |weather| weather.mark = permille);
            }
            Fault::Throttle { line, bits_per_s, delay_ns, jitter_ns, for_ns } => {
                self.change(line, for_ns, |weather| {
                    *weather = Weather { bits_per_s, delay_ns, jitter_ns, ..*weather };
                });
            }
        }
    }

    pub(super) fn change(
        &mut self,
        id: (Place, Way),
        for_ns: u64,
        change: impl FnOnce(&mut Weather),
    ) {
        if let Some(line) = self.network.line(id) {
            line.set(change);
            self.clearing.push((self.now_ns + for_ns, id));
        }
    }

    /// Ends what has lasted long enough.
    pub(super) fn mend(&mut self) {
        let now_ns = self.now_ns;
        let network = &mut self.network;
        self.clearing.retain(|(at_ns, id)| {
            if *at_ns <= now_ns
                && let Some(line) = network.line(*id)
            {
                line.clear_up();
            }
            *at_ns > now_ns
        });
        for index in 0..self.nodes.len() {
            let node = &mut self.nodes[index];
            node.mends.make_contiguous().sort_by_key(|(at_ns, _)| *at_ns);
            let due = node.mends.iter().take_while(|(at_ns, _)| *at_ns <= now_ns).count();
            for (_, mend) in node.mends.drain(..due).collect::<Vec<_>>() {
                self.make_good(index, mend);
            }
        }
    }

    fn make_good(&mut self, index: usize, mend: Mend) {
        let Some(run) = &mut self.nodes[index].run else { return };
        match mend {
            Mend::Speed => run.loop_ns = self.plan.machines[index].loop_ns,
            Mend::Drain => run.order(Order::Undrain),
            Mend::Cards => {
                let cards = [&run.lan].into_iter().chain(&run.links);
                cards.for_each(|card| card.limit(Limits::USUAL));
            }
            Mend::Mistake if self.nodes[index].mistake.is_some() => {
                self.bury(index);
                self.start_node(index, None);
            }
            Mend::Mistake => {}
        }
    }

    /// Nothing fails any more.
    pub(super) fn calm_down(&mut self) {
        self.trace.note(self.now_ns, "calm: nothing fails from here on");
        self.clearing.clear();
        self.register.unmute();
        self.network.lines().for_each(|(_, line)| line.clear_up());
        for index in 0..self.nodes.len() {
            self.nodes[index].mends.clear();
            for mend in [Mend::Mistake, Mend::Speed, Mend::Cards, Mend::Drain] {
                self.make_good(index, mend);
            }
        }
    }
}
