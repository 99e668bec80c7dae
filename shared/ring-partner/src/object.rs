//! For `#[serde(deserialize_with = …)]` on a field that is a struct: an object alone is taken for it. What serde derives takes an
//! array too, by the order of the fields, which no JSON Schema of the struct allows.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

/// Of a field that has to be there, or has a default.
pub fn required<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_map(Object(PhantomData))
}

/// Of a field that may be null; `#[serde(default)]` lets it be left out.
pub fn optional<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    deserializer.deserialize_option(Optional(PhantomData))
}

struct Object<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

struct Optional<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Optional<T> {
    type Value = Option<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object or null")
    }

    fn visit_none<E: Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
        required(deserializer).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use crate::media::Resolution;

    #[derive(Debug, Deserialize)]
    struct Picture {
        #[serde(deserialize_with = "super::required")]
        least: Resolution,
        #[serde(default, deserialize_with = "super::optional")]
        most: Option<Resolution>,
    }

    #[test]
    fn an_object_is_taken_and_an_array_is_not() {
        let size = r#"{"width":3,"height":2}"#;
        let parsed = |least: &str, most: &str| {
            serde_json::from_str::<Picture>(&format!(r#"{{"least":{least},"most":{most}}}"#))
                .map_err(|error| error.to_string())
        };
        let picture = parsed(size, size).unwrap();
        assert_eq!(
            (picture.least.width, picture.most.map(|most| most.height)),
            (3, Some(2))
        );
        assert_eq!(parsed(size, "null").unwrap().most, None);
        for (least, most) in [("[3,2]", size), (size, "[3,2]"), ("null", size), (size, "5")] {
            let error = parsed(least, most).unwrap_err();
            assert!(error.contains("expected an object"), "{error}");
        }
    }
}
