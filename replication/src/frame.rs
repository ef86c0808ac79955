//! Link datagrams. One UDP payload is one frame and its seal (`seal.rs`); a frame carries a
//! confirmation, a piece of a batch, or both. All integers are little-endian.
//!
//! ```text
//! bytes  always                          if CONFIRM                 if DATA
//!   4    magic "HFL1"                    8  next frame expected     8  frame sequence number
//!   1    version                         4  credit, in frames       2  payload length
//!   1    flags                           1  number of gaps          .. payload, to the end
//!   2    channel                         8  each gap: u32 frames
//!   8    epoch                              missing, then u32
//!   8    sender's incarnation               frames held
//!   8    receiver's incarnation
//! ```
//!
//! What is always there stays readable on the wire, so that it can be told why a datagram is
//! refused; the rest is encrypted.

use arrayvec::ArrayVec;

use crate::role::{Epoch, Incarnation};
use crate::seal::SEAL_BYTES;

const MAGIC: [u8; 4] = *b"HFL1";
/// Version of this layout and of the records inside.
pub const VERSION: u8 = 5;
/// Most gaps that one confirmation tells of; the rest is told by a later one.
pub const MAX_GAPS: usize = 16;

const FLAG_DATA: u8 = 1;
const FLAG_BATCH_END: u8 = 2;
const FLAG_CONFIRM: u8 = 4;
const FLAGS: u8 = FLAG_DATA | FLAG_BATCH_END | FLAG_CONFIRM;

/// What is always there.
pub(crate) const CLEAR_BYTES: usize = 32;
const CONFIRM_BYTES: usize = 13;
const GAP_BYTES: usize = 8;
const DATA_BYTES: usize = 10;
const MAX_HEADER_BYTES: usize = CLEAR_BYTES + CONFIRM_BYTES + MAX_GAPS * GAP_BYTES + DATA_BYTES;

/// Bytes of a datagram that a data frame's payload cannot use: there is always room for a
/// confirmation without gaps beside it.
pub const DATA_OVERHEAD_BYTES: usize = CLEAR_BYTES + CONFIRM_BYTES + DATA_BYTES + SEAL_BYTES;
/// Smallest datagram in which every confirmation fits.
pub const MIN_DATAGRAM_BYTES: usize = MAX_HEADER_BYTES + SEAL_BYTES;

/// Between whom a frame travels, and in which configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    pub channel: u16,
    pub epoch: Epoch,
    pub sender: Incarnation,
    pub receiver: Incarnation,
}

impl Address {
    /// The address of an answer.
    #[must_use]
    pub fn reversed(self) -> Address {
        Address { sender: self.receiver, receiver: self.sender, ..self }
    }
}

/// A run of frames that did not come, and the run that came after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    pub missing: u32,
    pub held: u32,
}

/// What the receiver has: every frame below `next`, then as the gaps tell, one after the other.
/// About frames behind the last gap nothing is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirm {
    pub next: u64,
    /// Frames from `next` on for which the receiver has room.
    pub credit: u32,
    pub gaps: ArrayVec<Gap, MAX_GAPS>,
}

/// A piece of a batch. The payloads of consecutive frames up to a batch end are the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data<'a> {
    pub sequence: u64,
    pub batch_end: bool,
    /// Never empty.
    pub payload: &'a [u8],
}

/// A datagram's content. At least one of `confirm` and `data` is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame<'a> {
    pub address: Address,
    pub confirm: Option<Confirm>,
    pub data: Option<Data<'a>>,
}

/// Why a datagram is not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("datagram of {length} bytes is cut off: {needed} bytes are needed")]
    Truncated { length: usize, needed: usize },
    #[error("datagram does not begin with the magic of the replication link")]
    NotOurs,
    #[error("datagram has version {0}, this node speaks version {VERSION}: run the same release")]
    Version(u8),
    #[error("datagram has flags {0:#04x}, which say nothing or contradict each other")]
    Flags(u8),
    #[error("datagram says {stated} bytes of payload and has {actual}")]
    Length { stated: usize, actual: usize },
    #[error("confirmation has {0} gaps, at most {MAX_GAPS} are allowed")]
    TooManyGaps(u8),
    #[error("frame or confirmation with impossible numbers")]
    Range,
}

