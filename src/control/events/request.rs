//! A request to a backend, as it is sent.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};

use super::backend::Next;
use super::settings::EventBackendSettings;
use crate::control::fetch::AGENT;
use crate::control::wall_now::wall_now;
use crate::events::api_gateway::{Encoded, GatewayRequest};
use crate::events::{self, EventRequest};

/// What a request tells.
pub(super) struct ToldOf {
    /// The id of the connection.
    pub(super) id: String,
    pub(super) next: Next,
    /// The route of API Gateway that its message names, once it was sent.
    pub(super) route_key: String,
}

/// A request, and the route of API Gateway that its message names.
pub(super) struct Made {
    pub(super) request: Request<Full<Bytes>>,
    pub(super) route_key: String,
}

/// The request that tells of these events of the connection called `id`. `None` if the head of the client's
/// request cannot be passed on, which one that was parsed always can.
pub(super) fn request_of(next: &Next, id: &str, settings: &EventBackendSettings) -> Option<Made> {
    let Next { request: told, head, .. } = next;
    let (body, content_type, route_key) = match &next.style {
        None => (told.body.clone(), events::CONTENT_TYPE, String::new()),
        Some(style) => {
            let known = GatewayRequest {
                head,
                connection_id: id,
                request_id: &request_id(id, told),
                connected_at: next.opened_at,
                now: wall_now(),
            };
            let Encoded { body, route_key } = style.encode(&known, &told.body);
            (body, "application/json", route_key)
        }
    };
    let mut request = Request::post(head.target()).body(Full::new(Bytes::from(body))).ok()?;
    let headers = request.headers_mut();
    let mut has_agent = false;
    for (name, value) in head.lines() {
        let name = HeaderName::from_bytes(name).ok()?;
        has_agent |= name == USER_AGENT;
        headers.append(name, HeaderValue::from_bytes(value).ok()?);
    }
    if !has_agent {
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    }
    for name in [ACCEPT, CONTENT_TYPE] {
        headers.insert(name, HeaderValue::from_static(content_type));
    }
    set(headers, "connection-id", id);
    set(headers, "x-tidegate-sequence", &told.sequence.to_string());
    if next.style.is_none() {
        // Backends offer GRIP only to who takes it.
        set(headers, "sec-websocket-extensions", "grip");
        set(headers, "grip-feature", FEATURES);
    }
    if let Some(grip) = &settings.grip {
        set(headers, "grip-sig", &grip.signature(wall_now()));
    }
    if told.replayed_bytes > 0 {
        set(headers, "content-bytes-replayed", &told.replayed_bytes.to_string());
    }
    for (name, value) in &told.meta {
        let name = HeaderName::try_from(format!("meta-{name}")).ok();
        if let (Some(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
            headers.insert(name, value);
        }
    }
    Some(Made { request, route_key })
}

/// What the request about a connection is called.
pub(super) fn request_id(id: &str, told: &EventRequest) -> String {
    format!("{id}-{}", told.sequence)
}

/// What a backend may ask for that a gateway with GRIP may lack, in the words of Pushpin.
const FEATURES: &str = "status, session, filter:skip-self, filter:skip-users, filter:require-sub, \
                        filter:build-id, filter:var-subst";

fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}
