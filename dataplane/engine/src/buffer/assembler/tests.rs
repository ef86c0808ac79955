use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// One byte of data by its offset, and the insertion that brought it.
type Model = BTreeMap<u32, u8>;

fn model_ranges(model: &Model) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for &offset in model.keys() {
        match ranges.last_mut() {
            Some((_, end)) if *end == offset => *end += 1,
            _ => ranges.push((offset, offset + 1)),
        }
    }
    ranges
}

fn contents(assembler: &Assembler, buffers: &Buffers, base: SeqNumber) -> Model {
    let mut all = Model::new();
    for range in assembler.iter(buffers) {
        let bytes: Vec<&[u8]> = range.data.slices(&buffers.blocks, 0).collect();
        let start = (range.start - base) as u32;
        all.extend(bytes.concat().into_iter().enumerate().map(|(i, b)| (start + i as u32, b)));
    }
    all
}

fn reload(assembler: &Assembler, buffers: &Buffers) -> (Assembler, Buffers) {
    let mut saved = Vec::new();
    assembler.save(buffers, &mut Writer::new(&mut saved));
    let mut restored_buffers = Buffers::new(buffers.blocks.capacity(), 0);
    let mut reader = Reader::new(&saved);
    let restored = Assembler::restore(&mut restored_buffers, &mut reader).unwrap();
    reader.finish().unwrap();
    let mut again = Vec::new();
    restored.save(&restored_buffers, &mut Writer::new(&mut again));
    assert_eq!(again, saved);
    assert_eq!(restored_buffers.blocks.used(), buffers.blocks.used());
    assert_eq!(restored.bytes(), assembler.bytes());
    (restored, restored_buffers)
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u32, u32),
    Take(u32),
    Reload,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        8 => (1u32..6000, 0u32..1500).prop_map(|(at, len)| Op::Insert(at, len)),
        8 => (1u32..200, 0u32..20).prop_map(|(at, len)| Op::Insert(at, len)),
        2 => (0u32..500).prop_map(Op::Take),
        1 => Just(Op::Reload),
    ];
    prop::collection::vec(op, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn behaves_like_a_map_of_bytes(first: u32, ops in ops()) {
        let mut buffers = Buffers::new(200, 0);
        let (mut assembler, mut model) = (Assembler::new(), Model::new());
        let base = SeqNumber(first);
        let mut next = 0u32;
        for (round, op) in ops.into_iter().enumerate() {
            match op {
                Op::Insert(at, len) => {
                    let (start, byte) = (next + at, round as u8);
                    let data = vec![byte; len as usize];
                    let stored = assembler.insert(&mut buffers, base + start, &data, 1 << 20);
                    let had = model.clone();
                    for offset in start..start + len {
                        model.entry(offset).or_insert(byte);
                    }
                    // With all ranges in use that it may have, new ones are dropped; nothing else
                    // ever is.
                    if model_ranges(&model).len() > CRUMBS {
                        model = contents(&assembler, &buffers, base);
                        prop_assert!(had.iter().all(|(k, v)| model.get(k) == Some(v)));
                    }
                    prop_assert_eq!(stored, model.len() - had.len());
                    let newest = assembler.sack_blocks(&buffers).first().copied();
                    if let Some((from, to)) = newest.filter(|_| stored > 0) {
                        let (from, to) = ((from - base) as u32, (to - base) as u32);
                        prop_assert!(from < start + len && start < to);
                    }
                }
                Op::Take(n) => {
                    next += n;
                    let mut chain = assembler.take_front(&mut buffers, base + next);
                    let taken: Vec<&[u8]> = chain.slices(&buffers.blocks, 0).collect();
                    let taken = taken.concat();
                    model = model.split_off(&next);
                    for byte in taken {
                        prop_assert_eq!(model.remove(&next), Some(byte));
                        next += 1;
                    }
                    prop_assert!(!model.contains_key(&next));
                    chain.clear(&mut buffers.blocks);
                }
                Op::Reload => (assembler, buffers) = reload(&assembler, &buffers),
            }
            prop_assert_eq!(&contents(&assembler, &buffers, base), &model);
            prop_assert_eq!(assembler.bytes() as usize, model.len());
            let ranges = model_ranges(&model);
            prop_assert_eq!(assembler.ranges(&buffers), ranges.len());
            let blocks = assembler.sack_blocks(&buffers);
            prop_assert_eq!(blocks.len(), ranges.len().min(MAX_SACK_BLOCKS));
            for (from, to) in blocks {
                prop_assert!(ranges.contains(&((from - base) as u32, (to - base) as u32)));
            }
        }
        assembler.clear(&mut buffers);
        prop_assert_eq!((buffers.blocks.used(), buffers.ranges.used()), (0, 0));
    }

    #[test]
    fn neither_limit_nor_pool_is_exceeded(
        limit in 0u32..6000,
        blocks in 0u32..4,
        inserts in prop::collection::vec((1u32..9000, 0usize..3000), 0..40)
    ) {
        let mut buffers = Buffers::new(blocks, 0);
        let mut assembler = Assembler::new();
        for (at, len) in inserts {
            let before = assembler.bytes() as usize;
            let stored = assembler.insert(&mut buffers, SeqNumber(at), &vec![1; len], limit);
            prop_assert_eq!(assembler.bytes() as usize, before + stored);
            prop_assert_eq!(contents(&assembler, &buffers, SeqNumber(0)).len(), before + stored);
            prop_assert!(assembler.bytes() <= limit);
        }
    }

    #[test]
    fn restoring_any_bytes_is_safe(bytes in prop::collection::vec(0u8..4, 0..200)) {
        let _ = Assembler::restore(&mut Buffers::new(4, 0), &mut Reader::new(&bytes));
    }
}

