//! TCP headers (RFC 9293 section 3.1) and their options.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

use arrayvec::ArrayVec;

use super::{Malformed, be16, be32, split};
use crate::seq::SeqNumber;

/// Length of a header without options.
pub const HEADER_LEN: usize = 20;
/// Longest possible options.
pub const MAX_OPTIONS_LEN: usize = 40;
/// Offset of the checksum in the header.
pub(super) const CHECKSUM_AT: usize = 16;

/// The control bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(pub u8);

impl Flags {
    /// No more data from the sender.
    pub const FIN: Flags = Flags(0x01);
    /// Synchronize sequence numbers.
    pub const SYN: Flags = Flags(0x02);
    /// Reset the connection.
    pub const RST: Flags = Flags(0x04);
    /// Push.
    pub const PSH: Flags = Flags(0x08);
    /// The acknowledgment field is significant.
    pub const ACK: Flags = Flags(0x10);
    /// The urgent pointer is significant.
    pub const URG: Flags = Flags(0x20);
    /// ECN echo (RFC 3168).
    pub const ECE: Flags = Flags(0x40);
    /// Congestion window reduced (RFC 3168).
    pub const CWR: Flags = Flags(0x80);

    /// None of them.
    pub const NONE: Flags = Flags(0);

    /// Has all of `flags`.
    #[inline]
    pub const fn contains(self, flags: Flags) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Has at least one of `flags`.
    #[inline]
    pub const fn intersects(self, flags: Flags) -> bool {
        self.0 & flags.0 != 0
    }

    /// All but `flags`.
    #[inline]
    #[must_use]
    pub const fn without(self, flags: Flags) -> Flags {
        Flags(self.0 & !flags.0)
    }

    /// FIN is set.
    #[inline]
    pub const fn fin(self) -> bool {
        self.contains(Flags::FIN)
    }

    /// SYN is set.
    #[inline]
    pub const fn syn(self) -> bool {
        self.contains(Flags::SYN)
    }

    /// RST is set.
    #[inline]
    pub const fn rst(self) -> bool {
        self.contains(Flags::RST)
    }

    /// ACK is set.
    #[inline]
    pub const fn ack(self) -> bool {
        self.contains(Flags::ACK)
    }
}

impl BitOr for Flags {
    type Output = Flags;

    #[inline]
    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl BitOrAssign for Flags {
    #[inline]
    fn bitor_assign(&mut self, other: Flags) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 8] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];
        let set = NAMES.iter().enumerate().filter(|(bit, _)| self.0 >> bit & 1 == 1);
        let names: ArrayVec<&str, 8> = set.map(|(_, name)| *name).collect();
        f.write_str(if names.is_empty() { "-" } else { "" })?;
        names.iter().enumerate().try_for_each(|(i, name)| {
            f.write_str(if i > 0 { "," } else { "" })?;
            f.write_str(name)
        })
    }
}

/// The timestamps option (RFC 7323 section 3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Timestamps {
    /// The sender's clock (TSval).
    pub value: u32,
    /// The receiver's clock, echoed (TSecr); means something only with ACK.
    pub echo: u32,
}

/// A SACK block: first sequence number in it, and first one behind it (RFC 2018 section 3).
pub type SackBlock = (SeqNumber, SeqNumber);
/// Most SACK blocks that a header has room for.
pub const MAX_SACK_BLOCKS: usize = 4;

/// The options that this stack speaks; others are skipped.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// Maximum segment size in bytes (RFC 9293 section 3.7.1). Only in a SYN.
    pub mss: Option<u16>,
    /// Window scale shift count as received; above 14 means 14 (RFC 7323 section 2.3).
    /// Only in a SYN.
    pub window_scale: Option<u8>,
    /// Timestamps.
    pub timestamps: Option<Timestamps>,
    /// SACK permitted. Only in a SYN.
    pub sack_permitted: bool,
    /// SACK blocks, most recent first.
    pub sack: ArrayVec<SackBlock, MAX_SACK_BLOCKS>,
}

