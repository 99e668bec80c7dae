//! Webhooks.
#[derive(Default)]
pub(crate) struct Webhooks;
