//! Zones: polygons in the camera's picture. Ring: Configurations, Zone Coordinate System.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// A point in the picture: (0, 0) is the top left corner, (1, 1) the bottom right one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Vertex {
    /// From left to right.
    pub x: f64,
    /// From top to bottom.
    pub y: f64,
}

/// A pixel of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pixel {
    /// The column, from the left.
    pub x: u32,
    /// The row, from the top.
    pub y: u32,
}

/// A polygon, for motion or for privacy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Zone {
    /// Ring's id of it; empty where Ring gave none.
    pub id: String,
    /// Its corners in order. None at all where Ring's could not be read.
    pub vertices: Vec<Vertex>,
}

impl Zone {
    /// Whether it is an area at all. One of fewer than three vertices contains nothing: where that is a privacy zone,
    /// what it should hide is not known.
    pub fn is_area(&self) -> bool {
        self.vertices.len() >= 3
    }

    /// Whether a point lies within, its border included. Where a border crosses itself, the even-odd rule holds.
    pub fn contains(&self, point: Vertex) -> bool {
        if !self.is_area() {
            return false;
        }
        let mut inside = false;
        for (a, b) in self.edges() {
            if on_edge(point, a, b) {
                return true;
            }
            // Half-open in y, so that a ray through a vertex crosses one of its two edges.
            if (a.y > point.y) != (b.y > point.y) && point.x < (b.x - a.x) * (point.y - a.y) / (b.y - a.y) + a.x {
                inside = !inside;
            }
        }
        inside
    }

    /// The corners in a frame of this size: each within the frame, also one at exactly 1.0 or beyond. A frame without
    /// pixels has none.
    pub fn to_pixels(&self, width: u32, height: u32) -> Vec<Pixel> {
        if width == 0 || height == 0 {
            return Vec::new();
        }
        // Casts from floats saturate, and a frame's last pixel is one less than its size.
        let scale = |part: f64, size: u32| ((part * f64::from(size)) as u32).min(size - 1);
        self.vertices
            .iter()
            .map(|vertex| Pixel {
                x: scale(vertex.x, width),
                y: scale(vertex.y, height),
            })
            .collect()
    }

    fn edges(&self) -> impl Iterator<Item = (Vertex, Vertex)> {
        let following = self.vertices.iter().cycle().skip(1);
        self.vertices.iter().zip(following).map(|(a, b)| (*a, *b))
    }
}

/// How far a point may be off a line and still count as on it: far less than a pixel of any frame.
const ON_EDGE: f64 = 1e-9;

fn on_edge(point: Vertex, a: Vertex, b: Vertex) -> bool {
    let (dx, dy) = (b.x - a.x, b.y - a.y);
    let length = dx.hypot(dy);
    if length <= ON_EDGE {
        return (point.x - a.x).hypot(point.y - a.y) <= ON_EDGE;
    }
    let distance = (dx * (point.y - a.y) - dy * (point.x - a.x)).abs() / length;
    let along = (dx * (point.x - a.x) + dy * (point.y - a.y)) / length;
    distance <= ON_EDGE && (-ON_EDGE..=length + ON_EDGE).contains(&along)
}

impl<'de> Deserialize<'de> for Zone {
    /// Reads any value. A zone with one corner that can't be read has none: another shape would be a wrong one.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let id = value.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        let vertices = value
            .get("vertices")
            .cloned()
            .and_then(|vertices| serde_json::from_value(vertices).ok());
        Ok(Self {
            id,
            vertices: vertices.unwrap_or_default(),
        })
    }
}

