use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Schedule(u32, u64),
    Cancel(u32),
    Advance(u64),
    Reload,
}

/// Microseconds over all the magnitudes that the wheel's levels stand for.
fn span_us() -> impl Strategy<Value = u64> {
    (0u32..45, any::<u64>()).prop_map(|(bits, noise)| noise & ((1 << bits) - 1))
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        5 => (0u32..20, span_us()).prop_map(|(id, us)| Op::Schedule(id, us)),
        2 => (0u32..20).prop_map(Op::Cancel),
        4 => span_us().prop_map(Op::Advance),
        1 => Just(Op::Reload),
    ];
    prop::collection::vec(op, 0..80)
}

/// What the wheel should do, slowly: ids by tick and order of scheduling.
#[derive(Default)]
struct Model {
    by_order: BTreeMap<(u64, u64), u32>,
    by_id: BTreeMap<u32, (u64, u64)>,
    scheduled: u64,
    now_tick: u64,
}

impl Model {
    fn schedule(&mut self, id: u32, at_us: u64) {
        self.cancel(id);
        let key = (at_us.div_ceil(TICK_US).max(self.now_tick), self.scheduled);
        self.scheduled += 1;
        self.by_order.insert(key, id);
        self.by_id.insert(id, key);
    }

    fn cancel(&mut self, id: u32) -> bool {
        self.by_id.remove(&id).map(|key| self.by_order.remove(&key)).is_some()
    }

    fn expire(&mut self, now_us: u64) -> Vec<u32> {
        self.now_tick = now_us / TICK_US;
        let mut expired = Vec::new();
        while let Some((&key, &id)) = self.by_order.first_key_value() {
            if key.0 > self.now_tick {
                break;
            }
            self.cancel(id);
            expired.push(id);
        }
        expired
    }
}

fn saved(wheel: &TimerWheel) -> Vec<u8> {
    let mut bytes = Vec::new();
    wheel.save(&mut Writer::new(&mut bytes));
    bytes
}

fn reload(wheel: &TimerWheel) -> TimerWheel {
    let bytes = saved(wheel);
    let mut reader = Reader::new(&bytes);
    let restored = TimerWheel::restore(20, &mut reader).unwrap();
    reader.finish().unwrap();
    assert_eq!(saved(&restored), bytes);
    restored
}

proptest! {
    #[test]
    fn behaves_like_a_sorted_map(ops in ops()) {
        let (mut wheel, mut model, mut now) = (TimerWheel::with_capacity(4), Model::default(), 0);
        for op in ops {
            match op {
                Op::Schedule(id, us) => {
                    wheel.schedule(id, Instant::from_micros(now + us));
                    model.schedule(id, now + us);
                }
                Op::Cancel(id) => prop_assert_eq!(wheel.cancel(id), model.cancel(id)),
                Op::Advance(us) => {
                    now += us;
                    let mut expired = Vec::new();
                    wheel.expire(Instant::from_micros(now), |id| expired.push(id));
                    prop_assert_eq!(expired, model.expire(now));
                }
                Op::Reload => wheel = reload(&wheel),
            }
            prop_assert_eq!(wheel.len(), model.by_id.len());
            for id in 0..20 {
                let tick = wheel.deadline(id).map(|at| at.as_micros() / TICK_US);
                prop_assert_eq!(tick, model.by_id.get(&id).map(|key| key.0));
            }
            let first = model.by_order.first_key_value().map(|(key, _)| key.0 * TICK_US);
            let next = wheel.next_deadline().map(Instant::as_micros);
            prop_assert_eq!(next.is_some(), first.is_some());
            prop_assert!(next <= first);
        }
    }

    #[test]
    fn waiting_for_next_deadline_fires_on_time_after_few_wakeups(
        us in span_us(), start in span_us()
    ) {
        let mut wheel = TimerWheel::with_capacity(1);
        wheel.expire(Instant::from_micros(start), |_| ());
        wheel.schedule(0, Instant::from_micros(start + us));
        let mut wakeups = 0;
        let fired_at = loop {
            let at = wheel.next_deadline().unwrap();
            wakeups += 1;
            if wheel.pop_expired(at) == Some(0) {
                break at.as_micros();
            }
        };
        prop_assert!(wakeups <= LEVELS);
        let early_limit = (start + us).max(start / TICK_US * TICK_US);
        prop_assert!(fired_at >= early_limit && fired_at < early_limit + TICK_US);
    }

    #[test]
    fn restoring_any_bytes_is_safe(
        bytes in prop::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..200)
    ) {
        if let Ok(mut wheel) = TimerWheel::restore(20, &mut Reader::new(&bytes)) {
            wheel.expire(Instant::from_micros(u64::MAX), |_| ());
        }
    }
}

#[test]
fn fires_at_the_first_tick_that_is_not_early() {
    let mut wheel = TimerWheel::with_capacity(1);
    wheel.schedule(0, Instant::from_micros(1_001));
    assert_eq!(wheel.pop_expired(Instant::from_micros(1_999)), None);
    assert_eq!(wheel.pop_expired(Instant::from_micros(2_000)), Some(0));
}

#[test]
fn the_end_of_time_can_be_scheduled() {
    let mut wheel = TimerWheel::with_capacity(1);
    wheel.schedule(0, Instant::from_micros(u64::MAX));
    assert_eq!(wheel.pop_expired(Instant::from_micros(u64::MAX - TICK_US)), None);
    assert!(reload(&wheel).deadline(0).is_some());
}

#[test]
fn a_deadline_set_while_expiring_may_fire_at_once() {
    let mut wheel = TimerWheel::with_capacity(2);
    let now = Instant::from_micros(5_000);
    wheel.schedule(0, now);
    assert_eq!(wheel.pop_expired(now), Some(0));
    wheel.schedule(1, Instant::ZERO);
    assert_eq!(wheel.pop_expired(now), Some(1));
    assert_eq!(wheel.pop_expired(now), None);
}

#[test]
fn a_snapshot_with_an_id_beyond_the_configured_ones_is_refused() {
    let mut bytes = Vec::new();
    let mut out = Writer::new(&mut bytes);
    out.u64(0);
    out.u32(1);
    out.u32(20);
    out.u64(1);
    let error = TimerWheel::restore(20, &mut Reader::new(&bytes)).unwrap_err();
    assert!(matches!(error, SnapshotError::Invalid { what: "timer id", value: 20, .. }));
}