const KIND_END: u8 = 0;
const KIND_NOP: u8 = 1;
const KIND_MSS: u8 = 2;
const KIND_WINDOW_SCALE: u8 = 3;
const KIND_SACK_PERMITTED: u8 = 4;
const KIND_SACK: u8 = 5;
const KIND_TIMESTAMPS: u8 = 8;

pub(super) const ALIGNED_TIMESTAMPS: [u8; 4] = [KIND_NOP, KIND_NOP, KIND_TIMESTAMPS, 10];
const ALIGNED_TIMESTAMPS_LEN: usize = 12;
const SACK_BLOCK_LEN: usize = 8;

impl Options {
    /// Reads the options part of a header. An option of a known kind but another length than its
    /// RFC gives is skipped like an unknown one.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Options, Malformed> {
        let mut options = Options::default();
        // Nearly every segment of a connection with timestamps has just these (RFC 7323
        // appendix A).
        if bytes.len() == ALIGNED_TIMESTAMPS_LEN && bytes.starts_with(&ALIGNED_TIMESTAMPS) {
            options.timestamps = Some(timestamps(&bytes[4..]));
            return Ok(options);
        }
        options.parse_all(bytes)?;
        Ok(options)
    }

    fn parse_all(&mut self, mut bytes: &[u8]) -> Result<(), Malformed> {
        while let [kind, rest @ ..] = bytes {
            if *kind == KIND_END {
                break;
            }
            if *kind == KIND_NOP {
                bytes = rest;
                continue;
            }
            let len = usize::from(*rest.first().ok_or(Malformed::Option)?);
            let data = bytes.get(2..len).ok_or(Malformed::Option)?;
            match (*kind, data.len()) {
                (KIND_MSS, 2) => self.mss = Some(be16(data, 0)),
                (KIND_WINDOW_SCALE, 1) => self.window_scale = Some(data[0]),
                (KIND_SACK_PERMITTED, 0) => self.sack_permitted = true,
                (KIND_TIMESTAMPS, 8) => self.timestamps = Some(timestamps(data)),
                (KIND_SACK, len) if len % SACK_BLOCK_LEN == 0 => {
                    self.sack = data
                        .chunks_exact(SACK_BLOCK_LEN)
                        .take(MAX_SACK_BLOCKS)
                        .map(|block| (SeqNumber(be32(block, 0)), SeqNumber(be32(block, 4))))
                        .collect();
                }
                _ => {}
            }
            bytes = &bytes[len..];
        }
        Ok(())
    }

    /// Most SACK blocks that fit beside the other options that are set.
    #[inline]
    pub fn sack_room(&self) -> usize {
        let left = MAX_OPTIONS_LEN - self.len_without_sack();
        (left.saturating_sub(4) / SACK_BLOCK_LEN).min(MAX_SACK_BLOCKS)
    }

    /// Length as emitted: a multiple of 4.
    #[inline]
    pub fn emitted_len(&self) -> usize {
        self.len_without_sack() + self.emitted_sack().map_or(0, |n| 4 + n * SACK_BLOCK_LEN)
    }

    /// Writes the options and returns their length, a multiple of 4. Of the SACK blocks only the
    /// first [`Options::sack_room`] are written.
    ///
    /// # Panics
    /// If `out` is shorter than [`Options::emitted_len`].
    #[inline]
    pub fn emit(&self, out: &mut [u8]) -> usize {
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        if let Some(mss) = self.mss {
            put(&[KIND_MSS, 4]);
            put(&mss.to_be_bytes());
        }
        match (self.sack_permitted, self.timestamps) {
            (true, Some(_)) => put(&[KIND_SACK_PERMITTED, 2, KIND_TIMESTAMPS, 10]),
            (true, None) => put(&[KIND_NOP, KIND_NOP, KIND_SACK_PERMITTED, 2]),
            (false, Some(_)) => put(&ALIGNED_TIMESTAMPS),
            (false, None) => {}
        }
        if let Some(timestamps) = self.timestamps {
            put(&timestamps.value.to_be_bytes());
            put(&timestamps.echo.to_be_bytes());
        }
        if let Some(shift) = self.window_scale {
            put(&[KIND_NOP, KIND_WINDOW_SCALE, 3, shift]);
        }
        if let Some(blocks) = self.emitted_sack() {
            put(&[KIND_NOP, KIND_NOP, KIND_SACK, (2 + blocks * SACK_BLOCK_LEN) as u8]);
            for (start, end) in &self.sack[..blocks] {
                put(&start.0.to_be_bytes());
                put(&end.0.to_be_bytes());
            }
        }
        at
    }

    #[inline]
    fn emitted_sack(&self) -> Option<usize> {
        let blocks = self.sack.len().min(self.sack_room());
        (blocks > 0).then_some(blocks)
    }

    #[inline]
    fn len_without_sack(&self) -> usize {
        let mss = if self.mss.is_some() { 4 } else { 0 };
        let head = if self.sack_permitted || self.timestamps.is_some() { 4 } else { 0 };
        let timestamps = if self.timestamps.is_some() { 8 } else { 0 };
        let scale = if self.window_scale.is_some() { 4 } else { 0 };
        mss + head + timestamps + scale
    }
}

