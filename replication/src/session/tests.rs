//! Two sessions and a link that loses, delays, doubles, damages, cuts and replays, in virtual time.

mod pair;

use proptest::prelude::*;

use super::*;
use crate::frame::{Confirm, Data};
use crate::keys::KeyRing;
use crate::record::header;
use crate::seal::SealError;

use pair::{A, B, Node, Pair, Weather, config, sealed, smallest_log};

/// Sends `batches` in each direction that `both` asks for; checks that all arrive exactly once, in
/// order, and are confirmed. Returns the virtual time it took.
fn exchange(weather: Weather, seed: u64, batches: usize, both: bool, pops: [usize; 2]) -> u64 {
    let mut pair = Pair::new(config(), weather, seed);
    let mut sent = [Vec::new(), Vec::new()];
    for _ in 0..batches {
        pair.append_batch(0, &mut sent[0]);
        if both {
            pair.append_batch(1, &mut sent[1]);
        }
        pair.turn(pops);
    }
    while !pair.settled(pops) {
        pair.turn(pops);
        assert!(pair.now_us < 60_000_000, "seed {seed}: no end in sight");
    }
    assert!(pair.nodes[1].taken == sent[0], "seed {seed}: a to b differs");
    assert!(pair.nodes[0].taken == sent[1], "seed {seed}: b to a differs");
    for node in &pair.nodes {
        assert!(!node.session.refused_log());
        assert_eq!(node.session.unconfirmed_since_us(), None);
    }
    pair.now_us
}

#[test]
fn calm_link_sends_every_frame_once() {
    let weather = Weather { delay_spread_us: 0, ..Weather::default() };
    let mut pair = Pair::new(config(), weather, 1);
    let mut sent = Vec::new();
    for _ in 0..200 {
        pair.append_batch(0, &mut sent);
        pair.turn([0, 1_000]);
    }
    while !pair.settled([0, 1]) {
        pair.turn([0, 1_000]);
    }
    assert!(pair.nodes[1].taken == sent);
    let counters = pair.nodes[0].session.counters();
    assert_eq!((counters.frames_retransmitted, counters.timeouts), (0, 0));
    let received = pair.nodes[1].session.counters();
    assert_eq!(received.frames_received, counters.frames_sent);
    assert_eq!(received.batches_received, counters.batches_confirmed);
    assert!(received.confirms_sent < counters.frames_sent, "confirmations are cumulative");
}

#[test]
fn confirmation_may_come_while_a_batch_is_open() {
    let mut pair = Pair::new(config(), Weather::default(), 2);
    let append = |pair: &mut Pair, body: u8| {
        let session = &mut pair.nodes[0].session;
        session.append(0, RecordKind::Input, &[&[body; 100]]).expect("room");
    };
    append(&mut pair, 1);
    pair.nodes[0].session.close_batch();
    append(&mut pair, 2);
    while pair.nodes[0].session.confirmed() != Position(1) {
        pair.turn([0, 0]);
    }
    append(&mut pair, 3);
    pair.nodes[0].session.close_batch();
    while !pair.settled([0, 1]) {
        pair.turn([0, 10]);
    }
    let taken: Vec<_> = pair.nodes[1].taken.iter().map(|(_, _, body)| body.clone()).collect();
    assert_eq!(taken, [vec![1; 100], vec![2; 100], vec![3; 100]]);
}

#[test]
fn bad_weather_costs_time_and_nothing_else() {
    for (lost, seeds) in [(1, 0..10), (10, 10..20), (30, 20..40)] {
        for seed in seeds {
            let weather = Weather {
                lost,
                doubled: lost / 2,
                damaged: lost / 3,
                cut: lost / 5,
                replayed: lost / 2,
                delay_spread_us: 200,
            };
            exchange(weather, seed, 150, seed % 2 == 0, [1_000, 1_000]);
        }
    }
}

#[test]
fn one_percent_of_loss_costs_little_time() {
    let calm = Weather { delay_spread_us: 30, ..Weather::default() };
    let lossy = Weather { lost: 1, ..calm };
    let calm_us = exchange(calm, 5, 1_000, false, [0, 1_000]);
    let lossy_us = exchange(lossy, 5, 1_000, false, [0, 1_000]);
    assert!(lossy_us < 2 * calm_us, "{lossy_us} µs with loss, {calm_us} µs without");
}

