//! `net_pcap`: frames from a capture file, frames into one.

use arrayvec::ArrayVec;
use dpdk::Mbuf;

use crate::{isolate, node};

const GLOBAL_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;

#[test]
fn replays_a_capture_into_another() {
    isolate::alone("pcap::replays_a_capture_into_another", || {
        let folder = std::env::temp_dir().join(format!("hf-t-pcap-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (from, to) = (folder.join("in.pcap"), folder.join("out.pcap"));
        let frames: Vec<Vec<u8>> = [60usize, 333, 1514]
            .iter()
            .map(|len| (0..*len).map(|index| (index ^ len) as u8).collect())
            .collect();
        std::fs::write(&from, capture(&frames)).unwrap();

        let device = format!("rx_pcap={},tx_pcap={}", from.display(), to.display());
        let mut node = node::node("pcap", &device, 1500);
        let mut received = ArrayVec::<Mbuf, 32>::new();
        isolate::wait_for("three frames", || {
            node.queues.rx.receive(&mut received);
            (received.len() == frames.len()).then_some(())
        });
        assert!(received.iter().zip(&frames).all(|(frame, sent)| frame.data() == sent.as_slice()));
        assert_eq!(node.queues.tx.transmit(&mut received), 3);
        drop((node.port, node.queues));
        assert_eq!(node.pool.in_use(), 0);
        assert_eq!(read(&std::fs::read(&to).unwrap()), frames);
        std::fs::remove_dir_all(folder).unwrap();
    });
}

fn capture(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 65_535, 1] {
        file.extend(word.to_le_bytes());
    }
    for frame in frames {
        for word in [0, 0, frame.len() as u32, frame.len() as u32] {
            file.extend(word.to_le_bytes());
        }
        file.extend(frame);
    }
    file
}

fn read(file: &[u8]) -> Vec<Vec<u8>> {
    let (mut rest, mut frames) = (&file[GLOBAL_HEADER..], Vec::new());
    while !rest.is_empty() {
        let len = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
        frames.push(rest[RECORD_HEADER..RECORD_HEADER + len].to_vec());
        rest = &rest[RECORD_HEADER + len..];
    }
    frames
}
