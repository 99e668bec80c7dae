//! H.264 over RTP (RFC 6184), in the non-interleaved mode that we offer: single units, STAP-A and FU-A.

use bytes::{Buf as _, Bytes};

use super::{Header, Malformed, Piece};

const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// Takes a payload apart, in order. What came before a defect is kept in `pieces`.
pub fn take(payload: &Bytes, pieces: &mut Vec<Piece>) -> Result<(), Malformed> {
    let first = *payload.first().ok_or(Malformed("it is empty"))?;
    if first & 0x80 != 0 {
        return Err(Malformed("its forbidden bit is set"));
    }
    match first & 0x1f {
        1..=23 => pieces.push(Piece::Whole(payload.clone())),
        STAP_A => aggregated(payload.slice(1..), pieces)?,
        FU_A => pieces.push(fragment(first, payload)?),
        _ => return Err(Malformed("of a type that was not negotiated")),
    }
    Ok(())
}

/// STAP-A: each unit behind its size (RFC 6184, 5.7.1).
fn aggregated(mut rest: Bytes, pieces: &mut Vec<Piece>) -> Result<(), Malformed> {
    if rest.is_empty() {
        return Err(Malformed("an aggregate of nothing"));
    }
    while rest.has_remaining() {
        if rest.remaining() < 2 {
            return Err(Malformed("an aggregate ends within a size"));
        }
        let size = usize::from(rest.get_u16());
        if size == 0 || size > rest.remaining() {
            return Err(Malformed("an aggregate's size is not that of a unit in it"));
        }
        let unit = rest.split_to(size);
        if !matches!(unit[0] & 0x9f, 1..=23) {
            return Err(Malformed("an aggregate of what may not be in one"));
        }
        pieces.push(Piece::Whole(unit));
    }
    Ok(())
}

/// FU-A: a part of a unit, whose header is in two places (RFC 6184, 5.8).
fn fragment(indicator: u8, payload: &Bytes) -> Result<Piece, Malformed> {
    let header = *payload.get(1).ok_or(Malformed("a fragment without its header"))?;
    let data = payload.slice(2..);
    if !matches!(header & 0x1f, 1..=23) {
        return Err(Malformed("a fragment of what may not be in one"));
    }
    match (header & 0x80 != 0, header & 0x40 != 0) {
        (true, true) => Err(Malformed("a fragment that is the first and the last")),
        (true, false) => Ok(Piece::First(Header::One([indicator & 0xe0 | header & 0x1f]), data)),
        (false, true) => Ok(Piece::Last(data)),
        (false, false) => Ok(Piece::Middle(data)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn taken(payload: &[u8]) -> Result<Vec<Piece>, Malformed> {
        let mut pieces = Vec::new();
        take(&Bytes::copy_from_slice(payload), &mut pieces).map(|()| pieces)
    }

    fn whole(bytes: &[u8]) -> Piece {
        Piece::Whole(Bytes::copy_from_slice(bytes))
    }

    #[test]
    fn a_single_unit_is_the_payload() {
        assert_eq!(taken(&[0x65, 1, 2]), Ok(vec![whole(&[0x65, 1, 2])]));
    }

    #[test]
    fn an_aggregate_is_its_units_in_order() {
        assert_eq!(
            taken(&[0x78, 0, 2, 0x67, 1, 0, 1, 0x68]),
            Ok(vec![whole(&[0x67, 1]), whole(&[0x68])])
        );
    }

    #[test]
    fn a_fragment_has_the_header_that_its_unit_had() {
        let first = Piece::First(Header::One([0x65]), Bytes::from_static(&[7]));
        assert_eq!(taken(&[0x7c, 0x85, 7]), Ok(vec![first]));
        assert_eq!(
            taken(&[0x7c, 0x05, 8]),
            Ok(vec![Piece::Middle(Bytes::from_static(&[8]))])
        );
        assert_eq!(taken(&[0x7c, 0x45]), Ok(vec![Piece::Last(Bytes::new())]));
    }

    #[test]
    fn what_the_format_does_not_allow_is_malformed() {
        for payload in [
            &[][..],
            &[0xe5, 1],             // the forbidden bit
            &[0x00, 1],             // type 0
            &[0x79, 1],             // STAP-B, which is for the interleaved mode
            &[0x78],                // an aggregate of nothing
            &[0x78, 0],             // half a size
            &[0x78, 0, 0],          // a size of nothing
            &[0x78, 0, 3, 0x67, 1], // more than there is
            &[0x78, 0, 1, 0x78],    // an aggregate in an aggregate
            &[0x7c],                // a fragment of one byte
            &[0x7c, 0xc5, 1],       // first and last
            &[0x7c, 0x9c, 1],       // a fragment of a fragment
        ] {
            assert!(taken(payload).is_err(), "{payload:02x?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_nothing_is_made_up(payload in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut pieces = Vec::new();
            let _malformed = take(&Bytes::from(payload.clone()), &mut pieces);
            let size: usize = pieces.iter().map(|piece| match piece {
                Piece::Whole(data) | Piece::Middle(data) | Piece::Last(data) | Piece::First(_, data) => data.len(),
            }).sum();
            prop_assert!(size <= payload.len());
        }
    }
}