#[test]
fn hole_in_a_stream_is_mended_by_its_report_before_the_timer() {
    let mut pair = Pair::new(config(), Weather::default(), 11);
    for i in 0..60_u8 {
        pair.wire.weather.lost = if i == 20 { 100 } else { 0 };
        pair.nodes[0].session.append(0, RecordKind::Input, &[&[i; 100]]).expect("room");
        pair.nodes[0].session.close_batch();
        pair.turn([0, 10]);
    }
    while !pair.settled([0, 1]) {
        pair.turn([0, 10]);
    }
    let counters = pair.nodes[0].session.counters();
    assert_eq!((counters.frames_retransmitted, counters.timeouts), (1, 0));
    assert_eq!(pair.nodes[1].taken.len(), 60);
}

#[test]
fn burst_that_was_lost_whole_is_mended_by_one_timeout() {
    let mut pair = Pair::new(config(), Weather { lost: 100, ..Weather::default() }, 12);
    for i in 0..30_u8 {
        pair.nodes[0].session.append(0, RecordKind::Input, &[&[i; 100]]).expect("room");
        pair.nodes[0].session.close_batch();
    }
    pair.turn([0, 0]);
    pair.wire.weather.lost = 0;
    while !pair.settled([0, 1]) {
        pair.turn([0, 10]);
    }
    assert_eq!(pair.nodes[0].session.counters().timeouts, 1);
    assert!(pair.now_us < 2 * config().retransmit_min_us + 500, "{} µs", pair.now_us);
}

#[test]
fn what_a_failed_way_had_is_sent_again_at_once_and_once() {
    let mut pair = Pair::new(config(), Weather::default(), 14);
    let append = |pair: &mut Pair, value| {
        let session = &mut pair.nodes[0].session;
        session.append(0, RecordKind::Input, &[&[value; 100]]).expect("room");
        session.close_batch();
    };
    append(&mut pair, 0);
    while !pair.settled([0, 1]) {
        pair.turn([0, 10]);
    }
    pair.wire.weather.lost = 100;
    (1..=30).for_each(|value| append(&mut pair, value));
    pair.turn([0, 0]);
    pair.wire.weather.lost = 0;
    pair.nodes[0].session.send_again();
    assert_eq!(pair.nodes[0].session.next_deadline_us(), Some(0));
    (0..20).for_each(|_| pair.turn([0, 10]));
    assert_eq!(pair.nodes[1].taken.len(), 31);
    let counters = pair.nodes[0].session.counters();
    assert_eq!((counters.frames_retransmitted, counters.timeouts), (30, 0));
    assert_eq!(pair.nodes[0].session.confirmed(), Position(31));
}

#[test]
fn confirmation_that_a_failed_way_had_is_sent_again_at_once() {
    let mut pair = Pair::new(config(), Weather::default(), 15);
    pair.nodes[0].session.append(0, RecordKind::Kick, &[]).expect("room");
    pair.nodes[0].session.close_batch();
    pair.turn([0, 1]);
    pair.wire.weather.lost = 100;
    (0..10).for_each(|_| pair.turn([0, 1]));
    assert_eq!(pair.nodes[0].session.confirmed(), Position::START);
    pair.wire.weather.lost = 0;
    pair.nodes[1].session.send_again();
    (0..5).for_each(|_| pair.turn([0, 1]));
    assert_eq!(pair.nodes[0].session.confirmed(), Position(1));
    assert_eq!(pair.nodes[0].session.counters().frames_retransmitted, 0);
}

/// A pair whose consumer stands still until the sender may send no more.
fn stalled_pair(seed: u64) -> Pair {
    let mut pair = Pair::new(config(), Weather::default(), seed);
    let mut sent = Vec::new();
    for _ in 0..2_000 {
        pair.append_batch(0, &mut sent);
        pair.turn([0, 0]);
    }
    assert!(!pair.nodes[0].session.all_confirmed());
    pair
}

#[test]
fn new_room_is_told_at_once() {
    let mut pair = stalled_pair(13);
    let asked = pair.nodes[0].session.counters().timeouts;
    while !pair.settled([0, 1]) {
        pair.turn([0, 1_000]);
    }
    let asked = pair.nodes[0].session.counters().timeouts - asked;
    assert_eq!(asked, 0, "the sender did not have to ask");
}

