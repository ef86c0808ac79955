use proptest::prelude::*;

use super::*;
use crate::buffer::BLOCK_BYTES;

const FILE: [u8; 4] = [3, 1, 4, 1];

/// A made-up file: its bytes follow from its number and the offset.
fn content_byte(file: u32, offset: u64) -> u8 {
    FILE[file as usize].wrapping_add(offset as u8)
}

fn content(file: u32, offset: u64, len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| content_byte(file, offset + i)).collect()
}

fn pattern_bytes(offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    pattern::fill(offset, &mut bytes);
    bytes
}

#[derive(Clone, Debug)]
enum Op {
    Bytes(Vec<u8>),
    Content(u32, u64, u64),
    Pattern(u64, u64),
    Advance(usize),
    Gather(usize, usize),
    Reload,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        3 => prop::collection::vec(any::<u8>(), 0..5000).prop_map(Op::Bytes),
        2 => prop::collection::vec(any::<u8>(), 0..10).prop_map(Op::Bytes),
        2 => (0u32..4, 0u64..3, 0u64..4000).prop_map(|(f, o, l)| Op::Content(f, o, l)),
        2 => (0u64..3, 0u64..4000).prop_map(|(o, l)| Op::Pattern(o, l)),
        3 => (0usize..6000).prop_map(Op::Advance),
        6 => (any::<usize>(), 0usize..4000).prop_map(|(o, l)| Op::Gather(o, l)),
        1 => Just(Op::Reload),
    ];
    prop::collection::vec(op, 0..60)
}

/// Gathers and makes the bytes of one segment.
fn read(queue: &mut SendQueue, buffers: &Buffers, offset: u64, len: usize) -> Vec<u8> {
    let mut parts = ArrayVec::new();
    let gathered = queue.gather(buffers, offset, len, &mut parts);
    let mut bytes = Vec::new();
    for part in &parts {
        match *part {
            Part::Bytes(part) => bytes.extend_from_slice(part),
            Part::Content { file, offset, len } => bytes.extend(content(file, offset, len)),
            Part::Pattern { offset, len } => bytes.extend(pattern_bytes(offset, len)),
        }
    }
    assert_eq!(bytes.len(), gathered);
    assert!(gathered == len || parts.is_full() || offset + gathered as u64 >= queue.len());
    bytes
}

fn reload(queue: &SendQueue, buffers: &Buffers) -> (SendQueue, Buffers) {
    let mut saved = Vec::new();
    queue.save(buffers, &mut Writer::new(&mut saved));
    let mut restored_buffers = Buffers::new(buffers.blocks.capacity(), buffers.references);
    let mut reader = Reader::new(&saved);
    let restored = SendQueue::restore(&mut restored_buffers, &mut reader, |file, _, _| file < 4);
    reader.finish().unwrap();
    assert_eq!(restored_buffers.blocks.used(), buffers.blocks.used());
    assert_eq!(restored_buffers.extents.used(), buffers.extents.used());
    assert_eq!(restored_buffers.references_used, buffers.references_used);
    (restored.unwrap(), restored_buffers)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn behaves_like_a_vec(ops in ops()) {
        let mut buffers = Buffers::new(10, 4);
        let (mut queue, mut model) = (SendQueue::new(), Vec::<u8>::new());
        for op in ops {
            match op {
                Op::Bytes(bytes) => {
                    let n = queue.push_bytes(&mut buffers, &bytes);
                    prop_assert!(n == bytes.len() || buffers.blocks.free() == 0);
                    model.extend_from_slice(&bytes[..n]);
                }
                Op::Content(file, offset, len) => {
                    if queue.push_content(&mut buffers, file, offset, len) {
                        model.extend(content(file, offset, len as usize));
                    } else {
                        prop_assert_eq!(buffers.free_references(), 0);
                    }
                }
                Op::Pattern(offset, len) => {
                    if queue.push_pattern(&mut buffers, offset, len) {
                        model.extend(pattern_bytes(offset, len as usize));
                    } else {
                        prop_assert_eq!(buffers.free_references(), 0);
                    }
                }
                Op::Advance(n) => {
                    let n = n.min(model.len());
                    queue.advance(&mut buffers, n as u64);
                    model.drain(..n);
                }
                Op::Gather(offset, len) => {
                    let offset = offset % (model.len() + 2);
                    let bytes = read(&mut queue, &buffers, offset as u64, len);
                    prop_assert_eq!(&bytes[..], &model[offset.min(model.len())..][..bytes.len()]);
                }
                Op::Reload => (queue, buffers) = reload(&queue, &buffers),
            }
            prop_assert_eq!(queue.len(), model.len() as u64);
            let (mut all, mut offset) = (Vec::new(), 0);
            while offset < queue.len() {
                let bytes = read(&mut queue, &buffers, offset, 1460);
                offset += bytes.len() as u64;
                all.extend(bytes);
            }
            prop_assert_eq!(&all, &model);
        }
        queue.clear(&mut buffers);
        prop_assert_eq!((buffers.blocks.used(), buffers.extents.used()), (0, 0));
        prop_assert_eq!(buffers.references_used, 0);
    }

    #[test]
    fn restoring_any_bytes_is_safe(bytes in prop::collection::vec(0u8..5, 0..200)) {
        let mut buffers = Buffers::new(4, 2);
        let _ = SendQueue::restore(&mut buffers, &mut Reader::new(&bytes), |_, _, _| true);
    }
}

