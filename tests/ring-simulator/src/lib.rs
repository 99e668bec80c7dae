//! The offline Ring.