#[test]
fn sender_asks_for_room_when_the_word_of_it_is_lost() {
    let config = config();
    let (mut receiver, mut log) = backup();
    let mut sender = Session::new(config);
    sender.open(Epoch(1), A, B, &Protection::Checksum);
    let empty = smallest_log(&config);
    // The peer says that it has room for no frame at all.
    let none = Confirm { next: 0, credit: 0, gaps: [].into_iter().collect() };
    sender.sender.set_limit(0);
    sender
        .receive(
            0,
            &mut forged(address().reversed(), Some(&none), None),
            &mut smallest_log(&config),
        )
        .expect("well formed");
    sender.append(0, RecordKind::Kick, &[]).expect("room");
    sender.close_batch();
    let numbers = &mut Numbers::default();
    sender.poll_transmit(10, true, &empty, numbers, &mut |_| panic!("there is no room"));
    let deadline_us = sender.next_deadline_us().expect("the timer runs");
    let mut asked = 0;
    sender.poll_transmit(deadline_us, true, &empty, numbers, &mut |sending| {
        asked += 1;
        receiver.receive(deadline_us, &mut sending.to_vec(), &mut log).is_ok()
    });
    assert_eq!(asked, 1);
    assert!(!log.is_empty(), "a question is a frame like any other");
}

#[test]
fn slow_consumer_slows_the_sender_and_loses_nothing() {
    for seed in 0..4 {
        let weather =
            Weather { lost: 2 * seed as usize, delay_spread_us: 50, ..Weather::default() };
        exchange(weather, seed, 1_500, false, [0, 1]);
    }
}

#[test]
fn stopped_consumer_stops_the_sender_until_it_goes_on() {
    let mut pair = Pair::new(config(), Weather::default(), 9);
    let mut sent = Vec::new();
    for _ in 0..20_000 {
        pair.append_batch(0, &mut sent);
        pair.turn([0, 0]);
    }
    let [a, b] = &pair.nodes;
    assert!(a.session.room() < config().max_batch_bytes, "back-pressure reached the sender");
    assert!(!a.session.all_confirmed());
    assert_eq!(a.session.confirmed(), b.log.received(), "confirmed is what the log holds");
    let asked = a.session.counters().frames_retransmitted + a.session.counters().timeouts;
    assert!(asked < 1_000, "a full log is asked gently: {asked} times in 200 ms");
    while !pair.settled([0, 1]) {
        pair.turn([0, 50]);
    }
    assert!(pair.nodes[1].taken == sent);
}

#[test]
fn lost_confirmation_is_repeated_for_a_repeated_frame() {
    let mut pair = Pair::new(config(), Weather { lost: 0, ..Weather::default() }, 2);
    pair.nodes[0].session.append(0, RecordKind::Kick, &[]).expect("room");
    pair.nodes[0].session.close_batch();
    pair.turn([0, 1]);
    pair.wire.weather.lost = 100;
    for _ in 0..10 {
        pair.turn([0, 1]);
    }
    assert_eq!(pair.nodes[1].taken.len(), 1);
    assert_eq!(pair.nodes[0].session.confirmed(), Position::START);
    assert_eq!(pair.nodes[0].session.unconfirmed_since_us(), Some(10));
    pair.wire.weather.lost = 0;
    for _ in 0..1_000 {
        pair.turn([0, 1]);
    }
    assert_eq!(pair.nodes[0].session.confirmed(), Position(1));
    assert_eq!(pair.nodes[1].taken.len(), 1, "delivered once");
    assert!(pair.nodes[1].session.counters().rejected_duplicate > 0);
}

#[test]
fn batch_is_confirmed_only_when_wholly_held() {
    let mut pair = Pair::new(config(), Weather::default(), 3);
    let big = vec![7; 3_000];
    pair.nodes[0].session.append(0, RecordKind::Input, &[&big]).expect("room");
    // Whole frames of the open batch travel already, its last one does not.
    for _ in 0..100 {
        pair.turn([0, 10]);
    }
    assert!(pair.nodes[1].session.counters().frames_received > 3);
    assert_eq!(pair.nodes[0].session.confirmed(), Position::START);
    assert!(pair.nodes[1].log.is_empty());
    assert_eq!(pair.nodes[0].session.close_batch(), Some(Position(1)));
    for _ in 0..100 {
        pair.turn([0, 10]);
    }
    assert_eq!(pair.nodes[0].session.confirmed(), Position(1));
    assert_eq!(pair.nodes[1].taken, [(1, 0, big)]);
}

