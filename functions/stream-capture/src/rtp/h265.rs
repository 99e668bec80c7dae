//! H.265 over RTP (RFC 7798), without decoding order numbers, which we do not offer: single units, AP and FU.

use bytes::{Buf as _, Bytes};

use super::{Header, Malformed, Piece};

const AP: u8 = 48;
const FU: u8 = 49;

/// Takes a payload apart, in order. What came before a defect is kept in `pieces`.
pub fn take(payload: &Bytes, pieces: &mut Vec<Piece>) -> Result<(), Malformed> {
    let &[first, second, ..] = &payload[..] else {
        return Err(Malformed("it is shorter than a header"));
    };
    if first & 0x80 != 0 {
        return Err(Malformed("its forbidden bit is set"));
    }
    match kind(first) {
        0..=47 => pieces.push(Piece::Whole(payload.clone())),
        AP => aggregated(payload.slice(2..), pieces)?,
        FU => pieces.push(fragment([first, second], payload)?),
        _ => return Err(Malformed("of a type that was not negotiated")),
    }
    Ok(())
}

fn kind(first: u8) -> u8 {
    first >> 1 & 0x3f
}

/// AP: each unit behind its size (RFC 7798, 4.4.2).
fn aggregated(mut rest: Bytes, pieces: &mut Vec<Piece>) -> Result<(), Malformed> {
    if rest.is_empty() {
        return Err(Malformed("an aggregate of nothing"));
    }
    while rest.has_remaining() {
        if rest.remaining() < 2 {
            return Err(Malformed("an aggregate ends within a size"));
        }
        let size = usize::from(rest.get_u16());
        if size < 2 || size > rest.remaining() {
            return Err(Malformed("an aggregate's size is not that of a unit in it"));
        }
        let unit = rest.split_to(size);
        if unit[0] & 0x80 != 0 || kind(unit[0]) >= AP {
            return Err(Malformed("an aggregate of what may not be in one"));
        }
        pieces.push(Piece::Whole(unit));
    }
    Ok(())
}

/// FU: a part of a unit, whose type is in the third byte (RFC 7798, 4.4.3).
fn fragment(header: [u8; 2], payload: &Bytes) -> Result<Piece, Malformed> {
    let fu = *payload.get(2).ok_or(Malformed("a fragment without its header"))?;
    let data = payload.slice(3..);
    if fu & 0x3f >= AP {
        return Err(Malformed("a fragment of what may not be in one"));
    }
    match (fu & 0x80 != 0, fu & 0x40 != 0) {
        (true, true) => Err(Malformed("a fragment that is the first and the last")),
        (true, false) => {
            let header = [header[0] & 0x81 | (fu & 0x3f) << 1, header[1]];
            Ok(Piece::First(Header::Two(header), data))
        }
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
        assert_eq!(taken(&[0x26, 1, 9]), Ok(vec![whole(&[0x26, 1, 9])]));
    }

    #[test]
    fn an_aggregate_is_its_units_in_order() {
        assert_eq!(
            taken(&[0x60, 1, 0, 3, 0x40, 1, 5, 0, 2, 0x42, 1]),
            Ok(vec![whole(&[0x40, 1, 5]), whole(&[0x42, 1])])
        );
    }

    #[test]
    fn a_fragment_has_the_header_that_its_unit_had() {
        let first = Piece::First(Header::Two([0x26, 1]), Bytes::from_static(&[7]));
        assert_eq!(taken(&[0x62, 1, 0x80 | 19, 7]), Ok(vec![first]));
        assert_eq!(
            taken(&[0x62, 1, 19, 8]),
            Ok(vec![Piece::Middle(Bytes::from_static(&[8]))])
        );
        assert_eq!(taken(&[0x62, 1, 0x40 | 19]), Ok(vec![Piece::Last(Bytes::new())]));
    }

    #[test]
    fn what_the_format_does_not_allow_is_malformed() {
        for payload in [
            &[][..],
            &[0x26],                   // half a header
            &[0xa6, 1, 1],             // the forbidden bit
            &[0x64, 1, 1],             // PACI
            &[0x60, 1],                // an aggregate of nothing
            &[0x60, 1, 0],             // half a size
            &[0x60, 1, 0, 1, 0x40],    // a unit of half a header
            &[0x60, 1, 0, 4, 0x40, 1], // more than there is
            &[0x60, 1, 0, 2, 0x60, 1], // an aggregate in an aggregate
            &[0x62, 1],                // a fragment of two bytes
            &[0x62, 1, 0xc0 | 19, 1],  // first and last
            &[0x62, 1, 0x80 | 49, 1],  // a fragment of a fragment
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
