//! Relays: what a client sends goes to a server of an upstream, and what that sends to the client.

use std::any::Any;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use super::{Admission, ConnectRequest, Service};
use crate::effects::{BackendRequest, Effects, Message, Peer, RelayMode};
use crate::http::{
    ClientFacts, ForwardRules, Path, PlainRequest, Rejection, RequestHead, UpgradeRequest,
    write_plain_request, write_request,
};
use crate::upstream::Upstream;

/// How a relay works.
#[derive(Clone, Debug)]
pub struct RelaySettings {
    /// Where its clients' requests go.
    pub upstream: Arc<Upstream>,
    /// What is passed on.
    pub mode: RelayMode,
    /// How requests differ from those of the clients.
    pub rules: ForwardRules,
    /// The path that takes the place of the route's; a `*` at its end stands for what that at the end of
    /// the route's path stands for. `None` keeps the path.
    pub rewrite: Option<String>,
    /// The paths of the route.
    pub paths: Vec<String>,
    /// What clients are told apart by where the balance goes by that.
    pub balance_by: BalanceBy,
}

/// What clients are told apart by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum BalanceBy {
    /// The address.
    #[default]
    Address,
    /// A cookie with this name; by the address without it.
    Cookie(String),
    /// A header with this name; by the address without it.
    Header(String),
    /// Who they have proved to be; by the address of one who has not.
    User,
}

/// The service of a relay. It admits clients; all else passes it by.
#[derive(Debug)]
pub struct Relay {
    settings: Arc<RelaySettings>,
}

impl Relay {
    /// A relay with these settings.
    #[must_use]
    pub fn new(settings: Arc<RelaySettings>) -> Self {
        Self { settings }
    }

    fn request(
        &self,
        connect: &ConnectRequest<'_>,
        request: &UpgradeRequest<'_, '_>,
    ) -> BackendRequest {
        let head = request.head();
        let accept = request.accept_key();
        self.backend_request(connect, head, accept, |out, target, rules, client| {
            write_request(out, head, target, rules, client);
        })
    }

    /// The request whose head `write` appends, for its target, by the rules and what is known of the client.
    fn backend_request(
        &self,
        connect: &ConnectRequest<'_>,
        head: &RequestHead<'_>,
        accept: [u8; 28],
        write: impl FnOnce(&mut Vec<u8>, &[u8], &ForwardRules, &ClientFacts<'_>),
    ) -> BackendRequest {
        let settings = &*self.settings;
        let target = rewritten_target_of(head, settings.rewrite.as_deref(), &settings.paths);
        let client = ClientFacts {
            address: connect.address().map(|address| address.ip().to_canonical()),
            is_tls: connect.is_tls(),
            proxy: connect.proxy(),
            user: connect.identity().map(|identity| &**identity.user()),
        };
        let mut out = Vec::with_capacity(HEAD_BYTES);
        write(&mut out, &target, &settings.rules, &client);
        // It is kept until it is answered.
        out.shrink_to_fit();
        BackendRequest {
            upstream: Arc::clone(&settings.upstream),
            head: out,
            accept,
            balance_key: settings.balance_key(connect, head),
            mode: settings.mode,
            plain: None,
            deflate: None,
        }
    }
}

impl Service for Relay {
    fn wants_addresses(&self) -> bool {
        true
    }

    fn admit(
        &mut self,
        connect: &ConnectRequest<'_>,
        _: Peer,
        _: &mut Effects<'_>,
    ) -> Result<Admission, Rejection> {
        match connect.request() {
            Some(request) => Ok(Admission::Relay(self.request(connect, request))),
            None => Err(Rejection::bad_request("a relay takes requests of HTTP only")),
        }
    }

    fn plain_request(
        &mut self,
        connect: &ConnectRequest<'_>,
        head: &RequestHead<'_>,
        request: PlainRequest,
    ) -> Option<BackendRequest> {
        // There is no key to be answered.
        let accept = [0; 28];
        Some(self.backend_request(connect, head, accept, |out, target, rules, client| {
            write_plain_request(out, head, target, rules, client, request);
        }))
    }

    /// What a relayed client sends is no message of the gateway's.
    fn on_message(&mut self, _: Peer, _: Message<'_>, _: &mut Effects<'_>) {}

