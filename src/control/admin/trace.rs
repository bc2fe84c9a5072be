//! Live traces: what a few connections do, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;

use super::conditions::FilterQuery;
use super::error::ApiError;
use super::gateway::Gateway;
use super::parts::summary;
use super::shared::Shared;
use super::slices::ask;
use super::trace_permits::TRACES_MAX;
use crate::inspect::{Query, TraceEvent, TraceEventKind, TraceId, TraceSink};

/// A trace that is on. When this is dropped, the loops forget it.
struct RunningTrace {
    id: TraceId,
    gateway: Arc<dyn Gateway>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for RunningTrace {
    fn drop(&mut self) {
        for index in 0..self.gateway.loop_count() {
            // A loop that is too busy for it ends the trace when its sink is gone.
            let _ = self.gateway.query(index, Query::Untrace { id: self.id });
        }
    }
}

/// `GET /api/v1/trace`.
pub(super) async fn trace(
    State(shared): State<Arc<Shared>>,
    query: FilterQuery,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let payload_bytes_max = if query.payload() { PAYLOAD_BYTES_MAX } else { 0 };
    if query.is_about_all()? {
        return Err(ApiError::bad_request("a trace is of one gateway: ask that gateway"));
    }
    let filter = Arc::new(query.filter()?);
    if filter.is_empty() {
        let message = "a trace needs a condition: user, address, connection, route or room";
        return Err(ApiError::bad_request(message));
    }
    let Some((id, permit)) = shared.traces.take() else {
        let message = format!("{TRACES_MAX} traces are on already");
        return Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, message));
    };
    let running = RunningTrace { id, gateway: Arc::clone(&shared.gateway), _permit: permit };
    let (sender, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
    let dropped = Arc::new(AtomicU64::new(0));
    let sink = TraceSink::new(move |event| {
        let missed = dropped.load(Ordering::Relaxed);
        if missed > 0 && sender.try_send(missed_event(missed)).is_ok() {
            dropped.fetch_sub(missed, Ordering::Relaxed);
        }
        if sender.try_send(to_event(&event)).is_err() {
            dropped.fetch_add(1, Ordering::Relaxed);
        }
    });
    for index in 0..shared.gateway.loop_count() {
        let (filter, sink) = (Arc::clone(&filter), sink.clone());
        let begin = |reply| Query::Trace { id, filter, payload_bytes_max, sink, reply };
        ask(&*shared.gateway, index, begin).await?;
    }
    let events = WithTrace { events: ReceiverStream::new(receiver), _running: running };
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// The events of a trace, which ends with them.
struct WithTrace {
    events: ReceiverStream<Event>,
    _running: RunningTrace,
}

impl Stream for WithTrace {
    type Item = Result<Event, Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::pin::Pin::new(&mut self.events).poll_next(context).map(|event| event.map(Ok))
    }
}

fn missed_event(count: u64) -> Event {
    Event::default().event("missed").data(json!({ "events": count }).to_string())
}

fn to_event(event: &TraceEvent) -> Event {
    let TraceEvent { peer, unix_ms, kind } = event;
    let mut data = json!({ "connection": peer.to_string(), "unix_ms": unix_ms });
    let (name, more) = match kind {
        TraceEventKind::Open(own) => ("open", summary(own)),
        TraceEventKind::Received { is_text, bytes, payload } => {
            ("received", message(*is_text, *bytes, payload))
        }
        TraceEventKind::Sent { is_text, bytes, payload } => {
            ("sent", message(*is_text, *bytes, payload))
        }
        TraceEventKind::Closed(reason) => ("closed", json!({ "reason": reason.to_string() })),
    };
    if let (Value::Object(data), Value::Object(more)) = (&mut data, more) {
        data.extend(more);
    }
    Event::default().event(name).data(data.to_string())
}

fn message(is_text: bool, bytes: usize, payload: &[u8]) -> Value {
    let mut message = json!({ "kind": if is_text { "text" } else { "binary" }, "bytes": bytes });
    if !payload.is_empty() {
        message["payload"] = if is_text {
            Value::from(String::from_utf8_lossy(payload))
        } else {
            Value::from(payload.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        };
    }
    message
}

/// Events that wait for a reader who is slow; those beyond are counted and told as missed.
const EVENTS_WAITING_MAX: usize = 256;
const PAYLOAD_BYTES_MAX: usize = 256;
const KEEP_ALIVE: Duration = Duration::from_secs(10);
