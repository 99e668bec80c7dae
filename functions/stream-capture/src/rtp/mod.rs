//! What comes over RTP (RFC 3550): packets, put in order, taken apart into the units of H.264 (RFC 6184) and H.265
//! (RFC 7798). No I/O, and every buffer has a bound: what a peer sends is not trusted to make sense.

use bytes::Bytes;

pub mod h264;
pub mod h265;
pub mod reorder;
pub mod units;

/// The clock of video over RTP, in ticks a second.
pub const CLOCK: u64 = 90_000;

/// A packet, after decryption. An empty payload is padding, which counts in the sequence alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its place, which wraps.
    pub sequence: u16,
    /// Its frame's time by [`CLOCK`], which wraps.
    pub timestamp: u32,
    /// Whether it is the last of its frame.
    pub marker: bool,
    /// What it carries.
    pub payload: Bytes,
}

/// A part of a unit, as a packet carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A whole unit.
    Whole(Bytes),
    /// The start of one, with the header that it has when it is whole.
    First(Header, Bytes),
    /// What follows.
    Middle(Bytes),
    /// Its end.
    Last(Bytes),
}

/// A unit's header: one byte in H.264, two in H.265.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// H.264.
    One([u8; 1]),
    /// H.265.
    Two([u8; 2]),
}

impl Header {
    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::One(bytes) => bytes,
            Self::Two(bytes) => bytes,
        }
    }
}

/// A payload that its format does not allow. There is nothing to decide about it but to count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a payload is malformed: {0}")]
pub struct Malformed(pub &'static str);
