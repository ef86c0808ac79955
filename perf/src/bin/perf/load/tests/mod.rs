//! Whole runs over connections and a time that do not exist.

mod mock;

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::driver::{self, Control, Cut, Outcome, Plan};
use super::meter::Meter;
use super::transport::Failure;
use super::workload::bulk::{Bulk, Direction};
use super::workload::crr::{self, Crr};
use super::workload::rpc::{Config, Pace, Rpc};
use super::workload::{Exchange, Workload};
use crate::failover::Undisturbed;
use crate::progress::Progress;
use crate::recorder::{self, Recorded};
use mock::{Behaviour, Loss, Mock, Server};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;

fn plan(duration_ns: Option<u64>) -> Plan {
    Plan { ramp_ns: 0, handshakes: 8, duration_ns, timeout_ns: 5 * SECOND }
}

fn rpc(connections: u32, pace: Pace) -> Config {
    Config { connections, pipeline: 1, pace, count: None, verifies: false }
}

fn run(behaviour: Behaviour, load: impl Workload, plan: Plan) -> (Outcome, Recorded) {
    run_marked(behaviour, load, plan, &mut Undisturbed)
}

fn run_marked(
    behaviour: Behaviour,
    load: impl Workload,
    plan: Plan,
    control: &mut dyn Control,
) -> (Outcome, Recorded) {
    let (meter, samples) = Meter::new();
    let recorder = recorder::start(samples, Progress::hidden(), false);
    let interrupted = AtomicBool::new(false);
    let mock = Mock::new(behaviour);
    let outcome = driver::run(mock, load, plan, meter, &interrupted, control);
    (outcome, recorder.join().unwrap())
}

fn troubles(outcome: &Outcome) -> Vec<(String, u64)> {
    outcome.tally.failures().into_iter().map(|failure| (failure.text, failure.count)).collect()
}

/// Within the histogram's precision.
fn is_about(value: u64, expected: u64) -> bool {
    value.abs_diff(expected) <= expected / 500
}

#[test]
fn closed_loop_keeps_one_request_on_its_way_on_each_connection() {
    let load = Rpc::new(rpc(4, Pace::Closed), Exchange::echo(64));
    let (outcome, recorded) = run(Behaviour::default(), load, plan(Some(SECOND)));
    assert!(outcome.cut_short.is_none() && outcome.tally.is_empty(), "{outcome:?}");
    assert_eq!((outcome.counts.opened, outcome.counts.open), (4, 4));
    assert!((3990..=4000).contains(&recorded.requests), "{}", recorded.requests);
    assert!(is_about(recorded.latency.min(), MS) && is_about(recorded.latency.max(), MS));
    assert_eq!(recorded.bytes_down, recorded.requests * 64);
}

#[test]
fn requests_and_responses_in_pieces_are_put_together() {
    let behaviour = Behaviour { room: 7, piece: 5, ..Behaviour::default() };
    let config = Config { pipeline: 3, count: Some(100), ..rpc(2, Pace::Closed) };
    let load = Rpc::new(config, Exchange::echo(50));
    let (outcome, recorded) = run(behaviour, load, plan(None));
    assert!(outcome.cut_short.is_none() && outcome.tally.is_empty(), "{outcome:?}");
    assert_eq!((recorded.requests, recorded.bytes_up, recorded.bytes_down), (100, 5000, 5000));
}

#[test]
fn pause_of_the_server_shows_in_every_request_that_was_due_in_it() {
    let pause_ns = Some((SECOND, SECOND + 500 * MS));
    let behaviour = || Behaviour { pause_ns, ..Behaviour::default() };
    let load = Rpc::new(rpc(10, Pace::Open(1000.0)), Exchange::echo(64));
    let (outcome, recorded) = run(behaviour(), load, plan(Some(2 * SECOND)));
    assert!(outcome.cut_short.is_none() && outcome.tally.is_empty(), "{outcome:?}");
    assert_eq!(recorded.latency.len(), 2000);
    // 500 were due in the pause, and waited from 0 to 500 ms; some behind them waited for these.
    let late = recorded.latency.count_between(100 * MS, 600 * MS);
    assert!((400..=460).contains(&late), "{late} of more than 100 ms");

    // The same in a closed loop: each connection has one late request, and the rest is silence.
    let load = Rpc::new(rpc(10, Pace::Closed), Exchange::echo(64));
    let (_, recorded) = run(behaviour(), load, plan(Some(2 * SECOND)));
    assert_eq!(recorded.latency.count_between(100 * MS, 600 * MS), 10);
}

