//! What we hold to be true, and where it is kept: the nouns of the back end, each a folder whose pure part does no I/O
//! and whose `store` (or `vault`, or `archive`) keeps it. Only those and [`edge`] know AWS. What is left out: Ring's
//! contract, which is the crate `ring-partner`, and every decision that belongs to one program alone. A noun's
//! walks are written over its `ports`; [`world`] says who stands behind them.

pub mod account;
pub mod audit;
pub mod capture;
pub mod device;
pub mod edge;
pub mod event;
pub mod grant;
pub mod link;
pub mod media;
pub mod policy;
pub mod world;
