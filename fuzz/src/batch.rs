//! Batches of records and link frames, as they come off the wire.

use arrayvec::ArrayVec;
use replication::frame::{self, Confirm, Data, Frame};
use replication::record::{HEADER_BYTES, Record, Records, header};

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

/// With magic and version as they must be.
fn mended(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if let Some(start) = bytes.first_chunk_mut::<5>() {
        start[..4].copy_from_slice(b"HFL1");
        start[4] = frame::VERSION;
    }
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
