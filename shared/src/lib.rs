//! What we hold to be true, and where it is kept.