#[test]
fn new_epoch_refuses_the_old_one_and_drops_its_torn_batch() {
    let mut pair = Pair::new(config(), Weather::default(), 4);
    pair.nodes[0].session.append(0, RecordKind::Input, &[&[1; 2_000]]).expect("room");
    for _ in 0..20 {
        pair.turn([0, 10]);
    }
    let old = pair.wire.past.clone();
    pair.nodes[0].session.open(Epoch(2), A, B, &sealed());
    pair.nodes[1].session.open(Epoch(2), B, A, &sealed());
    for (to, datagram) in &old {
        let node = &mut pair.nodes[*to];
        assert_eq!(
            node.session.receive(pair.now_us, &mut datagram.clone(), &mut node.log),
            Err(Rejected::StaleEpoch { carried: 1, ours: 2 })
        );
    }
    let mut sent = Vec::new();
    for _ in 0..50 {
        pair.append_batch(0, &mut sent);
        pair.turn([0, 100]);
    }
    while !pair.settled([0, 1]) {
        pair.turn([0, 100]);
    }
    assert_eq!(sent[0].0, 1, "positions start over");
    assert!(pair.nodes[1].taken == sent);
}

/// A datagram from A to B as a well-meaning, confused or hostile peer might build it, for sessions
/// without encryption: the number of a sealed one would have to be new each time.
fn forged(address: Address, confirm: Option<&Confirm>, data: Option<&Data<'_>>) -> Vec<u8> {
    let mut datagram = frame::encode(&address, confirm, data).to_vec();
    datagram.extend_from_slice(data.map_or(&[], |data| data.payload));
    let mut sealer = Sealer::new(address, &Protection::Checksum);
    let trailer = sealer.seal(&mut Numbers::default(), &mut datagram);
    datagram.extend_from_slice(&trailer);
    datagram
}

fn address() -> Address {
    Address { channel: 3, epoch: Epoch(1), sender: A, receiver: B }
}

fn backup() -> (Session, PendingLog) {
    let mut session = Session::new(config());
    session.open(Epoch(1), B, A, &Protection::Checksum);
    let log = smallest_log(&config());
    (session, log)
}

#[test]
fn every_wrong_address_is_refused_by_its_name_and_counted() {
    let (mut session, mut log) = backup();
    let kick = header(0, RecordKind::Kick, 0);
    let data = Data { sequence: 0, batch_end: true, payload: &kick };
    let mut refused = |address| {
        session.receive(0, &mut forged(address, None, Some(&data)), &mut log).expect_err("refused")
    };
    let newer = Address { epoch: Epoch(2), ..address() };
    assert_eq!(refused(newer), Rejected::FutureEpoch { carried: 2, ours: 1 });
    let older = Address { epoch: Epoch(0), ..address() };
    assert_eq!(refused(older), Rejected::StaleEpoch { carried: 0, ours: 1 });
    let channel = Address { channel: 4, ..address() };
    assert_eq!(refused(channel), Rejected::Channel { carried: 4, ours: 3 });
    let sender = Address { sender: Incarnation(9), ..address() };
    assert_eq!(refused(sender), Rejected::Incarnation);
    let receiver = Address { receiver: Incarnation(9), ..address() };
    assert_eq!(refused(receiver), Rejected::Incarnation);

    let mut damaged = forged(address(), None, Some(&data));
    damaged[40] ^= 1;
    let result = session.receive(0, &mut damaged, &mut log);
    assert!(matches!(result, Err(Rejected::Seal(SealError::Checksum { .. }))));
    assert!(log.is_empty());
    let counters = *session.counters();
    assert_eq!((counters.rejected_future_epoch, counters.rejected_stale_epoch), (1, 1));
    assert_eq!((counters.rejected_channel, counters.rejected_incarnation), (1, 2));
    assert_eq!((counters.rejected_checksum, counters.frames_received), (1, 0));

    session.close();
    let mut good = forged(address(), None, Some(&data));
    assert_eq!(session.receive(0, &mut good, &mut log), Err(Rejected::Closed));
}

