//! Ring's contract, typed.
