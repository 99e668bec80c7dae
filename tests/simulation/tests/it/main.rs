//! What must hold of tokens, links and events, whatever befalls the programs that keep them.

mod bugs;
mod crash_points;
mod event_bugs;
mod event_points;
mod event_seeds;
mod live_bugs;
mod seeds;
mod storms;
mod twins;