#[test]
fn rate_that_cannot_be_kept_is_told_and_counts() {
    let behaviour = Behaviour { round_trip_ns: 10 * MS, ..Behaviour::default() };
    let load = Rpc::new(rpc(1, Pace::Open(200.0)), Exchange::echo(64));
    let (outcome, recorded) = run(behaviour, load, plan(Some(2 * SECOND)));
    assert!(outcome.tally.is_empty());
    assert!(outcome.remarks[0].contains("did not keep up"), "{:?}", outcome.remarks);
    assert!((198..=201).contains(&recorded.requests));
    assert!((399..=401).contains(&recorded.latency.len()), "{}", recorded.latency.len());
    assert!(recorded.latency.max() > 990 * MS);
}

#[test]
fn count_ends_a_run_in_both_loops() {
    for pace in [Pace::Closed, Pace::Open(5000.0)] {
        let load = Rpc::new(Config { count: Some(777), ..rpc(5, pace) }, Exchange::echo(10));
        let (outcome, recorded) = run(Behaviour::default(), load, plan(None));
        assert!(outcome.cut_short.is_none() && outcome.tally.is_empty(), "{outcome:?}");
        assert_eq!(recorded.requests, 777);
    }
}

#[test]
fn wrong_byte_ends_its_connection_and_no_other() {
    let behaviour = Behaviour { wrong: Some((1, 130)), ..Behaviour::default() };
    let load = Rpc::new(rpc(3, Pace::Closed), Exchange::echo(64));
    let (outcome, recorded) = run(behaviour, load, plan(Some(SECOND)));
    let expected = ("wrong byte (first: connection 1, position 130)".to_owned(), 1);
    assert_eq!(troubles(&outcome), [expected]);
    assert_eq!((outcome.counts.opened, outcome.counts.open), (3, 2));
    assert!(recorded.requests > 1990);
}

#[test]
fn lost_connections_are_counted_and_the_last_one_ends_the_run() {
    for (how, text) in [
        (Loss::Reset, "reset by the peer"),
        (Loss::Closed, "closed by the peer while bytes were due (first: connection 0, position "),
    ] {
        let lost = Some((0, 300 * MS, how));
        let behaviour = || Behaviour { lost, ..Behaviour::default() };
        let load = Rpc::new(rpc(2, Pace::Open(100.0)), Exchange::echo(64));
        let (outcome, _) = run(behaviour(), load, plan(Some(SECOND)));
        assert!(outcome.cut_short.is_none(), "{outcome:?}");
        let told = troubles(&outcome);
        assert!(told.len() == 1 && told[0].0.starts_with(text) && told[0].1 == 1, "{told:?}");

        let load = Rpc::new(rpc(1, Pace::Closed), Exchange::echo(64));
        let (outcome, recorded) = run(behaviour(), load, plan(Some(SECOND)));
        assert!(matches!(outcome.cut_short, Some(Cut::NoConnection)), "{outcome:?}");
        assert!((290..310).contains(&recorded.requests));
        // Opening it took a millisecond.
        assert!(is_about(outcome.measured_ns, 299 * MS), "{}", outcome.measured_ns);
    }
}