#[test]
fn impossible_numbers_are_refused() {
    let (mut session, mut log) = backup();
    let kick = header(0, RecordKind::Kick, 0);
    for sequence in [64, u64::MAX] {
        let data = Data { sequence, batch_end: true, payload: &kick };
        let result = session.receive(0, &mut forged(address(), None, Some(&data)), &mut log);
        assert_eq!(result, Err(Rejected::BeyondWindow { sequence, end: 64 }));
    }
    let long = Data { sequence: 0, batch_end: true, payload: &[0; 1_000] };
    let result = session.receive(0, &mut forged(address(), None, Some(&long)), &mut log);
    let limit = config().payload_bytes();
    assert_eq!(result, Err(Rejected::FrameTooLong { length: 1_000, limit }));

    let gap = frame::Gap { missing: u32::MAX, held: u32::MAX };
    for (next, gaps) in [(1, None), (u64::MAX, Some(gap)), (0, Some(gap))] {
        let confirm = Confirm { next, credit: u32::MAX, gaps: gaps.into_iter().collect() };
        let result = session.receive(0, &mut forged(address(), Some(&confirm), None), &mut log);
        assert_eq!(result, Err(Rejected::ConfirmsUnsent));
    }
    assert_eq!(session.confirmed(), Position::START);
}

#[test]
fn torn_batch_puts_the_backup_out_of_sync_until_the_next_epoch() {
    let (mut session, mut log) = backup();
    let torn = [0, 0, 1, 0, 200, 0, 0, 0, 1];
    let data = Data { sequence: 0, batch_end: true, payload: &torn };
    let result = session.receive(0, &mut forged(address(), None, Some(&data)), &mut log);
    assert!(matches!(result, Err(Rejected::TornBatch(_))));
    assert!(session.refused_log());
    let kick = header(0, RecordKind::Kick, 0);
    let good = Data { sequence: 0, batch_end: true, payload: &kick };
    let mut good = forged(address(), None, Some(&good));
    assert_eq!(session.receive(0, &mut good, &mut log), Err(Rejected::OutOfSync));
    let numbers = &mut Numbers::default();
    session.poll_transmit(1_000, true, &log, numbers, &mut |_| panic!("nothing to confirm"));
    assert!(log.is_empty());

    session.open(Epoch(2), B, A, &Protection::Checksum);
    assert!(!session.refused_log());
    let again = Data { sequence: 0, batch_end: true, payload: &kick };
    let mut again = forged(Address { epoch: Epoch(2), ..address() }, None, Some(&again));
    assert_eq!(session.receive(0, &mut again, &mut log), Ok(()));
    assert!(!log.is_empty());
}

#[test]
fn endless_batch_is_refused_and_bounded() {
    let (mut session, mut log) = backup();
    let payload = [0; 300];
    let result = (0..100).find_map(|sequence| {
        let data = Data { sequence, batch_end: false, payload: &payload };
        session.receive(0, &mut forged(address(), None, Some(&data)), &mut log).err()
    });
    assert_eq!(result, Some(Rejected::BatchTooLong { limit: 8_000 }));
    assert!(session.refused_log());
}

#[test]
fn full_window_refuses_records_and_takes_them_after_confirmation() {
    let mut pair = Pair::new(config(), Weather::default(), 6);
    let body = [1; 500];
    let mut appended = 0;
    while pair.nodes[0].session.append(0, RecordKind::Input, &[&body]).is_ok() {
        appended += 1;
    }
    assert!(appended > 30, "the window takes what it is made for: {appended}");
    assert_eq!(
        pair.nodes[0].session.append(0, RecordKind::Input, &[&body]),
        Err(AppendError::Full)
    );
    assert_eq!(pair.nodes[0].session.counters().window_full, 2);
    pair.nodes[0].session.close_batch();
    while !pair.settled([0, 1]) {
        pair.turn([0, 100]);
    }
    assert_eq!(pair.nodes[1].taken.len(), appended);
    assert!(pair.nodes[0].session.append(0, RecordKind::Input, &[&body]).is_ok());
    let long = vec![0; 8_000];
    assert_eq!(
        pair.nodes[0].session.append(0, RecordKind::Input, &[&long]),
        Err(AppendError::TooLong { length: 8_008, limit: 8_000 })
    );
}

