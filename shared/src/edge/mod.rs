//! The edge of every program: configuration, time, telemetry, clients of AWS, what a request or a batch looks like, and
//! what we say when something goes wrong. It knows nothing of grants, links, events, devices or media.

pub mod allowance;
pub mod aws;
pub mod batch;
pub mod bus;
pub mod cache;
pub mod clock;
pub mod conditional;
pub mod config;
pub mod description;
pub mod direct;
pub mod function;
pub mod gateway;
pub mod idempotent;
pub mod key;
pub mod metrics;
pub mod page;
pub mod problem;
pub mod quarantine;
pub mod queue;
pub mod quota;
pub mod secret;
pub mod table;
pub mod telemetry;
pub mod trace;
