//! The client against a server that records what it is asked.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

mod devices;
mod integrations;
mod media;
mod oauth;
mod recorder;
mod users;
mod whep;