/// A frame's bytes before its payload.
pub type Header = ArrayVec<u8, MAX_HEADER_BYTES>;

/// Writes everything of a frame but the payload, which follows the returned bytes on the wire.
///
/// # Panics
/// When a payload is longer than a UDP datagram can be; a session's limits exclude that.
#[must_use]
pub fn encode(address: &Address, confirm: Option<&Confirm>, data: Option<&Data<'_>>) -> Header {
    let mut header = Header::new();
    let mut put = |bytes: &[u8]| header.try_extend_from_slice(bytes).expect("sized for the most");
    let confirm_flag = if confirm.is_some() { FLAG_CONFIRM } else { 0 };
    let data_flags =
        data.map_or(0, |data| if data.batch_end { FLAG_DATA | FLAG_BATCH_END } else { FLAG_DATA });
    put(&MAGIC);
    put(&[VERSION, confirm_flag | data_flags]);
    put(&address.channel.to_le_bytes());
    put(&address.epoch.0.to_le_bytes());
    put(&address.sender.0.to_le_bytes());
    put(&address.receiver.0.to_le_bytes());
    if let Some(confirm) = confirm {
        put(&confirm.next.to_le_bytes());
        put(&confirm.credit.to_le_bytes());
        put(&[confirm.gaps.len() as u8]);
        for gap in &confirm.gaps {
            put(&gap.missing.to_le_bytes());
            put(&gap.held.to_le_bytes());
        }
    }
    if let Some(data) = data {
        let length = u16::try_from(data.payload.len()).expect("a payload fits a datagram");
        put(&data.sequence.to_le_bytes());
        put(&length.to_le_bytes());
    }
    header
}

/// For whom a datagram says that it is; true only if its seal proves it.
///
/// # Errors
/// When it does not begin like a frame of this version.
pub fn address_of(datagram: &[u8]) -> Result<Address, FrameError> {
    let mut reader = Reader { bytes: datagram, at: 0 };
    parse_start(&mut reader).map(|(_, address)| address)
}

/// Reads a frame without its seal.
///
/// # Errors
/// When it is not a whole frame of this version.
pub fn parse(frame: &[u8]) -> Result<Frame<'_>, FrameError> {
    let mut reader = Reader { bytes: frame, at: 0 };
    let (flags, address) = parse_start(&mut reader)?;
    let has_data = flags & FLAG_DATA != 0;
    let batch_end = flags & FLAG_BATCH_END != 0;
    if flags & !FLAGS != 0 || flags & (FLAG_DATA | FLAG_CONFIRM) == 0 || (batch_end && !has_data) {
        return Err(FrameError::Flags(flags));
    }
    let confirm = if flags & FLAG_CONFIRM != 0 { Some(parse_confirm(&mut reader)?) } else { None };
    let data = if has_data { Some(parse_data(&mut reader, batch_end)?) } else { None };
    let left = reader.rest().len();
    if left != 0 {
        return Err(FrameError::Length { stated: 0, actual: left });
    }
    Ok(Frame { address, confirm, data })
}

fn parse_start(reader: &mut Reader<'_>) -> Result<(u8, Address), FrameError> {
    if reader.array::<4>()? != MAGIC {
        return Err(FrameError::NotOurs);
    }
    let [version, flags] = reader.array()?;
    if version != VERSION {
        return Err(FrameError::Version(version));
    }
    let address = Address {
        channel: u16::from_le_bytes(reader.array()?),
        epoch: Epoch(reader.u64()?),
        sender: Incarnation(reader.u64()?),
        receiver: Incarnation(reader.u64()?),
    };
    Ok((flags, address))
}

fn parse_confirm(reader: &mut Reader<'_>) -> Result<Confirm, FrameError> {
    let next = reader.u64()?;
    let credit = reader.u32()?;
    let [count] = reader.array()?;
    if usize::from(count) > MAX_GAPS {
        return Err(FrameError::TooManyGaps(count));
    }
    let mut gaps = ArrayVec::new();
    for _ in 0..count {
        let gap = Gap { missing: reader.u32()?, held: reader.u32()? };
        if gap.missing == 0 || gap.held == 0 {
            return Err(FrameError::Range);
        }
        gaps.push(gap);
    }
    Ok(Confirm { next, credit, gaps })
}

