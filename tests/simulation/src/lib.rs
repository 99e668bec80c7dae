//! The life of grants, links and events, walked in memory. The walks are the deployed ones; what they stand on are twins of the
//! tables, the queue, KMS and Ring, which keep their state and pass the same contract suite as the real stores. Time is
//! tokio's paused clock, chance comes from a seed, and at each call of a port the world may interfere: it delays, fails the
//! call, loses its answer, or kills the process. A run of one seed is the same every time.

pub mod contract;
pub mod events;
pub mod house;
pub mod interference;
pub mod invariants;
pub mod kept;
pub mod ring;
pub mod twin;
