//! The gateway as a whole: version, metrics, configuration, drain, reload, log.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Request, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::control::admin::error::ApiError;
use crate::control::admin::gateway::{DrainOrder, DrainStatus, ReloadReport, VersionInfo};
use crate::control::admin::shared::Shared;
use crate::metrics::{Family, Sample, SampleValue};

/// `GET /api/v1/version`.
pub(super) async fn version(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let VersionInfo { version, features, pid, uptime_ms } = shared.gateway.version();
    Json(json!({
        "version": version,
        "features": features,
        "pid": pid,
        "uptime_ms": uptime_ms,
        "loops": shared.gateway.loop_count(),
    }))
}

/// `GET /api/v1/metrics`: what `/metrics` says, as JSON.
pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let family = |family: &Family| {
        let samples: Vec<Value> = family.samples.iter().map(sample).collect();
        json!({ "name": family.name, "kind": family.kind.name(), "samples": samples })
    };
    let families: Vec<Value> = shared.gateway.metrics().iter().map(family).collect();
    Json(json!({ "families": families }))
}

fn sample(sample: &Sample) -> Value {
    let labels: serde_json::Map<String, Value> = sample
        .labels
        .iter()
        .map(|(name, value)| ((*name).to_owned(), Value::from(value.as_str())))
        .collect();
    match &sample.value {
        SampleValue::Number(value) => json!({ "labels": labels, "value": value }),
        SampleValue::Buckets(buckets) => json!({
            "labels": labels,
            "buckets": buckets.counts,
            "above": buckets.above,
            "sum": buckets.sum,
        }),
    }
}

/// `GET /api/v1/configuration`.
pub(super) async fn configuration(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!({ "toml": shared.gateway.configuration() }))
}

/// `GET /api/v1/certificates`.
pub(super) async fn certificates(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!({ "certificates": shared.gateway.certificates() }))
}

/// `GET /api/v1/routes`.
pub(super) async fn routes(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!({ "routes": shared.gateway.routes() }))
}

/// `GET /api/v1/drain`.
pub(super) async fn drain_status(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let DrainStatus { stage, connections, told, left_ms } = shared.gateway.drain_status();
    Json(json!({
        "stage": stage,
        "connections": connections,
        "told": told,
        "left_ms": left_ms,
    }))
}

/// How to drain; what is left out is as configured.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Drain {
    grace_ms: Option<u64>,
    drain_ms: Option<u64>,
}

/// `POST /api/v1/drain/start`.
pub(super) async fn start_drain(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let Drain { grace_ms, drain_ms } = body_or_default(request).await?;
    for ms in [grace_ms, drain_ms].into_iter().flatten() {
        if ms > DRAIN_MS_MAX {
            let message = format!("grace_ms and drain_ms must be at most {DRAIN_MS_MAX}");
            return Err(ApiError::bad_request(message));
        }
    }
    shared.gateway.drain(DrainOrder { grace_ms, drain_ms });
    Ok((StatusCode::ACCEPTED, Json(json!({ "draining": true }))))
}

/// `POST /api/v1/drain/cancel`.
pub(super) async fn cancel_drain(
    State(shared): State<Arc<Shared>>,
) -> Result<Json<Value>, ApiError> {
    if shared.gateway.cancel_drain() {
        return Ok(Json(json!({ "draining": false })));
    }
    let message = "there is no drain, or it has stopped accepting and cannot be cancelled";
    Err(ApiError::new(StatusCode::CONFLICT, message))
}

/// How to reload.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reload {
    #[serde(default)]
    dry_run: bool,
}

/// `POST /api/v1/reload`.
pub(super) async fn reload(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let Reload { dry_run } = body_or_default(request).await?;
    let gateway = Arc::clone(&shared.gateway);
    // It waits for files and loops, and other requests do not wait for it.
    let reloaded = tokio::task::spawn_blocking(move || gateway.reload(dry_run)).await;
    match reloaded {
        Ok(Ok(ReloadReport { applied, needs_restart })) => Ok(Json(json!({
            "dry_run": dry_run,
            "applied": applied,
            "needs_restart": needs_restart,
        }))),
        Ok(Err(why)) => Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, why)),
        Err(_) => Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "the reload failed")),
    }
}

/// `GET /api/v1/log-level`.
pub(super) async fn log_level(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!({ "level": shared.gateway.log_level() }))
}

/// The level of the log.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogLevel {
    level: String,
}

/// `POST /api/v1/log-level/set`.
pub(super) async fn set_log_level(
    State(shared): State<Arc<Shared>>,
    order: Result<Json<LogLevel>, JsonRejection>,
) -> Result<Json<Value>, ApiError> {
    let Json(LogLevel { level }) = order?;
    shared.gateway.set_log_level(&level).map_err(ApiError::bad_request)?;
    Ok(Json(json!({ "level": shared.gateway.log_level() })))
}

/// The body as JSON; a request without a body asks for what is usual.
async fn body_or_default<T>(request: Request) -> Result<T, ApiError>
where
    T: Default + for<'de> Deserialize<'de>,
{
    if request.headers().get(axum::http::header::CONTENT_TYPE).is_none() {
        return Ok(T::default());
    }
    let body: Result<Json<T>, JsonRejection> = Json::from_request(request, &()).await;
    Ok(body?.0)
}

const DRAIN_MS_MAX: u64 = 86_400_000;