#[test]
fn refusing_nic_is_offered_the_same_again() {
    let mut sender = Session::new(config());
    sender.open(Epoch(1), A, B, &Protection::Checksum);
    let (mut receiver, mut log) = backup();
    let empty = smallest_log(&config());
    for i in 0..40_u8 {
        sender.append(0, RecordKind::Input, &[&[i; 200]]).expect("room");
        sender.close_batch();
    }
    let mut taken = 0;
    let mut now_us = 5;
    let numbers = &mut Numbers::default();
    sender.poll_transmit(now_us, false, &empty, numbers, &mut |_| false);
    assert_eq!(sender.unconfirmed_since_us(), Some(5), "a dead NIC is seen as waiting");
    while !sender.all_confirmed() {
        now_us += 10;
        let mut budget = 1;
        let mut wire = Vec::new();
        sender.poll_transmit(now_us, false, &empty, numbers, &mut |sending| {
            if budget == 0 {
                return false;
            }
            budget -= 1;
            wire.push(sending.to_vec());
            true
        });
        for mut datagram in wire {
            receiver.receive(now_us, &mut datagram, &mut log).expect("in order, once");
            taken += 1;
        }
        let mut answers = Vec::new();
        receiver.poll_transmit(now_us, true, &log, numbers, &mut |sending| {
            answers.push(sending.to_vec());
            true
        });
        for mut answer in answers {
            let mut unused = smallest_log(&config());
            sender.receive(now_us, &mut answer, &mut unused).expect("a confirmation");
        }
    }
    assert_eq!(taken, 40);
    assert_eq!(sender.counters().frames_retransmitted, 0);
}

#[test]
fn deadline_names_the_retransmission_and_the_delayed_confirmation() {
    let mut sender = Session::new(config());
    sender.open(Epoch(1), A, B, &Protection::Checksum);
    let (mut receiver, mut log) = backup();
    assert_eq!(sender.next_deadline_us(), None);
    sender.append(0, RecordKind::Kick, &[]).expect("room");
    sender.close_batch();
    assert_eq!(sender.next_deadline_us(), Some(0));
    let mut datagram = Vec::new();
    let numbers = &mut Numbers::default();
    sender.poll_transmit(100, false, &smallest_log(&config()), numbers, &mut |sending| {
        datagram = sending.to_vec();
        true
    });
    assert_eq!(sender.next_deadline_us(), Some(100 + 2 * config().retransmit_min_us));
    receiver.receive(150, &mut datagram, &mut log).expect("good");
    assert_eq!(receiver.next_deadline_us(), Some(150 + config().confirm_delay_us));
    receiver.poll_transmit(160, false, &log, numbers, &mut |_| panic!("not idle, not due"));
    let mut confirms = 0;
    receiver.poll_transmit(350, false, &log, numbers, &mut |_| {
        confirms += 1;
        true
    });
    assert_eq!((confirms, receiver.next_deadline_us()), (1, None));
}

/// What a frame with a good checksum may say: anything near the truth, and far from it.
fn forgeries() -> impl Strategy<Value = Vec<u8>> {
    let numbers = || prop_oneof![8 => 0..90_u64, 1 => any::<u64>()];
    let kicks = (1..20_usize).prop_map(|n| header(0, RecordKind::Kick, 0).repeat(n));
    let payload = prop_oneof![kicks, prop::collection::vec(any::<u8>(), 1..341)];
    let data = (numbers(), any::<bool>(), payload);
    let runs = prop_oneof![9 => 1..20_u32, 1 => 1..u32::MAX];
    let gaps = prop::collection::vec((runs.clone(), runs), 0..5);
    let confirm = (numbers(), any::<u32>(), gaps);
    (prop::option::of(confirm), prop::option::of(data)).prop_map(|(confirm, data)| {
        let confirm = confirm.map(|(next, credit, gaps)| Confirm {
            next,
            credit,
            gaps: gaps.into_iter().map(|(missing, held)| frame::Gap { missing, held }).collect(),
        });
        let data = data.as_ref().map(|(sequence, batch_end, payload)| Data {
            sequence: *sequence,
            batch_end: *batch_end,
            payload,
        });
        forged(address(), confirm.as_ref(), data.as_ref())
    })
}

