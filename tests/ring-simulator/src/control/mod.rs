//! Control.
use crate::ring::Ring;
use axum::{Json, Router, routing::get};
use std::sync::Arc;
pub(crate) fn router(ring: Arc<Ring>) -> Router {
    Router::new().route("/_sim/health", get(async move || Json(ring.origins.clone())))
}
