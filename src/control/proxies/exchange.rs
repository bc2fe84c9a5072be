//! A request to the backend, and what its reply comes to.

use std::time::Duration;

use hyper::StatusCode;
use log::Level;
use tokio::time::timeout_at;

use super::request::request_of;
use super::settings::ProxySettings;
use super::state::{Backend, Current, now};
use crate::centrifugo::{ProxyReply, parse_proxy_reply};
use crate::control::fetch::Reply;
use crate::services::{Peer, ProxyRequest};

/// Asks, and gives what the backend says; `None` if that is nothing of use, or nothing in time.
pub(super) async fn run(
    backend: &Backend,
    settings: &ProxySettings,
    current: &Current,
    asked: &ProxyRequest,
) -> Option<ProxyReply> {
    let deadline = now() + Duration::from_millis(settings.timeout_ms);
    // Permits are never closed. That it waits for one in vain says nothing of the backend.
    let _permit = timeout_at(deadline, current.permits.acquire()).await.ok()?.ok()?;
    if !backend.state().breaker.admits(now()) {
        return None;
    }
    let mut attempt = Attempt { backend, is_open: true };
    let request = request_of(asked, settings)?;
    backend.counters.proxy_requests.add(1);
    let at = (backend.loop_now(), balance_key(asked.peer));
    let bytes_max = settings.reply_bytes_max;
    let sent = current.servers.send(&settings.upstream, &request, at, bytes_max);
    let result = timeout_at(deadline, sent).await;
    attempt.is_open = false;
    match result {
        Ok(Ok(reply)) => judge(backend, settings, asked, &reply),
        Ok(Err(unanswered)) => {
            note_failed(backend, settings, &unanswered.why);
            None
        }
        Err(_) => {
            let why = format!("it has not answered within {} ms", settings.timeout_ms);
            note_failed(backend, settings, &why);
            None
        }
    }
}

fn judge(
    backend: &Backend,
    settings: &ProxySettings,
    asked: &ProxyRequest,
    reply: &Reply,
) -> Option<ProxyReply> {
    let status = reply.status;
    if let Some(configured) = settings.reply_of(status.as_u16()) {
        note_answered(backend, settings);
        return Some(configured);
    }
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        note_failed(backend, settings, &format!("its status is {}", status.as_u16()));
        return None;
    }
    note_answered(backend, settings);
    let parsed = match status {
        StatusCode::OK => {
            parse_proxy_reply(asked.kind, &reply.body).map_err(|error| error.to_string())
        }
        _ => Err(format!("its status is {}", status.as_u16())),
    };
    let is_invalid = parsed.is_err();
    let was_invalid = std::mem::replace(&mut backend.state().is_invalid, is_invalid);
    match parsed {
        Ok(parsed) => Some(parsed),
        Err(why) => {
            if !was_invalid {
                let (name, kind) = (&settings.name, asked.kind);
                log::warn!("channels: a reply of the proxy {name} to {kind:?} is of no use: {why}");
            }
            None
        }
    }
}

/// A request that the breaker has let through. To drop it is to give up.
struct Attempt<'a> {
    backend: &'a Backend,
    is_open: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.is_open {
            self.backend.state().breaker.abandoned(now());
        }
    }
}

fn note_answered(backend: &Backend, settings: &ProxySettings) {
    if backend.state().breaker.answered() {
        log::info!("channels: the backend of the proxy {} answers again", settings.name);
    }
}

fn note_failed(backend: &Backend, settings: &ProxySettings, why: &str) {
    let mut state = backend.state();
    let was_closed = state.breaker.is_closed();
    let pause = state.breaker.failed(now());
    drop(state);
    let Some(pause) = pause else { return };
    backend.counters.proxy_stops.add(1);
    let (name, seconds) = (&settings.name, pause.as_secs());
    log::log!(
        if was_closed { Level::Warn } else { Level::Debug },
        "channels: the backend of the proxy {name} fails: {why}; commands get error 100, and it is asked \
         again in {seconds} s"
    );
}

/// Tells connections apart where the balance goes by that.
fn balance_key(peer: Peer) -> u64 {
    (u64::from(peer.key.index) << 16) | u64::from(peer.loop_index)
}
