//! The life of events, walked in memory: Ring sends on its own schedule, the intake queues, a queue hands out at least once and
//! in any order, and processors that are killed, throttled and never told do the rest. The walk of an event is the deployed
//! one.

pub mod contract;
pub mod invariants;
pub mod kept;
pub mod programs;
pub mod queue;
pub mod ring;
mod twin;
