//! A question as it is sent.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};

use super::settings::ProxySettings;
use crate::control::fetch::AGENT;
use crate::services::{ClientHeaders, ProxyRequest};

/// The request that asks; `None` if it cannot be written, which its parts were checked for.
pub(super) fn request_of(
    asked: &ProxyRequest,
    settings: &ProxySettings,
) -> Option<Request<Full<Bytes>>> {
    let body = Full::new(Bytes::from(asked.body.clone()));
    let mut request = Request::post(settings.target(asked.kind)).body(body).ok()?;
    let headers = request.headers_mut();
    for (name, value) in &settings.set_headers {
        headers.append(name.clone(), value.clone());
    }
    if let Some(client) = &asked.headers {
        pass_on(client, settings, headers);
    }
    headers.insert(HOST, settings.host.clone());
    headers.insert(ACCEPT, HeaderValue::from_static(JSON));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
    Some(request)
}

/// Passes the headers of a client on: what stands in its request takes the place of what it has written into
/// its first command, and that of what is configured.
fn pass_on(client: &ClientHeaders, settings: &ProxySettings, headers: &mut HeaderMap) {
    for (name, value) in client.emulated() {
        let own = HeaderName::from_bytes(name.as_bytes()).ok();
        let value = HeaderValue::from_str(value).ok();
        let is_passed = settings.emulated_headers.iter().any(|own| own == name);
        if let (Some(own), Some(value), true) = (own, value, is_passed) {
            headers.insert(own, value);
        }
    }
    let mut real: Vec<HeaderName> = Vec::new();
    for (name, value) in client.lines() {
        let own = HeaderName::from_bytes(name).ok();
        let value = HeaderValue::from_bytes(value).ok();
        let (Some(own), Some(value)) = (own, value) else { continue };
        if !settings.headers.iter().any(|name| name == own.as_str()) {
            continue;
        }
        if real.contains(&own) {
            headers.append(own, value);
        } else {
            headers.insert(own.clone(), value);
            real.push(own);
        }
    }
}

const JSON: &str = "application/json";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::centrifugo::ProxyKind;
    use crate::events::EventHead;
    use crate::http::{ClientFacts, ForwardRules, parse_head};
    use crate::key::ConnKey;
    use crate::services::{Peer, ServiceSender};
    use crate::timer::Millis;
    use crate::upstream::{ServerSet, Upstream};

    fn settings() -> ProxySettings {
        let own = |name| (HeaderName::from_static(name), HeaderValue::from_static("configured"));
        ProxySettings {
            name: "app".into(),
            upstream: Upstream::new("app", ServerSet::default()),
            path: "/channels/*".to_owned(),
            host: HeaderValue::from_static("app"),
            headers: vec!["cookie".to_owned(), "x-both".to_owned()],
            emulated_headers: vec!["x-both".to_owned(), "x-page".to_owned()],
            set_headers: vec![own("x-page"), own("x-own")],
            timeout_ms: 1000,
            requests_max: 1,
            waiting_max: 1,
            reply_bytes_max: 1024,
            failures_max: 1,
            statuses: Vec::new(),
        }
    }

    fn asked(kind: ProxyKind) -> ProxyRequest {
        let text =
            "GET / HTTP/1.1\r\nHost: a\r\nCookie: a=1\r\nX-Both: real\r\nX-Both: two\r\n\r\n";
        let head = parse_head(text.as_bytes()).unwrap();
        let head = EventHead::new(&head, b"/", &ForwardRules::default(), &ClientFacts::default());
        let names = ["cookie", "x-both", "x-page", "x-other"].map(str::to_owned);
        let pairs = [("X-Both", "page"), ("X-Page", "page"), ("X-Other", "page")];
        let headers = ClientHeaders::of(&head, &names).with_emulated(pairs, &names);
        ProxyRequest {
            peer: Peer { loop_index: 0, key: ConnKey { index: 1, generation: 1 } },
            serial: 1,
            kind,
            body: b"{}".to_vec(),
            headers: Some(Arc::new(headers)),
            answer_to: ServiceSender::new(Arc::new(|_| {})),
            now: Millis(0),
        }
    }

    #[test]
    fn what_a_client_has_sent_counts_before_what_its_page_says() {
        let request = request_of(&asked(ProxyKind::SubRefresh), &settings()).unwrap();
        assert_eq!(request.uri().path(), "/channels/sub_refresh");
        let values = |name: &str| -> Vec<&str> {
            let all = request.headers().get_all(name);
            all.iter().map(|own| own.to_str().unwrap()).collect()
        };
        assert_eq!(values("cookie"), ["a=1"]);
        assert_eq!(values("x-both"), ["real", "two"]);
        assert_eq!(values("x-page"), ["page"]);
        assert_eq!(values("x-own"), ["configured"]);
        assert!(values("x-other").is_empty());
        assert_eq!(values("host"), ["app"]);
        assert_eq!(values("content-type"), ["application/json"]);
    }

    #[test]
    fn a_path_without_a_star_is_that_of_all_questions() {
        let settings = ProxySettings { path: "/one".to_owned(), ..settings() };
        let request = request_of(&asked(ProxyKind::Connect), &settings).unwrap();
        assert_eq!(request.uri().path(), "/one");
    }
}
