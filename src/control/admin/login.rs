//! Logging in and out of the dashboard.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use super::error::ApiError;
use super::sessions::{COOKIE, SESSION};
use super::shared::Shared;

/// What a login shows.
#[derive(Deserialize)]
pub(super) struct Login {
    token: String,
}

/// `POST /login`: shows the token, and gets a cookie.
pub(super) async fn log_in(
    State(shared): State<Arc<Shared>>,
    login: Result<Json<Login>, JsonRejection>,
) -> Result<Response, ApiError> {
    let Json(Login { token }) = login?;
    if !shared.settings.is_token(&token) {
        // Guessing is slow, and takes up one of the few connections.
        tokio::time::sleep(WRONG_TOKEN_PAUSE).await;
        return Err(ApiError::new(StatusCode::UNAUTHORIZED, "the token is wrong"));
    }
    let Some(cookie) = shared.sessions.begin() else {
        let message = "the system gives no random numbers";
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message));
    };
    let seconds = SESSION.as_secs();
    let cookie = format!("{COOKIE}={cookie}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict");
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

/// `POST /logout`: the cookie stands for nothing any more.
pub(super) async fn log_out(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    shared.sessions.end(&headers);
    let cookie = format!("{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict");
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response()
}

const WRONG_TOKEN_PAUSE: Duration = Duration::from_millis(500);