/// The zones of a setting. Whatever is there and is no list counts as one zone that can't be read.
pub(super) fn all<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Zone>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Null => Vec::new(),
        list @ Value::Array(_) => serde_json::from_value(list).unwrap_or_default(),
        _ => vec![Zone {
            id: String::new(),
            vertices: Vec::new(),
        }],
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn zone(vertices: impl IntoIterator<Item = (f64, f64)>) -> Zone {
        let vertices = vertices.into_iter().map(|(x, y)| Vertex { x, y }).collect();
        Zone {
            id: "z".to_owned(),
            vertices,
        }
    }

    fn check(zone: &Zone, x: f64, y: f64, inside: bool) {
        assert_eq!(zone.contains(Vertex { x, y }), inside, "({x}, {y})");
    }

    /// The documentation's zone: the lower four fifths of the picture, with a vertex at the middle of each side.
    fn documented() -> Zone {
        zone([
            (0.0, 0.2),
            (0.5, 0.2),
            (1.0, 0.2),
            (1.0, 0.6),
            (1.0, 1.0),
            (0.5, 1.0),
            (0.0, 1.0),
            (0.0, 0.6),
        ])
    }

    #[test]
    fn the_documented_zone_is_the_lower_part_of_the_picture() {
        let zone = documented();
        for (x, y) in [
            (0.5, 0.6),
            (0.01, 0.21),
            (0.99, 0.99),
            (0.5, 0.2),
            (0.0, 0.4),
            (1.0, 1.0),
            (0.25, 0.6),
        ] {
            check(&zone, x, y, true);
        }
        for (x, y) in [
            (0.5, 0.19),
            (0.5, 0.0),
            (1.01, 0.6),
            (-0.01, 0.6),
            (0.5, 1.01),
            (f64::NAN, 0.5),
        ] {
            check(&zone, x, y, false);
        }
    }

    #[test]
    fn a_zone_may_have_a_notch_and_cross_itself() {
        let notch = zone([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5), (0.0, 1.0)]);
        check(&notch, 0.5, 0.4, true);
        check(&notch, 0.5, 0.5, true);
        check(&notch, 0.5, 0.6, false);
        check(&notch, 0.1, 0.8, true);
        let bow = zone([(0.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0)]);
        check(&bow, 0.9, 0.5, true);
        check(&bow, 0.1, 0.5, true);
        check(&bow, 0.5, 0.1, false);
    }

    #[test]
    fn trap_84_a_zone_of_fewer_than_three_vertices_contains_nothing() {
        for vertices in [vec![], vec![(0.5, 0.5)], vec![(0.0, 0.0), (1.0, 1.0)]] {
            let zone = zone(vertices);
            assert!(!zone.is_area());
            for (x, y) in [(0.5, 0.5), (0.0, 0.0)] {
                check(&zone, x, y, false);
            }
        }
    }

    #[test]
    fn trap_84_numbers_may_be_whole_and_what_cannot_be_read_is_no_area() {
        let read = |value: Value| serde_json::from_value::<Zone>(value).unwrap();
        let whole = read(json!({"id": "z", "vertices": [{"x": 0, "y": 0}, {"x": 1, "y": 0}, {"x": 0.5, "y": 1}]}));
        assert_eq!(whole, zone([(0.0, 0.0), (1.0, 0.0), (0.5, 1.0)]));
        for value in [
            json!({"id": "z", "vertices": []}),
            json!({"id": "z"}),
            json!({"id": "z", "vertices": [{"x": 0, "y": 0}, {"x": 1, "y": 0}, {"x": "0.5", "y": 1}]}),
            json!({"id": "z", "vertices": [{"x": 0, "y": 0}, {"x": 1, "y": 0}, {"x": 1}]}),
            json!({"id": "z", "vertices": "all"}),
        ] {
            assert_eq!(read(value), zone([]));
        }
        assert!(!read(json!(7)).is_area());
    }

    #[test]
    fn pixels_are_within_the_frame() {
        let pixels = zone([(0.0, 0.2), (1.0, 1.0), (0.5, 0.999), (-0.5, 7.0)]).to_pixels(1920, 1080);
        let expected = [(0, 216), (1919, 1079), (960, 1078), (0, 1079)].map(|(x, y)| Pixel { x, y });
        assert_eq!(pixels, expected);
        assert_eq!(documented().to_pixels(0, 1080), []);
        assert_eq!(documented().to_pixels(1, 1), [Pixel { x: 0, y: 0 }; 8]);
    }

    prop_compose! {
        /// Points on an ellipse, in order: a convex polygon.
        fn convex()(
            mut angles in prop::collection::btree_set(0..3600_u32, 3..12),
            (cx, cy) in (0.3..0.7, 0.3..0.7),
            (rx, ry) in (0.05..0.3, 0.05..0.3),
        ) -> Zone {
            // Three far apart, so that the area is one.
            angles.extend([1, 1201, 2401]);
            zone(angles.into_iter().map(|angle| {
                let angle = f64::from(angle) * std::f64::consts::TAU / 3600.0;
                (cx + rx * angle.cos(), cy + ry * angle.sin())
            }))
        }
    }

    fn anywhere() -> impl Strategy<Value = Vec<(f64, f64)>> {
        prop::collection::vec((-0.5..1.5, -0.5..1.5), 0..10)
    }

    proptest! {
        #[test]
        fn a_convex_zone_contains_its_corners_its_centre_and_what_lies_between(
            zone in convex(),
            a in any::<prop::sample::Index>(),
            b in any::<prop::sample::Index>(),
            part in 0.0..=1.0,
        ) {
            let count = zone.vertices.len() as f64;
            let (x, y) = zone.vertices.iter().fold((0.0, 0.0), |(x, y), vertex| (x + vertex.x, y + vertex.y));
            let centre = Vertex { x: x / count, y: y / count };
            prop_assert!(zone.contains(centre));
            for vertex in &zone.vertices {
                prop_assert!(zone.contains(*vertex));
            }
            let (a, b) = (zone.vertices[a.index(zone.vertices.len())], zone.vertices[b.index(zone.vertices.len())]);
            let between = Vertex { x: a.x + (b.x - a.x) * part, y: a.y + (b.y - a.y) * part };
            prop_assert!(zone.contains(between));
        }

        #[test]
        fn nothing_outside_the_bounding_box_is_within(vertices in anywhere(), x in -9.0..9.0, y in -9.0..9.0) {
            let zone = zone(vertices);
            let outside = |value: f64, part: fn(&Vertex) -> f64| {
                zone.vertices.iter().all(|vertex| value < part(vertex) - 1e-6)
                    || zone.vertices.iter().all(|vertex| value > part(vertex) + 1e-6)
            };
            if outside(x, |vertex| vertex.x) || outside(y, |vertex| vertex.y) {
                let point = Vertex { x, y };
                prop_assert!(!zone.contains(point));
            }
        }

        #[test]
        fn fewer_than_three_vertices_contain_nothing(vertices in prop::collection::vec((0.0..1.0, 0.0..1.0), 0..3)) {
            let zone = zone(vertices);
            for vertex in &zone.vertices {
                prop_assert!(!zone.contains(*vertex));
            }
        }

        #[test]
        fn where_a_zone_begins_and_which_way_it_runs_does_not_matter(
            vertices in anywhere(),
            x in -0.5..1.5,
            y in -0.5..1.5,
            turn in any::<prop::sample::Index>(),
        ) {
            let point = Vertex { x, y };
            let first = zone(vertices.clone());
            let mut turned = vertices;
            if !turned.is_empty() {
                let by = turn.index(turned.len());
                turned.rotate_left(by);
            }
            turned.reverse();
            prop_assert_eq!(zone(turned).contains(point), first.contains(point));
        }

        #[test]
        fn every_corner_has_a_pixel_in_the_frame(
            vertices in prop::collection::vec((any::<f64>(), any::<f64>()), 0..6),
            width in 1..5000_u32,
            height in 1..5000_u32,
        ) {
            let pixels = zone(vertices.clone()).to_pixels(width, height);
            prop_assert_eq!(pixels.len(), vertices.len());
            for pixel in pixels {
                prop_assert!(pixel.x < width && pixel.y < height);
            }
        }
    }
}
