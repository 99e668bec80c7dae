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
