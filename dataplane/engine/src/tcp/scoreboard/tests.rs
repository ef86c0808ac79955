//! The scoreboard by itself.

use proptest::prelude::*;

use super::*;

fn queue_of(count: u32) -> (SentSlab, SentQueue) {
    let mut slab = SentSlab::new(64);
    let mut queue = SentQueue::default();
    for i in 0..count {
        let now = Instant::from_micros(u64::from(i));
        assert!(queue.push(&mut slab, now, SeqNumber(i * 100), 100, Controls::default()));
    }
    (slab, queue)
}

#[test]
fn restored_queue_finds_what_was_lost_before_the_snapshot_first() {
    let (mut slab, mut queue) = queue_of(4);
    queue.mark_lost(&mut slab, |sent| Some(sent.seq.0 == 100));
    let mut bytes = Vec::new();
    queue.save(&slab, &mut Writer::new(&mut bytes));
    let mut queue = SentQueue::restore(&mut slab, &mut Reader::new(&bytes)).expect("was saved");
    queue.mark_lost(&mut slab, |sent| Some(sent.seq.0 == 300));
    let next = queue.next_lost(&slab).map(|(_, sent)| sent.seq.0);
    assert_eq!(next, Some(100));
}

#[test]
fn cumulative_acknowledgment_drops_whole_and_cuts_partly_covered_segments() {
    let (mut slab, mut queue) = queue_of(5);
    let delivered = queue.acknowledge(&mut slab, SeqNumber(250), |_| {});
    assert_eq!((delivered, queue.count, queue.in_flight), (250, 3, 250));
    assert_eq!(queue.first(&slab).map(|sent| sent.seq), Some(SeqNumber(250)));
    queue.acknowledge(&mut slab, SeqNumber(500), |_| {});
    assert_eq!((queue.clone(), slab.used()), (SentQueue::default(), 0));
}

#[test]
fn sacked_and_lost_segments_are_not_in_flight() {
    let (mut slab, mut queue) = queue_of(5);
    assert_eq!(queue.sack(&mut slab, (SeqNumber(300), SeqNumber(500)), |_| {}), 200);
    assert_eq!(queue.sack(&mut slab, (SeqNumber(300), SeqNumber(500)), |_| {}), 0);
    assert_eq!(queue.mark_lost(&mut slab, |sent| Some(sent.seq.0 == 100)), 100);
    assert_eq!((queue.in_flight, queue.lost, queue.sacked), (200, 1, 2));
    let (index, sent) = queue.next_lost(&slab).expect("one is lost");
    assert_eq!(sent.seq, SeqNumber(100));
    queue.resent(&mut slab, index, Instant::from_micros(9));
    assert_eq!((queue.in_flight, queue.lost), (300, 0));
    assert_eq!(queue.next_lost(&slab), None);
}

#[test]
fn divided_segment_keeps_its_numbers_and_what_is_known_of_it() {
    let (mut slab, mut queue) = (SentSlab::new(3), SentQueue::default());
    let fin = Controls { syn: false, fin: true };
    queue.push(&mut slab, Instant::ZERO, SeqNumber(7), 301, fin);
    queue.mark_lost(&mut slab, |_| Some(true));
    let (index, _) = queue.next_lost(&slab).expect("it is lost");
    let first = queue.split(&mut slab, index, 100);
    assert_eq!((first.seq, first.payload_len(), first.has_fin()), (SeqNumber(7), 100, false));
    queue.resent(&mut slab, index, Instant::ZERO);
    assert_eq!((queue.count, queue.lost, queue.in_flight), (2, 1, 100));
    let (index, rest) = queue.next_lost(&slab).expect("the rest is, too");
    assert_eq!((rest.seq, rest.payload_len(), rest.has_fin()), (SeqNumber(107), 200, true));
    queue.split(&mut slab, index, 150);
    // No entry is left: the rest stays whole.
    let cut = queue.split(&mut slab, index, 50);
    assert_eq!((cut.payload_len(), queue.count), (50, 3));
    queue.acknowledge(&mut slab, SeqNumber(308), |_| {});
    assert_eq!((queue, slab.used()), (SentQueue::default(), 0));
}

#[test]
fn exhausted_slab_refuses_and_recovers() {
    let mut slab = SentSlab::new(1);
    let mut queue = SentQueue::default();
    let now = Instant::ZERO;
    assert!(queue.push(&mut slab, now, SeqNumber(0), 1, Controls { syn: true, fin: false }));
    assert!(!queue.push(&mut slab, now, SeqNumber(1), 1, Controls::default()));
    queue.clear(&mut slab);
    assert!(queue.push(&mut slab, now, SeqNumber(1), 1, Controls::default()));
}

fn seq_of(segment: u32) -> SeqNumber {
    SeqNumber(segment * 100)
}

