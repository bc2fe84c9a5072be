//! A request to a backend, as it is sent.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};

use super::settings::EventBackendSettings;
use crate::control::fetch::AGENT;
use crate::control::wall_now::wall_now;
use crate::events::{self, EventHead, EventRequest};

/// The request that tells of these events of the connection called `id`. `None` if the head of the client's
/// request cannot be passed on, which one that was parsed always can.
pub(super) fn request_of(
    head: &EventHead,
    id: &str,
    told: &EventRequest,
    settings: &EventBackendSettings,
) -> Option<Request<Full<Bytes>>> {
    let body = Full::new(Bytes::copy_from_slice(&told.body));
    let mut request = Request::post(head.target()).body(body).ok()?;
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
        headers.insert(name, HeaderValue::from_static(events::CONTENT_TYPE));
    }
    set(headers, "connection-id", id);
    set(headers, "x-tidegate-sequence", &told.sequence.to_string());
    // Backends offer GRIP only to who takes it.
    set(headers, "sec-websocket-extensions", "grip");
    set(headers, "grip-feature", FEATURES);
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
    Some(request)
}

/// What a backend may ask for that a gateway with GRIP may lack, in the words of Pushpin.
const FEATURES: &str = "session, filter:skip-self, filter:skip-users, filter:require-sub, \
                        filter:build-id, filter:var-subst";

fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}
