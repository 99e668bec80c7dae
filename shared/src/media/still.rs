//! Stills: what size they are, and the same stills with their privacy zones masked. Ring: Configurations, Privacy Zone Handling.
//! Pure.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageDecoder as _, ImageFormat, ImageReader, Limits, Rgb, RgbImage};
use ring_partner::devices::{Vertex, Zone};
use ring_partner::media::Resolution;

/// The largest still that is opened, in bytes, and in pixels of its width or height: more than Ring gives (Ring: Image Snapshots,
/// Request Body).
pub const MOST_BYTES: usize = 32 * 1024 * 1024;
const MOST_PIXELS: u32 = 4_096;
/// How much memory a still may take while it is open.
const MOST_MEMORY: u64 = 128 * 1024 * 1024;
/// The quality of a JPEG that was masked.
const QUALITY: u8 = 90;
/// How far beyond the picture a corner may lie and still be meant to lie on its border.
const BEYOND: f64 = 0.01;

/// Why a still can't be masked.
#[derive(Debug, thiserror::Error)]
pub enum Unmaskable {
    /// What is to be hidden is not known.
    #[error("a privacy zone can't be read")]
    Zones,
    /// It can't be read or written.
    #[error("the still can't be opened")]
    Still(#[from] image::ImageError),
}

/// How large a still is; `None` where it can't be read.
#[must_use]
pub fn resolution(still: &[u8]) -> Option<Resolution> {
    let (width, height) = reader(still).ok()?.into_dimensions().ok()?;
    Some(Resolution { width, height })
}

/// The still with its zones black, in its own format. Nothing else of the file is kept: what was beside the picture, such as a
/// preview of it, is gone.
pub fn masked(still: &[u8], zones: &[Zone]) -> Result<Vec<u8>, Unmaskable> {
    let corners: Vec<_> = zones
        .iter()
        .map(corners)
        .collect::<Option<_>>()
        .ok_or(Unmaskable::Zones)?;
    let reader = reader(still).map_err(image::ImageError::from)?;
    let format = reader.format();
    let mut decoder = reader.into_decoder()?;
    let upright = decoder.orientation()?;
    let mut picture = DynamicImage::from_decoder(decoder)?;
    // Zones are those of the picture as it is seen.
    picture.apply_orientation(upright);
    let mut picture = picture.into_rgb8();
    for corners in corners {
        hide(&mut picture, &corners);
    }
    let mut file = Cursor::new(Vec::new());
    match format {
        Some(ImageFormat::Png) => picture.write_to(&mut file, ImageFormat::Png)?,
        _ => picture.write_with_encoder(JpegEncoder::new_with_quality(&mut file, QUALITY))?,
    }
    Ok(file.into_inner())
}

fn reader(still: &[u8]) -> std::io::Result<ImageReader<Cursor<&[u8]>>> {
    let mut reader = ImageReader::new(Cursor::new(still)).with_guessed_format()?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(MOST_PIXELS);
    limits.max_image_height = Some(MOST_PIXELS);
    limits.max_alloc = Some(MOST_MEMORY);
    reader.limits(limits);
    Ok(reader)
}

/// The corners of a zone, each within the picture; `None` for one that is no area, or reaches far out: what it hides is not known.
fn corners(zone: &Zone) -> Option<Vec<Vertex>> {
    let known = |side: f64| (-BEYOND..=1.0 + BEYOND).contains(&side);
    let known = zone.is_area() && zone.vertices.iter().all(|corner| known(corner.x) && known(corner.y));
    known.then(|| {
        let corners = zone.vertices.iter();
        corners
            .map(|corner| Vertex {
                x: corner.x.clamp(0.0, 1.0),
                y: corner.y.clamp(0.0, 1.0),
            })
            .collect()
    })
}

/// Blackens each pixel that the zone touches, and its neighbours. Where a border crosses itself, all that it winds around is
/// within.
fn hide(picture: &mut RgbImage, corners: &[Vertex]) {
    let (width, height) = picture.dimensions();
    let scaled: Vec<(f64, f64)> = corners
        .iter()
        .map(|corner| (corner.x * f64::from(width), corner.y * f64::from(height)))
        .collect();
    let following = scaled.iter().cycle().skip(1);
    let edges: Vec<_> = scaled.iter().copied().zip(following.copied()).collect();
    // The inside, row by row, by the middle of each pixel.
    for row in 0..height {
        let y = f64::from(row) + 0.5;
        let mut crossings: Vec<(f64, i32)> = edges
            .iter()
            .filter(|((_, from), (_, to))| (*from > y) != (*to > y))
            .map(|&((ax, ay), (bx, by))| (ax + (y - ay) / (by - ay) * (bx - ax), if by > ay { 1 } else { -1 }))
            .collect();
        crossings.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut winding = 0;
        for (at, next) in crossings.iter().zip(crossings.iter().skip(1)) {
            winding += at.1;
            if winding != 0 {
                for column in pixel(at.0, width)..=pixel(next.0, width) {
                    picture.put_pixel(column, row, BLACK);
                }
            }
        }
    }
    // And the border, whichever part of a pixel it goes through.
    for &((ax, ay), (bx, by)) in &edges {
        let steps = ((bx - ax).abs().max((by - ay).abs()) * 2.0).ceil().max(1.0);
        for step in 0..=steps as u32 {
            let part = f64::from(step) / steps;
            let (x, y) = (
                pixel(ax + part * (bx - ax), width),
                pixel(ay + part * (by - ay), height),
            );
            for row in y.saturating_sub(1)..=(y + 1).min(height - 1) {
                for column in x.saturating_sub(1)..=(x + 1).min(width - 1) {
                    picture.put_pixel(column, row, BLACK);
                }
            }
        }
    }
}

const BLACK: Rgb<u8> = Rgb([0, 0, 0]);

/// The pixel at a place, within so many. Casts from floats saturate.
fn pixel(at: f64, of: u32) -> u32 {
    (at as u32).min(of.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const JPEG: &[u8] = include_bytes!("../../../tests/ring-simulator/assets/snapshot.jpg");
    const PNG: &[u8] = include_bytes!("../../../tests/ring-simulator/assets/snapshot.png");

    fn zone(corners: &[(f64, f64)]) -> Zone {
        Zone {
            id: "z".to_owned(),
            vertices: corners.iter().map(|&(x, y)| Vertex { x, y }).collect(),
        }
    }

    fn open(still: &[u8]) -> RgbImage {
        image::load_from_memory(still).unwrap().into_rgb8()
    }

    #[test]
    fn trap_120_a_still_is_black_within_its_zones_and_as_it_was_elsewhere() {
        let zones = [
            zone(&[(0.0, 0.5), (0.5, 0.5), (0.5, 1.0), (0.0, 1.0)]),
            zone(&[(0.8, 0.1), (0.9, 0.1), (0.85, 0.2)]),
        ];
        for (still, format) in [(JPEG, ImageFormat::Jpeg), (PNG, ImageFormat::Png)] {
            let file = masked(still, &zones).unwrap();
            assert_eq!(image::guess_format(&file).unwrap(), format);
            let (before, after) = (open(still), open(&file));
            assert_eq!(after.dimensions(), (640, 360));
            let light = |x, y| after.get_pixel(x, y).0.iter().copied().max().unwrap();
            for (x, y) in [(0, 190), (10, 350), (319, 190), (0, 359), (544, 50)] {
                assert!(light(x, y) < 40, "({x}, {y}) of {format:?} is hidden");
            }
            for (x, y) in [(100, 100), (400, 300), (500, 40), (630, 350)] {
                let far = before
                    .get_pixel(x, y)
                    .0
                    .iter()
                    .zip(after.get_pixel(x, y).0)
                    .map(|(a, b)| a.abs_diff(b));
                assert!(far.max().unwrap() < 40, "({x}, {y}) of {format:?} is as it was");
            }
        }
    }

    #[test]
    fn trap_120_a_zone_that_crosses_itself_hides_all_that_it_winds_around() {
        // A star of five points, drawn in one go: by the even-odd rule its middle would be open.
        let points: Vec<_> = (0..5)
            .map(|n| f64::from(n) * 2.0 * std::f64::consts::TAU / 5.0)
            .collect();
        let star: Vec<_> = points
            .iter()
            .map(|turn| (0.5 + 0.4 * turn.sin(), 0.5 - 0.4 * turn.cos()))
            .collect();
        let mut picture = RgbImage::from_pixel(100, 100, Rgb([255; 3]));
        hide(&mut picture, &corners(&zone(&star)).unwrap());
        assert_eq!(picture.get_pixel(50, 50), &BLACK);
        assert_eq!(picture.get_pixel(5, 95), &Rgb([255; 3]));
    }

    #[test]
    fn trap_84_where_it_is_not_known_what_a_zone_hides_there_is_no_still() {
        for corners in [
            &[][..],
            &[(0.1, 0.1), (0.9, 0.9)],
            &[(0.1, 0.1), (0.9, 0.1), (300.0, 400.0)],
            &[(0.1, 0.1), (0.9, 0.1), (f64::NAN, 0.5)],
        ] {
            let refused = masked(PNG, &[zone(&[(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)]), zone(corners)]);
            assert!(matches!(refused, Err(Unmaskable::Zones)), "{corners:?}");
        }
        let broken = masked(&PNG[..300], &[]);
        assert!(matches!(broken, Err(Unmaskable::Still(_))));
    }

    #[test]
    fn a_still_says_how_large_it_is() {
        let size = Some(Resolution {
            width: 640,
            height: 360,
        });
        assert_eq!((resolution(JPEG), resolution(PNG)), (size, size));
        assert_eq!(resolution(b"<html>"), None);
    }

    proptest! {
        #[test]
        fn trap_120_no_pixel_that_a_zone_touches_is_left(
            corners in proptest::collection::vec((0.0..=1.0_f64, 0.0..=1.0_f64), 3..7),
            width in 1_u32..40, height in 1_u32..40,
        ) {
            let zone = zone(&corners);
            let mut picture = RgbImage::from_pixel(width, height, Rgb([255; 3]));
            hide(&mut picture, &super::corners(&zone).unwrap());
            for (x, y, color) in picture.enumerate_pixels() {
                for (right, down) in [(0.0, 0.0), (0.5, 0.5), (0.999, 0.0), (0.0, 0.999), (0.999, 0.999)] {
                    let point = Vertex {
                        x: (f64::from(x) + right) / f64::from(width),
                        y: (f64::from(y) + down) / f64::from(height),
                    };
                    prop_assert!(!zone.contains(point) || *color == BLACK, "({}, {})", x, y);
                }
            }
        }
    }
}