#[test]
fn target_that_goes_silent_ends_the_run_with_what_was_measured() {
    let pause_ns = Some((SECOND, 1_000_000 * SECOND));
    let behaviour = || Behaviour { pause_ns, ..Behaviour::default() };
    let load = Rpc::new(rpc(2, Pace::Closed), Exchange::echo(64));
    let (outcome, recorded) = run(behaviour(), load, plan(Some(3600 * SECOND)));
    assert!(matches!(outcome.cut_short, Some(Cut::Silence)), "{outcome:?}");
    assert!((1990..2000).contains(&recorded.requests));
    assert!((5..7).contains(&(outcome.measured_ns / SECOND)));
    let texts: Vec<_> = troubles(&outcome).into_iter().map(|(text, _)| text).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");

    // No answer to the SYN either.
    let behaviour = Behaviour { pause_ns: Some((0, u64::MAX)), ..Behaviour::default() };
    let load = Rpc::new(rpc(20, Pace::Closed), Exchange::echo(64));
    let (outcome, _) = run(behaviour, load, plan(Some(SECOND)));
    assert!(matches!(outcome.cut_short, Some(Cut::NoConnection)), "{outcome:?}");
    assert_eq!(troubles(&outcome), [("no answer to the SYN in time".to_owned(), 20)]);
}

#[test]
fn ports_that_run_out_are_told_with_how_many_there_were() {
    let behaviour = Behaviour { ports: 30, ..Behaviour::default() };
    let load = Rpc::new(rpc(40, Pace::Closed), Exchange::echo(64));
    let (outcome, _) = run(behaviour, load, plan(Some(SECOND)));
    assert!(matches!(outcome.cut_short, Some(Cut::Exhausted(Failure::NoPorts))), "{outcome:?}");
    assert_eq!((outcome.asked, outcome.counts.begun), (40, 30));
}

#[test]
fn ramp_spreads_the_opening_before_the_measurement() {
    let load = Rpc::new(rpc(100, Pace::Closed), Exchange::echo(64));
    let plan = Plan { ramp_ns: 2 * SECOND, ..plan(Some(SECOND)) };
    let (outcome, recorded) = run(Behaviour::default(), load, plan);
    assert_eq!(outcome.counts.open, 100);
    assert!(is_about(outcome.measured_ns, SECOND), "{}", outcome.measured_ns);
    assert!((99_000..=100_000).contains(&recorded.requests));
}

#[test]
fn idle_connections_prove_that_they_live() {
    let config = Config { verifies: true, ..rpc(3000, Pace::Open(100.0)) };
    let behaviour = Behaviour { deaf: Some((2000, SECOND)), ..Behaviour::default() };
    let (outcome, recorded) =
        run(behaviour, Rpc::new(config, Exchange::echo(64)), plan(Some(3 * SECOND)));
    assert_eq!((outcome.counts.open, outcome.verified), (3000, Some(2999)));
    assert_eq!(troubles(&outcome), [("a request was not answered".to_owned(), 1)]);
    // What proves it is no part of the load.
    assert_eq!((recorded.requests, recorded.latency.len()), (300, 300));
    let silent = Config { verifies: true, ..rpc(5, Pace::Silent) };
    let (outcome, _) = run(Behaviour::default(), Rpc::new(silent, Exchange::echo(64)), {
        plan(Some(60 * SECOND))
    });
    assert!(outcome.cut_short.is_none() && outcome.tally.is_empty(), "{outcome:?}");
    assert_eq!(outcome.verified, Some(5));
}

struct MarkOnce(Option<String>);

impl Control for MarkOnce {
    fn measuring(&mut self) {}

    fn mark(&mut self) -> Option<(Instant, String)> {
        self.0.take().map(|label| (Instant::now(), label))
    }
}

#[test]
fn stalls_are_those_of_each_connection_after_the_mark() {
    let pause_ns = Some((SECOND, SECOND + 300 * MS));
    let behaviour = Behaviour { pause_ns, ..Behaviour::default() };
    let load = Rpc::new(rpc(50, Pace::Closed), Exchange::echo(64));
    let mut control = MarkOnce(Some("kill".into()));
    let (outcome, recorded) = run_marked(behaviour, load, plan(Some(2 * SECOND)), &mut control);
    assert_eq!(outcome.stalls.len(), 50);
    for stall_us in [outcome.stalls.min(), outcome.stalls.max()] {
        assert!((300_000..=302_000).contains(&stall_us), "{stall_us}");
    }
    assert_eq!(outcome.marks.len(), 1);
    assert!(recorded.timeline.iter().any(|step| step.longest_stall_us >= Some(250_000)));
}