fn parse_data<'a>(reader: &mut Reader<'a>, batch_end: bool) -> Result<Data<'a>, FrameError> {
    let sequence = reader.u64()?;
    let stated = usize::from(u16::from_le_bytes(reader.array()?));
    let payload = reader.rest();
    if payload.len() != stated || stated == 0 {
        return Err(FrameError::Length { stated, actual: payload.len() });
    }
    reader.at = reader.bytes.len();
    Ok(Data { sequence, batch_end, payload })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or(&[])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let Some(array) = self.rest().first_chunk::<N>() else {
            return Err(FrameError::Truncated { length: self.bytes.len(), needed: self.at + N });
        };
        self.at += N;
        Ok(*array)
    }

    fn u32(&mut self) -> Result<u32, FrameError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, FrameError> {
        self.array().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn addresses() -> impl Strategy<Value = Address> {
        (any::<u16>(), any::<u64>(), any::<u64>(), any::<u64>()).prop_map(
            |(channel, epoch, sender, receiver)| Address {
                channel,
                epoch: Epoch(epoch),
                sender: Incarnation(sender),
                receiver: Incarnation(receiver),
            },
        )
    }

    fn confirms() -> impl Strategy<Value = Confirm> {
        let gaps = prop::collection::vec((1..u32::MAX, 1..u32::MAX), 0..=MAX_GAPS);
        (any::<u64>(), any::<u32>(), gaps).prop_map(|(next, credit, gaps)| Confirm {
            next,
            credit,
            gaps: gaps.into_iter().map(|(missing, held)| Gap { missing, held }).collect(),
        })
    }

    fn datagram(address: &Address, confirm: Option<&Confirm>, data: Option<&Data<'_>>) -> Vec<u8> {
        let mut bytes = encode(address, confirm, data).to_vec();
        bytes.extend_from_slice(data.map_or(&[], |data| data.payload));
        bytes
    }

    proptest! {
        #[test]
        fn frames_round_trip_and_every_cut_is_seen(
            address in addresses(),
            confirm in prop::option::of(confirms()),
            data in prop::option::of((any::<u64>(), any::<bool>(),
                prop::collection::vec(any::<u8>(), 1..600))),
            place in any::<prop::sample::Index>(), flip in 1..=255_u8,
        ) {
            prop_assume!(confirm.is_some() || data.is_some());
            let data = data.as_ref().map(|(sequence, batch_end, payload)| Data {
                sequence: *sequence, batch_end: *batch_end, payload,
            });
            let mut bytes = datagram(&address, confirm.as_ref(), data.as_ref());
            let parsed = parse(&bytes).expect("what was written can be read");
            prop_assert_eq!(parsed.address, address);
            prop_assert_eq!(parsed.confirm, confirm);
            prop_assert_eq!(parsed.data, data);

            let cut = place.index(bytes.len());
            prop_assert!(parse(&bytes[..cut]).is_err());
            bytes.push(flip);
            prop_assert!(parse(&bytes).is_err());
        }

        #[test]
        fn arbitrary_bytes_behind_a_good_start_never_panic(
            flags in any::<u8>(), tail in prop::collection::vec(any::<u8>(), 0..200)
        ) {
            let bytes = [&MAGIC[..], &[VERSION, flags], &[0; 26], &tail].concat();
            prop_assert!(address_of(&bytes).is_ok());
            if let Ok(Frame { address, confirm, data }) = parse(&bytes) {
                let written = datagram(&address, confirm.as_ref(), data.as_ref());
                prop_assert_eq!(written, bytes);
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(parse(&bytes).is_err());
        }
    }

    #[test]
    fn other_version_and_other_magic_are_told_apart() {
        let address = Address {
            channel: 0,
            epoch: Epoch(1),
            sender: Incarnation(1),
            receiver: Incarnation(2),
        };
        let data = Data { sequence: 0, batch_end: true, payload: b"x" };
        let mut bytes = datagram(&address, None, Some(&data));
        bytes[4] = 9;
        assert_eq!(parse(&bytes), Err(FrameError::Version(9)));
        bytes[0] = 0;
        assert_eq!(parse(&bytes), Err(FrameError::NotOurs));
    }
}
