//! Media.
use crate::ring::Ring;
use axum::Router;
use std::sync::Arc;
#[derive(Default)]
pub(crate) struct Presigned;
pub(crate) fn router(_ring: Arc<Ring>) -> Router {
    Router::new()
}
pub(crate) fn presigned_router(_ring: Arc<Ring>) -> Router {
    Router::new()
}