proptest! {
    #[test]
    fn forged_frames_never_panic_and_confirm_nothing_unsent(
        datagrams in prop::collection::vec(forgeries(), 1..120), pops in 0..10_usize
    ) {
        let (mut session, mut log) = backup();
        let numbers = &mut Numbers::default();
        let mut last = Position::START;
        for (turn, datagram) in (0_u64..).zip(&datagrams) {
            let _ = session.append(1, RecordKind::Input, &[&[9; 250]]);
            session.close_batch();
            let _ = session.receive(turn * 50, &mut datagram.clone(), &mut log);
            session.poll_transmit(turn * 50, turn % 2 == 0, &log, numbers, &mut |_| true);
            prop_assert!(session.confirmed() >= last && session.confirmed() < session.position());
            last = session.confirmed();
            for _ in 0..pops {
                log.pop_record();
            }
        }
    }
}

#[test]
fn sealed_session_counts_what_others_send_and_goes_on() {
    let mut pair = Pair::new(config(), Weather::default(), 7);
    let other = Protection::Sealed(KeyRing::single("lab", b"other"));
    let send = |session: &mut Session, numbers: &mut Numbers| {
        session.append(0, RecordKind::Kick, &[]).expect("room");
        session.close_batch();
        let mut sent = Vec::new();
        session.poll_transmit(0, true, &smallest_log(&config()), numbers, &mut |sending| {
            sent = sending.to_vec();
            true
        });
        sent
    };
    let mut stranger = Session::new(config());
    stranger.open(Epoch(1), A, B, &other);
    let mut foreign = send(&mut stranger, &mut Numbers::default());
    let Node { session, numbers, .. } = &mut pair.nodes[0];
    let good = send(session, numbers);
    let mut forged = good.clone();
    forged[40] ^= 1;
    let Node { session, log, .. } = &mut pair.nodes[1];
    let result = session.receive(1, &mut foreign, log);
    assert!(matches!(result, Err(Rejected::Seal(SealError::UnknownKey(_)))));
    let result = session.receive(1, &mut forged, log);
    assert_eq!(result, Err(Rejected::Seal(SealError::Unauthentic)));
    assert_eq!(session.last_heard_us(), None, "nobody who matters was heard");
    session.receive(1, &mut good.clone(), log).expect("the peer's own word");
    let result = session.receive(1, &mut good.clone(), log);
    assert_eq!(result, Err(Rejected::Seal(SealError::Replayed(0))));
    let counters = session.counters();
    assert_eq!((counters.rejected_unknown_key, counters.rejected_unauthentic), (1, 1));
    assert_eq!((counters.rejected_replayed, counters.frames_received), (1, 1));
}

#[test]
fn keys_change_under_way_and_nothing_is_sent_twice() {
    let ring = |secrets: &[&[u8]]| Protection::Sealed(KeyRing::new("lab", secrets).unwrap());
    let (both, turned) = (ring(&[b"secret", b"new"]), ring(&[b"new", b"secret"]));
    let mut pair = Pair::new(config(), Weather::default(), 8);
    let mut sent = Vec::new();
    for turn in 0..300 {
        match turn {
            50 => pair.nodes[0].session.protect(&both),
            90 => pair.nodes[1].session.protect(&both),
            130 => pair.nodes[0].session.protect(&turned),
            170 => pair.nodes[1].session.protect(&turned),
            210 => pair.nodes[1].session.protect(&ring(&[b"new"])),
            250 => pair.nodes[0].session.protect(&ring(&[b"new"])),
            _ => {}
        }
        pair.append_batch(0, &mut sent);
        pair.turn([0, 1_000]);
    }
    while !pair.settled([0, 1]) {
        pair.turn([0, 1_000]);
    }
    assert!(pair.nodes[1].taken == sent);
    let counters = pair.nodes[0].session.counters();
    assert_eq!((counters.frames_retransmitted, counters.timeouts), (0, 0));
}