#[inline]
fn timestamps(data: &[u8]) -> Timestamps {
    Timestamps { value: be32(data, 0), echo: be32(data, 4) }
}

/// A header's fields.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Header {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Sequence number.
    pub seq: SeqNumber,
    /// Acknowledgment number; means something only with ACK.
    pub ack: SeqNumber,
    /// Control bits.
    pub flags: Flags,
    /// Window as it stands in the header, not scaled.
    pub window: u16,
    /// Urgent pointer; means something only with URG. We send none.
    pub urgent: u16,
    /// Options.
    pub options: Options,
}

impl Header {
    /// The header's fields and what follows it; the checksum is not looked at.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<(Header, &[u8]), Malformed> {
        let (fixed, _) = split::<HEADER_LEN>(bytes)?;
        let header_len = usize::from(fixed[12] >> 4) * 4;
        if header_len < HEADER_LEN {
            return Err(Malformed::HeaderLength);
        }
        let options = bytes.get(HEADER_LEN..header_len).ok_or(Malformed::HeaderLength)?;
        let header = Header {
            source_port: be16(fixed, 0),
            destination_port: be16(fixed, 2),
            seq: SeqNumber(be32(fixed, 4)),
            ack: SeqNumber(be32(fixed, 8)),
            flags: Flags(fixed[13]),
            window: be16(fixed, 14),
            urgent: be16(fixed, 18),
            options: Options::parse(options)?,
        };
        Ok((header, &bytes[header_len..]))
    }

    /// Writes the header with a zero checksum and urgent pointer; returns its length.
    ///
    /// # Panics
    /// If `out` is shorter than the header.
    #[inline]
    pub fn emit(&self, out: &mut [u8]) -> usize {
        let len = HEADER_LEN + self.options.emit(&mut out[HEADER_LEN..]);
        out[0..2].copy_from_slice(&self.source_port.to_be_bytes());
        out[2..4].copy_from_slice(&self.destination_port.to_be_bytes());
        out[4..8].copy_from_slice(&self.seq.0.to_be_bytes());
        out[8..12].copy_from_slice(&self.ack.0.to_be_bytes());
        out[12] = ((len / 4) << 4) as u8;
        out[13] = self.flags.0;
        out[14..16].copy_from_slice(&self.window.to_be_bytes());
        out[16..20].fill(0);
        len
    }
}

#[cfg(test)]
mod tests;
