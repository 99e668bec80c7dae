//! What must hold of tokens and links, whatever befalls the programs that keep them.

mod bugs;
mod crash_points;
mod seeds;
mod storms;
mod twins;