fn insert(assembler: &mut Assembler, buffers: &mut Buffers, from: u32, to: u32) {
    let data = vec![0; (to - from) as usize];
    assembler.insert(buffers, SeqNumber(from), &data, 1 << 20);
}

#[test]
fn reports_the_range_of_the_last_segment_first_even_of_a_duplicate() {
    let (mut assembler, mut buffers) = (Assembler::new(), Buffers::new(20, 0));
    for start in [100, 200, 300, 400, 500] {
        insert(&mut assembler, &mut buffers, start, start + 50);
    }
    insert(&mut assembler, &mut buffers, 210, 220);
    let starts: Vec<u32> =
        assembler.sack_blocks(&buffers).iter().map(|(start, _)| start.0).collect();
    assert_eq!(starts, [200, 500, 400, 300]);
    insert(&mut assembler, &mut buffers, 350, 400);
    let blocks = assembler.sack_blocks(&buffers);
    assert_eq!(blocks[0], (SeqNumber(300), SeqNumber(450)));
}

#[test]
fn bytes_that_come_one_by_one_from_behind_share_blocks() {
    let (mut assembler, mut buffers) = (Assembler::new(), Buffers::new(20, 0));
    for at in (1..4000).rev() {
        insert(&mut assembler, &mut buffers, at, at + 1);
    }
    assert_eq!((assembler.ranges(&buffers), assembler.bytes()), (1, 3999));
    assert!(buffers.blocks.used() <= 3, "{} blocks", buffers.blocks.used());
}

/// As many pieces of `len` bytes as it takes, with a gap before each.
fn pieces(len: usize) -> usize {
    let mut buffers = Buffers::new(1000, 0);
    let mut assembler = Assembler::new();
    let data = vec![0; len];
    let takes = |at: &u32| {
        let seq = SeqNumber(1 + at * 2000);
        assembler.insert(&mut buffers, seq, &data, 1 << 20) == len
    };
    (0..1000_u32).take_while(takes).count()
}

#[test]
fn segments_may_leave_more_gaps_than_crumbs() {
    assert_eq!([pieces(1), pieces(535), pieces(536), pieces(1460)], [32, 32, 128, 128]);
}