    fn on_reload(&mut self, next: Box<dyn Service>, _: &mut Effects<'_>) {
        let next: Box<dyn Any> = next;
        if let Ok(next) = next.downcast::<Self>() {
            self.settings = next.settings;
        }
    }
}

/// The target of the request to the backend, in origin form (RFC 9112 §3.2.1).
pub(super) fn rewritten_target(
    request: &UpgradeRequest<'_, '_>,
    rewrite: Option<&str>,
    paths: &[String],
) -> Vec<u8> {
    rewritten_target_of(request.head(), rewrite, paths)
}

/// As above, of any request.
fn rewritten_target_of(head: &RequestHead<'_>, rewrite: Option<&str>, paths: &[String]) -> Vec<u8> {
    let mut target = rewritten_path(head.path(), rewrite, paths);
    let query = head.query().raw();
    if !query.is_empty() {
        target.push(b'?');
        target.extend_from_slice(query);
    }
    target
}

fn rewritten_path(path: Path<'_>, rewrite: Option<&str>, paths: &[String]) -> Vec<u8> {
    let Some(rewrite) = rewrite else { return path.raw().to_vec() };
    let Some(prefix) = rewrite.strip_suffix('*') else { return rewrite.as_bytes().to_vec() };
    let mut patterns = paths.iter().filter(|own| path.matches(own));
    let rest = patterns.next().map_or(&[][..], |pattern| path.rest_after(pattern));
    [prefix.as_bytes(), rest].concat()
}

impl RelaySettings {
    fn balance_key(&self, connect: &ConnectRequest<'_>, request: &RequestHead<'_>) -> u64 {
        let by_request = match &self.balance_by {
            BalanceBy::Address => None,
            BalanceBy::Cookie(name) => cookie(request, name),
            BalanceBy::Header(name) => request.header(name),
            BalanceBy::User => connect.identity().map(|identity| identity.user().as_bytes()),
        };
        let mut hasher = DefaultHasher::new();
        match by_request {
            Some(value) => value.hash(&mut hasher),
            None => connect.address().map(|address| address.ip().to_canonical()).hash(&mut hasher),
        }
        hasher.finish()
    }
}

/// The value of the first cookie with this name (RFC 6265 §4.2.1).
fn cookie<'h>(request: &RequestHead<'h>, name: &str) -> Option<&'h [u8]> {
    let values = request.header_values("Cookie");
    let mut pairs = values.flat_map(|value| value.split(|byte| *byte == b';'));
    pairs.find_map(|pair| {
        let rest = pair.trim_ascii().strip_prefix(name.as_bytes())?;
        rest.strip_prefix(b"=")
    })
}

/// Most heads are shorter.
const HEAD_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{OriginRule, UpgradePolicy, check_upgrade, parse_head};
    use crate::upstream::ServerSet;

    fn settings() -> RelaySettings {
        RelaySettings {
            upstream: Upstream::new("app", ServerSet::default()),
            mode: RelayMode::Bytes,
            rules: ForwardRules::default(),
            rewrite: None,
            paths: vec!["/app/*".to_owned(), "/one".to_owned()],
            balance_by: BalanceBy::Address,
        }
    }

    /// The request for the backend of a client that asks for `target` with these header lines.
    fn requested(
        settings: RelaySettings,
        target: &str,
        lines: &str,
        address: [u8; 4],
    ) -> BackendRequest {
        let text = format!(
            "GET {target} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
        );
        let head = parse_head(text.as_bytes()).unwrap();
        let policy = UpgradePolicy { origins: &OriginRule::Any, subprotocols: &[] };
        let upgrade = check_upgrade(&head, &policy).unwrap();
        let connect = ConnectRequest::new(Some(&upgrade), Some((address, 1).into()));
        Relay::new(Arc::new(settings)).request(&connect, &upgrade)
    }

    fn target(rewrite: Option<&str>, path: &str) -> String {
        let settings = RelaySettings { rewrite: rewrite.map(str::to_owned), ..settings() };
        let head = String::from_utf8(requested(settings, path, "", [1; 4]).head).unwrap();
        head.split(' ').nth(1).unwrap().to_owned()
    }

    #[test]
    fn the_path_is_kept_or_rewritten() {
        assert_eq!(target(None, "/app/a%20b/?x=1&y"), "/app/a%20b/?x=1&y");
        assert_eq!(target(None, "ws://host/one"), "/one");
        assert_eq!(target(Some("/v2/*"), "/app/a%20b/?x=1"), "/v2/a%20b/?x=1");
        assert_eq!(target(Some("/*"), "/app/"), "/");
        assert_eq!(target(Some("/*"), "/one?x"), "/?x");
        assert_eq!(target(Some("/fixed"), "/app/a"), "/fixed");
    }

    #[test]
    fn the_answer_to_the_key_and_the_address_are_known() {
        let request = requested(settings(), "/one", "", [192, 0, 2, 1]);
        assert_eq!(&request.accept, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let head = String::from_utf8(request.head).unwrap();
        assert!(head.contains("\r\nX-Forwarded-For: 192.0.2.1\r\n"), "{head}");
        assert!(head.contains("\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), "{head}");
    }

    #[test]
    fn clients_are_told_apart_by_what_is_configured() {
        let key = |by: &BalanceBy, lines: &str, last| {
            let settings = RelaySettings { balance_by: by.clone(), ..settings() };
            requested(settings, "/one", lines, [1, 1, 1, last]).balance_key
        };
        let by = BalanceBy::Address;
        assert_eq!(key(&by, "Cookie: id=a\r\n", 1), key(&by, "", 1));
        assert_ne!(key(&by, "", 1), key(&by, "", 2));
        let by = BalanceBy::Cookie("id".to_owned());
        assert_eq!(key(&by, "Cookie: x=y; id=a\r\n", 1), key(&by, "Cookie: id=a;idx=b\r\n", 2));
        assert_ne!(key(&by, "Cookie: id=a\r\n", 1), key(&by, "Cookie: id=b\r\n", 1));
        assert_ne!(key(&by, "", 1), key(&by, "", 2));
        let by = BalanceBy::Header("X-Room".to_owned());
        assert_eq!(key(&by, "x-room: 7\r\n", 1), key(&by, "X-Room: 7\r\n", 2));
        // Without an identity a user is one of an address.
        assert_eq!(key(&BalanceBy::User, "", 1), key(&BalanceBy::Address, "", 1));
    }
}