#[test]
fn an_endless_pattern_takes_one_reference() {
    let mut buffers = Buffers::new(1, 1);
    let mut queue = SendQueue::new();
    for i in 0..1000 {
        assert!(queue.push_pattern(&mut buffers, i * 1_000_000, 1_000_000));
        queue.advance(&mut buffers, 900_000);
    }
    assert_eq!((queue.len(), buffers.free_references()), (100_000_000, 0));
}

#[test]
fn a_queue_never_counts_beyond_64_bits() {
    let mut buffers = Buffers::new(1, 2);
    let mut queue = SendQueue::new();
    assert!(queue.push_pattern(&mut buffers, 0, u64::MAX - 1));
    assert!(!queue.push_content(&mut buffers, 0, 0, 2));
}

#[test]
fn sending_on_and_sending_again_each_remember_their_place() {
    let mut buffers = Buffers::new(100, 0);
    let mut queue = SendQueue::new();
    queue.push_bytes(&mut buffers, &[7; 100 * BLOCK_BYTES]);
    for i in 0..40 {
        read(&mut queue, &buffers, 100_000 + i * 1000, 1000);
        read(&mut queue, &buffers, i * 1000, 1000);
    }
    let place = |which: usize| queue.cursors[which].start / 1000;
    assert!(place(NEW_DATA) >= 136 && (36..40).contains(&place(SENT_AGAIN)));

    // Once the place for new data has left the queue, it is found anew and not mistaken for that
    // of whatever uses its extent now.
    queue.advance(&mut buffers, 150_000);
    queue.push_bytes(&mut buffers, &[8; 50 * BLOCK_BYTES]);
    let end = queue.len();
    let bytes = read(&mut queue, &buffers, end - 1000, 1000);
    assert_eq!(bytes, [8; 1000]);
    assert_eq!(u64::from(queue.cursors[NEW_DATA].start), end - BLOCK_BYTES as u64);
}

#[test]
fn parts_resolve_into_slices() {
    let file = [1, 2, 3, 4];
    let parts = [
        Part::Pattern { offset: 70_000, len: 3 },
        Part::Bytes(b"ab"),
        Part::Content { file: 0, offset: 1, len: 2 },
        Part::Pattern { offset: 9, len: 2 },
    ];
    let mut scratch = [0; 5];
    let slices = resolve(&parts, |_, at, len| &file[at as usize..][..len], &mut scratch);
    let expected =
        [pattern_bytes(70_000, 3), b"ab".to_vec(), vec![2, 3], pattern_bytes(9, 2)].concat();
    assert_eq!(slices.concat(), expected);
}
