//! Errors of the API: a status, and a JSON object that says what was wrong.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::mail::NoReply;

/// Why a request is not answered as asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::control) struct ApiError {
    status: StatusCode,
    message: String,
}

#[derive(Serialize)]
struct Body<'e> {
    error: &'e str,
}

impl ApiError {
    pub(in crate::control) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// The status that it is answered with.
    pub(in crate::control) fn status(&self) -> StatusCode {
        self.status
    }

    /// What was wrong.
    pub(in crate::control) fn message(&self) -> &str {
        &self.message
    }

    /// The request makes no sense.
    pub(in crate::control) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// There is no such thing.
    pub(in crate::control) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(Body { error: &self.message })).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = axum::http::HeaderValue::from_static("Bearer realm=\"tidegate\"");
            response.headers_mut().insert(axum::http::header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

impl From<NoReply> for ApiError {
    fn from(error: NoReply) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

/// Nothing is served at this path.
pub(in crate::control) async fn no_such_path() -> ApiError {
    ApiError::not_found("there is nothing at this path")
}

/// The path is served, and not with this method.
pub(in crate::control) async fn no_such_method() -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "the path does not take this method")
}
