//! `net_ring`: what is sent comes back. Ownership of frames, seen through the pool's counts.

use arrayvec::ArrayVec;
use dpdk::{ChecksumStatus, Mbuf, QueueCounters, TxChecksum, free_burst};

use crate::{isolate, node};

#[test]
fn frames_keep_their_bytes_and_their_owner() {
    isolate::alone("ring::frames_keep_their_bytes_and_their_owner", || {
        let mut node = node::node("ring", "", 1500);
        let pool = node.pool;
        let total = pool.available();
        let mut frames = ArrayVec::<Mbuf, 32>::new();
        assert!(pool.allocate_burst(&mut frames));
        assert_eq!(pool.in_use(), 32);
        for (number, frame) in frames.iter_mut().enumerate() {
            assert!(frame.extend_from_slice(b"payload"));
            frame.prepend(2).unwrap().copy_from_slice(&[number as u8, 0xaa]);
        }

        assert_eq!(node.queues.tx.transmit(&mut frames), 32);
        assert!(frames.is_empty());
        assert_eq!(pool.in_use(), 32, "the frames are the device's");
        assert_eq!(node.queues.rx.receive(&mut frames), 32);
        for (number, frame) in frames.iter().enumerate() {
            assert_eq!(frame.data()[..2], [number as u8, 0xaa]);
            assert_eq!(&frame.data()[2..], b"payload");
        }

        drop(frames.pop());
        assert_eq!(pool.in_use(), 31);
        free_burst(&mut frames);
        assert_eq!((pool.in_use(), pool.available(), frames.len()), (0, total, 0));
    });
}

#[test]
fn what_a_full_queue_does_not_take_stays_with_the_caller_in_order() {
    isolate::alone("ring::what_a_full_queue_does_not_take_stays_with_the_caller_in_order", || {
        let mut node = node::node("ring", "", 1500);
        let (mut accepted, mut frames) = (0u32, ArrayVec::<Mbuf, 30>::new());
        loop {
            let first = accepted;
            while !frames.is_full() {
                let mut frame = node.pool.allocate().unwrap();
                frame.extend_from_slice(&(first + frames.len() as u32).to_be_bytes());
                frames.push(frame);
            }
            let sent = node.queues.tx.transmit(&mut frames) as u32;
            accepted += sent;
            assert_eq!(frames.len() as u32, 30 - sent);
            if let Some(frame) = frames.first() {
                assert_eq!(frame.data(), accepted.to_be_bytes());
                break;
            }
        }
        assert_eq!(node.pool.in_use(), accepted + frames.len() as u32);
        let mut next = 0u32;
        let mut back = ArrayVec::<Mbuf, 32>::new();
        while node.queues.rx.receive(&mut back) > 0 {
            for frame in back.drain(..) {
                assert_eq!(frame.data(), next.to_be_bytes());
                next += 1;
            }
        }
        assert_eq!(next, accepted);
        drop(frames);
        assert_eq!(node.pool.in_use(), 0);
    });
}

#[test]
fn received_frames_are_put_behind_those_already_held() {
    isolate::alone("ring::received_frames_are_put_behind_those_already_held", || {
        let mut node = node::node("ring", "", 1500);
        let mut frames = ArrayVec::<Mbuf, 8>::new();
        assert!(node.pool.allocate_burst(&mut frames));
        node.queues.tx.transmit(&mut frames);
        frames.extend((0..5).map(|_| node.pool.allocate().unwrap()));
        assert_eq!(node.queues.rx.receive(&mut frames), 3);
        assert_eq!(node.queues.rx.receive(&mut frames), 0, "full");
        drop(frames);
        let mut rest = ArrayVec::<Mbuf, 8>::new();
        assert_eq!(node.queues.rx.receive(&mut rest), 5);
        drop(rest);
        assert_eq!(node.pool.in_use(), 0);
    });
}

#[test]
fn jumbo_frames_have_one_segment() {
    isolate::alone("ring::jumbo_frames_have_one_segment", || {
        let mut node = node::node("ring", "", 9000);
        let mut frames = ArrayVec::<Mbuf, 1>::new();
        frames.push(node.pool.allocate().unwrap());
        frames[0].append(9014).unwrap().fill(7);
        assert_eq!(node.queues.tx.transmit(&mut frames), 1);
        assert_eq!(node.queues.rx.receive(&mut frames), 1);
        assert_eq!(frames[0].data(), [7; 9014]);
        assert_eq!(node.queues.rx.counters(), QueueCounters::default());
    });
}

#[test]
fn a_frame_never_leaves_its_buffer() {
    isolate::alone("ring::a_frame_never_leaves_its_buffer", || {
        let node = node::node("ring", "", 1500);
        let mut frame = node.pool.allocate().unwrap();
        assert_eq!((frame.len(), frame.headroom(), frame.tailroom()), (0, 128, 2048));
        assert!(frame.append(2049).is_none() && frame.prepend(129).is_none());
        assert!(!frame.extend_from_slice(&[0; 2049]) && !frame.trim_front(1));
        assert!(frame.is_empty());
        assert_eq!(frame.append(2048).map(|room| room.len()), Some(2048));
        assert_eq!(frame.prepend(128).map(|room| room.len()), Some(128));
        assert!(frame.append(1).is_none() && frame.prepend(1).is_none());
        frame.truncate(3000);
        assert_eq!(frame.len(), 2176);
        assert!(frame.trim_front(2000));
        frame.truncate(10);
        assert_eq!((frame.len(), frame.headroom(), frame.tailroom()), (10, 2000, 166));
        assert_eq!(frame.rx_checksum(), ChecksumStatus::Unknown);
        assert_eq!(frame.rss_hash(), None);
        frame.request_tx_checksum(TxChecksum { l2_len: 14, l3_len: 20, ..Default::default() });
        frame.clear_offloads();
    });
}

#[test]
fn a_port_stays_open_as_long_as_one_of_its_queues_is_held() {
    isolate::alone("ring::a_port_stays_open_as_long_as_one_of_its_queues_is_held", || {
        let mut node = node::node("ring", "", 1500);
        drop(node.port);
        let mut frames = ArrayVec::<Mbuf, 4>::new();
        assert!(node.pool.allocate_burst(&mut frames));
        assert_eq!(node.queues.tx.transmit(&mut frames), 4);
        assert_eq!(node.queues.rx.receive(&mut frames), 4);
        drop((frames, node.queues));
        assert_eq!(node.pool.in_use(), 0);
    });
}