/// Else each acknowledgment of a long flight with one gap would cost a walk along all of it.
#[test]
fn what_is_sacked_in_a_row_is_passed_in_one_step() {
    let (mut slab, mut queue) = (SentSlab::new(2000), SentQueue::default());
    for i in 0..1000 {
        queue.push(&mut slab, Instant::ZERO, seq_of(i), 100, Controls::default());
    }
    for newest in 2..=990 {
        assert_eq!(queue.sack(&mut slab, (seq_of(1), seq_of(newest)), |_| {}), 100);
        let first = &slab.entries[1];
        // What this block has added is all that the next walk has to look at.
        assert!(first.run + 1 >= newest - 1, "{} of {newest}", first.run);
    }
    assert_eq!(slab.behind_run(1), 990);
    let mut asked = 0;
    queue.mark_lost(&mut slab, |_| {
        asked += 1;
        Some(false)
    });
    assert_eq!(asked, 11, "the gap and the tail");
}

#[test]
fn search_for_a_block_has_an_end() {
    let count = 3 * MAX_SEARCH;
    let (mut slab, mut queue) = (SentSlab::new(count), SentQueue::default());
    for i in 0..count {
        queue.push(&mut slab, Instant::ZERO, seq_of(i), 100, Controls::default());
    }
    for i in (1..count).step_by(2) {
        queue.sack(&mut slab, (seq_of(i), seq_of(i + 1)), |_| {});
    }
    // In front of the next one there are as many entries and runs as a search passes.
    assert_eq!(queue.sacked, MAX_SEARCH / 2);
    queue.acknowledge(&mut slab, seq_of(10), |_| {});
    queue.sack(&mut slab, (seq_of(MAX_SEARCH + 1), seq_of(MAX_SEARCH + 2)), |_| {});
    assert_eq!(queue.sacked, MAX_SEARCH / 2 - 5 + 1, "with fewer gaps it counts");
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Push,
    Sack(u32, u32),
    Acknowledge(u32),
    Lose(u32, u32),
    Resend,
    Split(u32),
    Renege,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let at = || 0..60_u32;
    let step = prop_oneof![
        6 => Just(Step::Push),
        6 => (at(), 1..8_u32).prop_map(|(at, len)| Step::Sack(at, at + len)),
        1 => at().prop_map(Step::Acknowledge),
        2 => (at(), 1..8_u32).prop_map(|(at, len)| Step::Lose(at, at + len)),
        2 => Just(Step::Resend),
        1 => at().prop_map(Step::Split),
        1 => Just(Step::Renege),
    ];
    prop::collection::vec(step, 0..120)
}

/// What is known of one byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Byte {
    sacked: bool,
    lost: bool,
}

proptest! {
    /// The shortcuts through runs change nothing: each byte is as a walk along all entries has it.
    #[test]
    fn shortcuts_miss_nothing(steps in steps()) {
        const LEN: u32 = 10;
        let (mut slab, mut queue) = (SentSlab::new(300), SentQueue::default());
        let (mut bytes, mut una, mut nxt) = (Vec::<Byte>::new(), 0_u32, 0_u32);
        for step in steps {
            match step {
                Step::Push => {
                    queue.push(&mut slab, Instant::ZERO, SeqNumber(nxt), LEN as u16, Controls::default());
                    bytes.extend([Byte::default(); LEN as usize]);
                    nxt += LEN;
                }
                Step::Sack(from, to) => {
                    let (from, to) = ((from * LEN).max(una), (to * LEN).min(nxt));
                    queue.sack(&mut slab, (SeqNumber(from), SeqNumber(to)), |_| {});
                    if from < to {
                        let sacked = Byte { sacked: true, lost: false };
                        bytes[from as usize..to as usize].fill(sacked);
                    }
                }
                Step::Acknowledge(to) => {
                    una = una.max((to * LEN).min(nxt));
                    queue.acknowledge(&mut slab, SeqNumber(una), |_| {});
                }
                Step::Lose(from, to) => {
                    let within = from * LEN..to * LEN;
                    queue.mark_lost(&mut slab, |sent| Some(within.contains(&sent.seq.0)));
                    for at in within.start.max(una)..within.end.min(nxt).max(una) {
                        let byte = &mut bytes[at as usize];
                        byte.lost |= !byte.sacked;
                    }
                }
                Step::Resend => {
                    let Some((index, sent)) = queue.next_lost(&slab) else { continue };
                    let first = bytes.iter().skip(una as usize).position(|byte| byte.lost);
                    prop_assert_eq!(first.map(|at| una + at as u32), Some(sent.seq.0));
                    queue.resent(&mut slab, index, Instant::ZERO);
                    for at in sent.seq.0..sent.end().0 {
                        bytes[at as usize].lost = false;
                    }
                }
                Step::Split(at) => {
                    let Some(entry) = slab.entries.get(at as usize).copied() else { continue };
                    let live = queue.iter(&slab).any(|sent| sent.seq == entry.seq);
                    if live && entry.len == LEN as u16 {
                        queue.split(&mut slab, at, 4);
                    }
                }
                Step::Renege => {
                    queue.forget_sacks(&mut slab);
                    bytes.iter_mut().for_each(|byte| byte.sacked = false);
                }
            }
            prop_assert_eq!(queue.check(&slab, SeqNumber(una), SeqNumber(nxt)), Ok(()));
            for sent in queue.iter(&slab) {
                let known = Byte { sacked: sent.is_sacked(), lost: sent.is_lost() };
                for at in sent.seq.0..sent.end().0 {
                    prop_assert_eq!(bytes[at as usize], known, "byte {}", at);
                }
            }
        }
    }
}
