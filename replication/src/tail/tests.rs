use proptest::prelude::*;

use super::*;

const SHARDS: u16 = 3;

/// A record as bytes.
fn bytes(shard: u16, kind: RecordKind, body: &[u8]) -> Vec<u8> {
    [&header(shard, kind, body.len() as u32)[..], body].concat()
}

/// The body of the step at a place: no two are alike.
fn body(place: u64) -> Vec<u8> {
    [&place.to_le_bytes()[..], &vec![7; (place % 5) as usize]].concat()
}

fn step(place: u64) -> Vec<u8> {
    bytes(place as u16 % SHARDS, RecordKind::Input, &body(place))
}

fn milestone(place: u64, mark: u64, held: u64) -> Vec<u8> {
    let (mark, held) = (Mark(mark), Mark(held));
    bytes(0, RecordKind::Milestone, &Milestone { place, mark, held }.to_bytes())
}

fn note(tail: &mut Tail, record: &[u8]) {
    tail.note(&Record::parse(record).expect("well formed").0);
}

/// All that `from` gives, in portions of so many records; what `to` makes a step of.
fn gather(from: &Tail, to: &mut Tail, portion: usize) -> (Vec<Vec<u8>>, bool) {
    let (mut giving, mut gathering) = (Giving::default(), Gathering::default());
    let mut steps = Vec::new();
    for _ in 0..1000 {
        let mut records = Vec::new();
        giving.give(from, |shard, kind, parts| {
            let taken = records.len() < portion;
            if taken {
                records.push(bytes(shard, kind, &parts.concat()));
            }
            taken
        });
        for record in &records {
            let (record, _) = Record::parse(record).expect("well formed");
            if gathering.take(to, &record) {
                steps.push(record.body.to_vec());
            }
        }
    }
    (steps, gathering.is_complete())
}

/// What a worker logs in loops of so many steps each, and the number of loops held when each ends.
fn log(loops: &[(u64, u64)]) -> Vec<Vec<u8>> {
    let (mut place, mut held, mut records) = (0, 0, Vec::new());
    for (mark, (steps, holds)) in (1..).zip(loops) {
        for _ in 0..*steps {
            records.push(step(place));
            place += 1;
        }
        held = (held + holds).min(mark - 1);
        records.push(milestone(place, mark, held));
    }
    records
}

/// The step that follows what these records tell.
fn places(records: &[Vec<u8>]) -> u64 {
    let steps = records.iter().filter(|record| record[2] == RecordKind::Input as u8);
    steps.count() as u64
}

proptest! {
    /// Two nodes that have the log up to different records; none has less than what is held.
    #[test]
    fn who_is_behind_gets_what_it_lacks_and_nothing_twice(
        loops in prop::collection::vec((0..5_u64, 0..3_u64), 1..30),
        more in any::<prop::sample::Index>(), portion in 1..9_usize,
    ) {
        let records = log(&loops);
        let ahead = &records[..=more.index(records.len())];
        let mut giver = Tail::new(4096, 64);
        giver.begin(Some(0));
        ahead.iter().for_each(|record| note(&mut giver, record));
        prop_assert_eq!(giver.place(), Some(places(ahead)));
        // It had the loops that the giver was told are held by all.
        let held = ahead.iter().rev().find_map(|record| {
            Record::parse(record).expect("well formed").0.milestone()
        });
        let held = held.map_or(0, |milestone| milestone.held.0) as usize;
        let least = places(&log(&loops[..held]));
        for behind in least..=places(ahead) {
            let mut taker = Tail::new(4096, 64);
            taker.begin(Some(0));
            (0..behind).for_each(|place| note(&mut taker, &step(place)));
            let (steps, complete) = gather(&giver, &mut taker, portion);
            prop_assert!(complete);
            let expected: Vec<_> = (behind..places(ahead)).map(body).collect();
            prop_assert_eq!(steps, expected);
            prop_assert_eq!(taker.place(), giver.place());
            // And the other way nothing comes.
            let (steps, complete) = gather(&taker, &mut giver, portion);
            prop_assert!(steps.is_empty() && complete);
        }
    }
}

#[test]
fn what_all_hold_is_not_kept() {
    let mut tail = Tail::new(4096, 8);
    tail.begin(Some(0));
    for mark in 1..1000 {
        note(&mut tail, &step(mark - 1));
        note(&mut tail, &milestone(mark, mark, mark.saturating_sub(2)));
        assert!(tail.len() <= 2 * step(4).len(), "{} bytes after loop {mark}", tail.len());
    }
}

#[test]
fn too_small_a_ring_leaves_a_gap_that_is_seen() {
    let mut giver = Tail::new(100, 4);
    giver.begin(Some(0));
    for mark in 1..20 {
        note(&mut giver, &step(mark - 1));
        note(&mut giver, &milestone(mark, mark, 0));
    }
    let mut taker = Tail::new(100, 4);
    taker.begin(Some(0));
    note(&mut taker, &step(0));
    let (steps, complete) = gather(&giver, &mut taker, 3);
    assert!(steps.is_empty() && !complete, "nothing of what follows a gap is taken");
    assert_eq!(taker.place(), Some(1));
    // A step longer than the ring.
    note(&mut giver, &bytes(0, RecordKind::Input, &[1; 200]));
    assert_eq!((giver.place(), giver.len()), (Some(20), 0));
}

/// The log of a node that joined counts from some milestone on.
#[test]
fn who_joined_knows_its_place_from_the_first_milestone_on() {
    let mut joined = Tail::new(4096, 8);
    joined.begin(None);
    note(&mut joined, &step(17));
    assert_eq!((joined.place(), joined.len()), (None, 0));
    let mut nobody = Tail::new(4096, 8);
    nobody.begin(None);
    assert!(!gather(&nobody, &mut joined, 5).1, "who knows no place gives nothing");
    note(&mut joined, &milestone(40, 7, 7));
    note(&mut joined, &step(40));
    assert_eq!(joined.place(), Some(41));
    let mut other = Tail::new(4096, 8);
    other.begin(Some(0));
    (0..40).for_each(|place| note(&mut other, &step(place)));
    assert_eq!(gather(&joined, &mut other, 5), (vec![body(40)], true));
    // It did not count for a while.
    note(&mut joined, &milestone(50, 9, 7));
    assert_eq!((joined.place(), joined.len()), (Some(50), 0));
}

#[test]
fn without_memory_nothing_is_known() {
    let mut tail = Tail::none();
    note(&mut tail, &step(0));
    note(&mut tail, &milestone(1, 1, 0));
    assert_eq!(tail.place(), None);
}
