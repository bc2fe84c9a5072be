//! The servers of an upstream, as requests see them: which is next, and the connections to each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use tokio::time::timeout;

use crate::control::fetch::{FetchError, Reply, Server, ServerConnections, Trust};
use crate::control::tasks::Tasks;
use crate::timer::Millis;
use crate::upstream::{self, Pick, ServerSet, Upstream, UpstreamTls};

/// Connections to the servers of an upstream, of one run of the control thread.
pub(in crate::control) struct Servers {
    tasks: Tasks,
    connections: Mutex<HashMap<String, Connected>>,
}

/// Connections to one server, and the settings of TLS that they were made by.
#[derive(Clone)]
struct Connected {
    tls: Option<UpstreamTls>,
    connections: Arc<ServerConnections>,
}

/// Why a request has no reply.
#[derive(Clone, Debug)]
pub(in crate::control) struct Unanswered {
    /// Whether a server may have got it.
    pub(in crate::control) may_be_told: bool,
    /// Whether no server was there to be asked, or none in time.
    pub(in crate::control) is_late: bool,
    pub(in crate::control) why: String,
}

impl Servers {
    pub(in crate::control) fn new(tasks: &Tasks) -> Self {
        Self { tasks: tasks.clone(), connections: Mutex::default() }
    }

    /// Sends a request to a server of the upstream, and to up to two others if it has reached none.
    /// `key` tells clients apart where the balance goes by that.
    pub(in crate::control) async fn send(
        &self,
        upstream: &Upstream,
        request: &Request<Full<Bytes>>,
        (now, key): (Millis, u64),
        body_bytes_max: usize,
    ) -> Result<Reply, Unanswered> {
        let mut tried: Vec<Arc<upstream::Server>> = Vec::new();
        let mut last = unreached("it has no server that could be asked");
        while tried.len() < TRIES_MAX {
            let permit = match upstream.pick(now, key, spread(now, key), &tried) {
                Pick::Server(permit) => permit,
                Pick::Full => {
                    last = unreached("each of its servers has as many connections as it may");
                    break;
                }
                Pick::Nothing => break,
            };
            let server = Arc::clone(permit.server());
            let set = upstream.set();
            let settings = set.settings();
            let limit = Duration::from_millis(settings.connect_ms + settings.reply_ms);
            let connect = Duration::from_millis(settings.connect_ms);
            let Some(connections) = self.connections_to(&server, &set, connect) else { break };
            let sent = connections.send(request.clone(), body_bytes_max);
            let late = || Err(FetchError::Late(limit));
            let result = timeout(limit, sent).await.unwrap_or_else(|_| late());
            match result {
                Ok(reply) => {
                    server.note_answered();
                    return Ok(reply);
                }
                Err(error @ FetchError::Connect(_)) => {
                    upstream.note_failed(&server, now);
                    last = unreached(&error.to_string());
                    tried.push(server);
                }
                Err(error) => {
                    if !matches!(error, FetchError::TooLarge(_)) {
                        upstream.note_failed(&server, now);
                    }
                    let is_late = matches!(error, FetchError::Late(_));
                    return Err(Unanswered { may_be_told: true, is_late, why: error.to_string() });
                }
            }
        }
        Err(last)
    }

    fn connections_to(
        &self,
        server: &upstream::Server,
        set: &ServerSet,
        connect: Duration,
    ) -> Option<Arc<ServerConnections>> {
        let address = server.address();
        let place = match (address.tcp(), address.unix()) {
            (Some(address), _) => {
                let (host, port) = (address.ip().to_string(), address.port());
                Server::Tcp { host, port, has_tls: false }
            }
            (None, Some(path)) => Server::Unix(path.to_owned()),
            (None, None) => return None,
        };
        // No code panics while it holds the lock.
        let mut all = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= SERVERS_MAX {
            // Those of addresses that are long gone; the others connect anew.
            all.clear();
        }
        let tls = &set.settings().tls;
        let make = || {
            let trust = set.tls(server).map(Trust::of_upstream);
            let connections = ServerConnections::new(place, trust, connect, &self.tasks);
            Connected { tls: tls.clone(), connections: Arc::new(connections) }
        };
        let known = all.get(&address.to_string()).filter(|known| known.tls == *tls).cloned();
        let connected = known.unwrap_or_else(|| {
            let connected = make();
            all.insert(address.to_string(), connected.clone());
            connected
        });
        Some(connected.connections)
    }
}

fn unreached(why: &str) -> Unanswered {
    Unanswered { may_be_told: false, is_late: false, why: why.to_owned() }
}

/// Decides between equals.
fn spread(now: Millis, key: u64) -> u64 {
    (now.0 ^ key.rotate_left(17)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// A server, and two others.
const TRIES_MAX: usize = 3;
/// Servers with connections that are kept.
const SERVERS_MAX: usize = 1024;
