//! The dashboard: pages that hold no data, and ask the API for it.

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use super::shared::Shared;

/// The pages.
pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/", get(async || page("text/html; charset=utf-8", INDEX)))
        .route("/dashboard.css", get(async || page("text/css; charset=utf-8", STYLE)))
        .route("/dashboard.js", get(async || page("text/javascript; charset=utf-8", SCRIPT)))
}

fn page(content_type: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}

const INDEX: &str = include_str!("dashboard/index.html");
const STYLE: &str = include_str!("dashboard/dashboard.css");
const SCRIPT: &str = include_str!("dashboard/dashboard.js");
