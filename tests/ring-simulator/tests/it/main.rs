//! The offline Ring, seen from outside: a plain HTTP client on its four listeners, and a partner that takes its pushes.

mod control;
mod devices;
mod faults;
mod integrations;
mod live;
mod media;
mod oauth;
mod program;
mod viewer;
mod webhooks;
mod world;
