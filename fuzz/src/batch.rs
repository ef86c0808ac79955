//! Batches of records and link frames, as they come off the wire.

use arrayvec::ArrayVec;
use replication::frame::{self, Confirm, Data, Frame};
use replication::record::{HEADER_BYTES, Record, Records, header};

/// Where a frame has its checksum.
const CHECKSUM: std::ops::Range<usize> = 32..36;

pub fn run(input: &[u8]) {
    let Some((&mode, bytes)) = input.split_first() else { return };
    match mode % 3 {
        0 => records(bytes),
        1 => parse(bytes),
        _ => parse(&mended(bytes)),
    }
}

fn records(bytes: &[u8]) {
    let mut at = 0;
    for record in Records::new(bytes) {
        let Ok(Record { shard, kind, body }) = record else {
            assert!(at < bytes.len(), "an error without bytes");
            assert!(Record::parse(&bytes[at..]).is_err());
            return;
        };
        let written = [&header(shard, kind, body.len() as u32)[..], body].concat();
        assert_eq!(written, bytes[at..at + HEADER_BYTES + body.len()]);
        at += written.len();
    }
    assert_eq!(at, bytes.len(), "bytes that nobody complained of");
}

/// With magic, version and checksum as they must be.
fn mended(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if bytes.len() < CHECKSUM.end {
        return bytes;
    }
    bytes[..4].copy_from_slice(b"HFL1");
    bytes[4] = frame::VERSION;
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&bytes[..CHECKSUM.start]);
    checksum.update(&bytes[CHECKSUM.end..]);
    bytes[CHECKSUM].copy_from_slice(&checksum.finalize().to_le_bytes());
    bytes
}

fn parse(bytes: &[u8]) {
    let Ok(Frame { address, confirm, data }) = frame::parse(bytes) else { return };
    let gaps: ArrayVec<_, { frame::MAX_GAPS }> =
        confirm.iter().flat_map(|confirm| confirm.gaps.clone()).collect();
    assert!(gaps.iter().all(|gap| gap.missing > 0 && gap.held > 0));
    let confirm: Option<Confirm> = confirm;
    let mut written = frame::encode(&address, confirm.as_ref(), data.as_ref()).to_vec();
    written.extend_from_slice(data.map_or(&[], |data: Data<'_>| data.payload));
    assert_eq!(written, bytes, "what was read is what was written");
    if let Some(data) = data {
        records(data.payload);
    }
}
