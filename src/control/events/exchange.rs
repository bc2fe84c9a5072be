//! The requests about one connection, one after the other.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use log::Level;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::backend::{Conversations, Entry, Told, now};
use super::gateway_style;
use super::outcome;
use super::request::{ToldOf, request_of};
use super::servers::Unanswered;
use crate::control::connection_id;
use crate::control::fetch::Reply;
use crate::control::tasks::Tasks;
use crate::events::{About, Action};
use crate::http::Rejection;
use crate::services::{Accept, Peer};

/// Starts a task that makes requests about a connection: see [`Start`](super::backend::Start).
pub(super) fn start(
    tasks: &Tasks,
    all: Arc<Conversations>,
    peer: Peer,
    after_s: Option<u32>,
) -> AbortHandle {
    match after_s {
        None => tasks.spawn(run(all, peer, false)),
        Some(seconds) => tasks.spawn(keep_alive(all, peer, seconds)),
    }
}

/// Makes requests as long as there are any to be made, at first one to keep the connection alive.
async fn run(all: Arc<Conversations>, peer: Peer, mut is_kept_alive: bool) {
    while let Some(next) = all.next(peer, std::mem::take(&mut is_kept_alive)) {
        let about = next.request.about;
        let guard = Guard { all: &all, peer, about, is_open: true };
        let mut told = ToldOf { id: connection_id::encode(peer), next, route_key: String::new() };
        let result = exchange(&all, peer, &mut told).await;
        guard.close(|all| {
            all.took(peer, |entry| match entry.style.clone() {
                None => take(all, entry, about, result),
                Some(style) => gateway_style::take(all, entry, &style, &told, result),
            });
        });
    }
}

/// Makes a request about a connection that has been quiet for this long.
async fn keep_alive(all: Arc<Conversations>, peer: Peer, seconds: u32) {
    sleep(Duration::from_secs(seconds.into())).await;
    if all.is_quiet(peer) {
        run(all, peer, true).await;
    }
}

/// A request under way. To drop it is to lose it: when its task panics, or when a run ends with its tasks.
struct Guard<'a> {
    all: &'a Arc<Conversations>,
    peer: Peer,
    about: About,
    is_open: bool,
}

impl Guard<'_> {
    fn close(mut self, take: impl FnOnce(&Arc<Conversations>)) {
        self.is_open = false;
        take(self.all);
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if self.is_open {
            self.all.lost(self.peer, self.about == About::Opening);
        }
    }
}

/// Sends a request, again and again where that is right.
async fn exchange(all: &Conversations, peer: Peer, told: &mut ToldOf) -> Result<Reply, Unanswered> {
    let mut retries = 0;
    loop {
        all.counters().event_requests.add(1);
        let result = send(all, peer, told).await;
        let may_retry = match (&result, told.next.request.about) {
            (_, About::Opening) => false,
            (Err(unanswered), About::Messages) => !unanswered.may_be_told,
            (Ok(_), About::Messages) => false,
            (Err(_), About::End) => true,
            (Ok(reply), About::End) => reply.status.is_server_error(),
        };
        if !may_retry || retries == RETRIES_MAX {
            return result;
        }
        sleep(Duration::from_secs(1 << retries) + jitter(peer, retries)).await;
        retries += 1;
        all.counters().event_retries.add(1);
    }
}

/// Up to a second, so that clients that were lost together do not come back together.
fn jitter(peer: Peer, retries: u32) -> Duration {
    let mixed =
        ((u64::from(peer.key.index) << 8) | u64::from(retries)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    Duration::from_millis((mixed >> 32) % 1000)
}

/// Sends a request once, unless its backend is left alone.
async fn send(all: &Conversations, peer: Peer, told: &mut ToldOf) -> Result<Reply, Unanswered> {
    let ToldOf { id, next, route_key } = told;
    let settings = all.settings();
    // They are never closed.
    let _permit = next.current.permits.acquire().await.ok();
    let _of_all = settings.all_requests.acquire().await.ok();
    if !all.state().breaker.admits(now()) {
        let why = "it is left alone for a while, after it has failed again and again".to_owned();
        all.counters().event_failures.add(1);
        return Err(Unanswered { may_be_told: false, is_late: false, why });
    }
    let mut attempt = Attempt { all, is_open: true };
    let Some(made) = request_of(next, id, &settings) else {
        let why = "the request cannot be passed on".to_owned();
        return Err(Unanswered { may_be_told: false, is_late: false, why });
    };
    *route_key = made.route_key;
    let key = (u64::from(peer.key.index) << 16) | u64::from(peer.loop_index);
    let at = (all.loop_now(), key);
    let servers = &next.current.servers;
    let result =
        servers.send(&settings.upstream, &made.request, at, settings.reply_bytes_max).await;
    attempt.is_open = false;
    match &result {
        Ok(reply)
            if reply.status.is_server_error() || reply.status == StatusCode::TOO_MANY_REQUESTS =>
        {
            note_failed(all, &format!("its status is {}", reply.status.as_u16()));
        }
        Ok(_) => note_answered(all),
        Err(unanswered) => note_failed(all, &unanswered.why),
    }
    result
}

/// A request that the breaker has let through. To drop it is to give up.
struct Attempt<'a> {
    all: &'a Conversations,
    is_open: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.is_open {
            self.all.state().breaker.abandoned(now());
        }
    }
}