#[test]
fn cycles_count_from_when_they_were_due() {
    let config = crr::Config { concurrent: 8, rate: Some(1000.0), count: None, resets: false };
    let pause_ns = Some((SECOND, SECOND + 500 * MS));
    let behaviour = Behaviour { pause_ns, room: 20, ..Behaviour::default() };
    let load = Crr::new(config, Exchange::echo(64));
    let (outcome, recorded) = run(behaviour, load, plan(Some(2 * SECOND)));
    assert!(outcome.cut_short.is_none() && outcome.tally.is_empty(), "{outcome:?}");
    // 8 at a time, each of 3 round trips, are enough to catch up with the schedule in the end.
    assert!((1900..=2000).contains(&recorded.requests), "{}", recorded.requests);
    assert!(recorded.latency.count_between(100 * MS, 600 * MS) > 350);
    assert!(is_about(recorded.latency.min(), 3 * MS + 3000), "{}", recorded.latency.min());
}

#[test]
fn cycles_end_with_a_reset_if_wanted_and_stop_when_ports_run_out() {
    let config = crr::Config { concurrent: 4, rate: None, count: Some(100), resets: true };
    let load = Crr::new(config, Exchange::echo(64));
    let (outcome, recorded) = run(Behaviour::default(), load, plan(None));
    assert!(outcome.cut_short.is_none() && outcome.tally.is_empty(), "{outcome:?}");
    assert_eq!((recorded.requests, outcome.asked, outcome.counts.open), (100, 100, 0));
    assert!(is_about(recorded.latency.max(), 2 * MS));

    let behaviour = Behaviour { ports: 3, ..Behaviour::default() };
    let load = Crr::new(config, Exchange::echo(64));
    let (outcome, _) = run(behaviour, load, plan(None));
    assert!(matches!(outcome.cut_short, Some(Cut::Exhausted(Failure::NoPorts))), "{outcome:?}");
}

#[test]
fn bulk_moves_every_byte_in_each_direction() {
    for (direction, server, up, down) in [
        (Direction::Down, Server::Stream, 0, 1),
        (Direction::Both, Server::Echo, 1, 1),
        (Direction::Up, Server::Discard, 1, 0),
    ] {
        let behaviour = Behaviour { server, room: 5000, piece: 777, ..Behaviour::default() };
        let load = Bulk::new(direction, 2, Some(1_000_000));
        let (outcome, recorded) = run(behaviour, load, plan(None));
        assert!(outcome.cut_short.is_none() && outcome.tally.is_empty(), "{outcome:?}");
        // The stream sends on until it is reset.
        let bytes = (recorded.bytes_up, recorded.bytes_down);
        let most = if server == Server::Stream { 2_020_014 } else { 2_000_000 };
        assert!(bytes.0 >= up * 2_000_000 && bytes.0 <= up * most, "{direction:?}: {bytes:?}");
        assert!(bytes.1 >= down * 2_000_000 && bytes.1 <= down * most, "{direction:?}: {bytes:?}");
    }
}

#[test]
fn bulk_notices_wrong_bytes_and_early_ends() {
    let behaviour =
        Behaviour { server: Server::Stream, wrong: Some((0, 50_000)), ..Behaviour::default() };
    let (outcome, _) = run(behaviour, Bulk::new(Direction::Down, 2, None), plan(Some(SECOND)));
    let expected = ("wrong byte (first: connection 0, position 50000)".to_owned(), 1);
    assert_eq!(troubles(&outcome), [expected]);
    let lost = Some((1, 10 * MS, Loss::Closed));
    let behaviour = Behaviour { server: Server::Discard, room: 1000, lost, ..Behaviour::default() };
    let (outcome, _) = run(behaviour, Bulk::new(Direction::Up, 2, None), plan(Some(20 * MS)));
    assert_eq!(outcome.counts.open, 1);
    assert_eq!(troubles(&outcome).len(), 1);
}
