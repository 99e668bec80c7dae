//! Tests over the whole: the shape of the workspace, the stack as it is deployed, the contract at its door.
//!
//! The stack is brought up once for this process, from the repository's own template, and ends with it.

mod alarms;
mod api;
mod architecture;
mod canary;
mod chaos;
mod contract;
mod doctor;
mod events;
mod examples;
mod fuzz;
mod grants;
mod guide;
mod init;
mod intake;
mod journey;
mod live;
mod logs;
mod media;
mod ops;
mod pages;
mod papers;
mod published;
mod recorder;
mod rights;
mod roles;
mod samples;
mod silence;
mod stack;
mod stores;
mod synthetic;
mod template;
mod templates;
mod trace;
mod traps;
#[path = "../ring-simulator/tests/it/viewer.rs"]
#[expect(dead_code, reason = "the offline Ring's own tests use more of it")]
mod viewer;
