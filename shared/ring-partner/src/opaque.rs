//! Ids as Ring gives them: opaque, compared whole, never taken apart, but never empty or boundless either.

/// The longest id that is taken, in bytes. Ring's own have well under a hundred.
pub(crate) const LONGEST: usize = 512;

/// What was offered as an id can't be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// It has no characters.
    #[error("an id can't be empty")]
    Empty,
    /// It has more than 512 bytes.
    #[error("an id of more than {LONGEST} bytes is not one of Ring's")]
    TooLong,
    /// It has control characters, or would change a URL's path (`.` and `..`).
    #[error("an id can't have control characters, and can't be a dot segment")]
    Forbidden,
}

pub(crate) fn check(id: &str) -> Result<(), InvalidId> {
    match id {
        "" => Err(InvalidId::Empty),
        _ if id.len() > LONGEST => Err(InvalidId::TooLong),
        // A URL parser resolves dot segments even when they are percent-encoded.
        "." | ".." => Err(InvalidId::Forbidden),
        _ if id.chars().any(char::is_control) => Err(InvalidId::Forbidden),
        _ => Ok(()),
    }
}

/// Declares an id as a type of its own, so that an account can't be taken for a device.
macro_rules! opaque_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Takes an id as Ring gave it.
            pub fn new(id: impl Into<String>) -> Result<Self, $crate::opaque::InvalidId> {
                let id = id.into();
                $crate::opaque::check(&id).map(|()| Self(id))
            }

            /// The id as Ring gave it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::opaque::InvalidId;

            fn from_str(id: &str) -> Result<Self, Self::Err> {
                Self::new(id)
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::opaque::InvalidId;

            fn try_from(id: String) -> Result<Self, Self::Error> {
                Self::new(id)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

pub(crate) use opaque_id;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_anything_but_empty_boundless_or_a_path() {
        for id in ["ava1.ring.device.XXX_YYY", "Türe", "a/b?c#d", "...", " x "] {
            assert_eq!(check(id), Ok(()), "{id}");
        }
        assert_eq!(check(""), Err(InvalidId::Empty));
        assert_eq!(check(&"x".repeat(LONGEST)), Ok(()));
        assert_eq!(check(&"x".repeat(LONGEST + 1)), Err(InvalidId::TooLong));
        for id in [".", "..", "a\nb", "a\0", "\u{85}"] {
            assert_eq!(check(id), Err(InvalidId::Forbidden), "{id:?}");
        }
    }
}