fn note_answered(all: &Conversations) {
    if all.state().breaker.answered() {
        let settings = all.settings();
        let (route, upstream) = (&settings.route, settings.upstream.name());
        log::info!("route {route}: the backend {upstream} answers again");
    }
}

fn note_failed(all: &Conversations, why: &str) {
    all.counters().event_failures.add(1);
    let mut state = all.state();
    let was_closed = state.breaker.is_closed();
    let pause = state.breaker.failed(now());
    drop(state);
    let Some(pause) = pause else { return };
    all.counters().event_stops.add(1);
    let settings = all.settings();
    let (route, upstream) = (&settings.route, settings.upstream.name());
    log::log!(
        if was_closed { Level::Warn } else { Level::Debug },
        "route {route}: the backend {upstream} fails: {why}; the next request is made in {} s",
        pause.as_secs()
    );
}

/// What becomes of a connection by the end of its request.
fn take(
    all: &Conversations,
    entry: &mut Entry,
    about: About,
    result: Result<Reply, Unanswered>,
) -> Told {
    match about {
        About::Opening => match decide(all, entry, result) {
            Ok((accept, actions)) => Told { decision: Some(Ok(accept)), actions },
            Err(rejection) => Told { decision: Some(Err(rejection)), actions: Vec::new() },
        },
        About::Messages => Told { decision: None, actions: messages(all, entry, result) },
        About::End => {
            let is_told = result.as_ref().is_ok_and(|reply| !reply.status.is_server_error());
            all.counters().event_ends_lost.add(u64::from(!is_told));
            entry.conversation.failed(true);
            Told::default()
        }
    }
}

fn decide(
    all: &Conversations,
    entry: &mut Entry,
    result: Result<Reply, Unanswered>,
) -> Result<(Accept, Vec<Action>), Rejection> {
    let refused = match result {
        Ok(reply) if outcome::has_events(&reply) => {
            match entry.conversation.replied(outcome::facts(&reply), &reply.body) {
                Ok(actions) => return Ok((outcome::accept(&reply, &entry.head), actions)),
                Err(broken) => {
                    warn(all, &broken.to_string());
                    Rejection::bad_gateway("the backend has not answered as it must")
                }
            }
        }
        Ok(reply) => {
            entry.conversation.failed(true);
            return Err(outcome::refusal(&reply));
        }
        Err(unanswered) => {
            entry.conversation.failed(!unanswered.may_be_told);
            match unanswered.is_late {
                true => Rejection::gateway_timeout("the backend has not answered in time"),
                false => Rejection::bad_gateway("the backend cannot be reached"),
            }
        }
    };
    all.counters().event_drops.add(1);
    Err(refused)
}

fn messages(
    all: &Conversations,
    entry: &mut Entry,
    result: Result<Reply, Unanswered>,
) -> Vec<Action> {
    match result {
        Ok(reply) if outcome::has_events(&reply) => {
            match entry.conversation.replied(outcome::facts(&reply), &reply.body) {
                Ok(actions) => return actions,
                Err(broken) => warn(all, &broken.to_string()),
            }
        }
        // It has said that there is no such connection.
        Ok(_) => entry.conversation.failed(true),
        Err(_) => entry.conversation.failed(false),
    }
    all.counters().event_drops.add(1);
    vec![Action::Drop]
}

fn warn(all: &Conversations, why: &str) {
    let settings = all.settings();
    let (route, upstream) = (&settings.route, settings.upstream.name());
    log::warn!("route {route}: a reply of the backend {upstream} is of no use: {why}");
}

/// After the first try of a request.
const RETRIES_MAX: u32 = 5;
