//! The requests about one connection, one after the other.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use log::Level;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::backend::{Conversations, Entry, Rest, Told, now};
use super::gateway_style;
use super::outcome::{self, Said, Verdict};
use super::request::{ToldOf, request_of};
use super::servers::Unanswered;
use crate::control::connection_id;
use crate::control::fetch::Reply;
use crate::control::tasks::Tasks;
use crate::events::{About, Action, ActionParts, Broken, Conversation};
use crate::http::Rejection;
use crate::services::Peer;

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
        let mut guard = Guard { all: &all, peer, about, is_open: true };
        let mut told = ToldOf { id: connection_id::encode(peer), next, route_key: String::new() };
        // Until the loop has what comes of the reply, and that is charged: otherwise replies would gather that are
        // read more slowly than they come.
        let (result, permits) = exchange(&all, peer, &mut told).await;
        let verdict = match told.next.style.clone() {
            None => outcome::verdict(&told.next, result).await,
            Some(style) => gateway_style::verdict(&style, &told, result),
        };
        // What it has told is charged no longer than until the loop has the answer.
        drop(told);
        let mut broken = None;
        let mut rest = all.took(peer, |entry| take(&all, entry, verdict, &mut broken));
        drop(permits);
        // The loop has the decision, if there was one to be made.
        guard.about = About::Messages;
        if let Some(broken) = broken {
            warn(&all, &broken.to_string());
        }
        while let Some(Rest { actions, part_done }) = rest {
            // It comes in any case, as the connection may end as well.
            let _ = part_done.await;
            rest = all.took(peer, |_| actions.into());
        }
        guard.is_open = false;
    }
}

/// Makes a request about a connection that has been quiet for this long.
async fn keep_alive(all: Arc<Conversations>, peer: Peer, seconds: u32) {
    sleep(Duration::from_secs(seconds.into())).await;
    if all.is_quiet(peer) {
        run(all, peer, true).await;
    }
}

/// A request under way, or what its reply leads to. To drop it is to lose it: when its task panics, or when a run
/// ends with its tasks.
struct Guard<'a> {
    all: &'a Arc<Conversations>,
    peer: Peer,
    about: About,
    is_open: bool,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if self.is_open {
            self.all.lost(self.peer, self.about == About::Opening);
        }
    }
}

/// What a request needs as one of those that are made at once. They are never closed.
struct Permits {
    _of_route: Option<OwnedSemaphorePermit>,
    _of_all: Option<OwnedSemaphorePermit>,
}

async fn permits(all: &Conversations, told: &ToldOf) -> Permits {
    let [of_route, of_all] =
        [&told.next.current.permits, &all.settings().all_requests].map(Arc::clone);
    Permits {
        _of_route: of_route.acquire_owned().await.ok(),
        _of_all: of_all.acquire_owned().await.ok(),
    }
}

/// Sends a request, again and again where that is right.
async fn exchange(
    all: &Conversations,
    peer: Peer,
    told: &mut ToldOf,
) -> (Result<Reply, Unanswered>, Permits) {
    let mut retries = 0;
    loop {
        all.counters().event_requests.add(1);
        let permits = permits(all, told).await;
        let result = send(all, peer, told).await;
        let may_retry = match (&result, told.next.request.about) {
            (_, About::Opening) => false,
            (Err(unanswered), About::Messages) => !unanswered.may_be_told,
            (Ok(_), About::Messages) => false,
            (Err(_), About::End) => true,
            (Ok(reply), About::End) => reply.status.is_server_error(),
        };
        if !may_retry || retries == RETRIES_MAX {
            return (result, permits);
        }
        drop(permits);
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

/// What becomes of a connection by the end of its request. What makes a reply of no use is in `broken` then.
fn take(
    all: &Conversations,
    entry: &mut Entry,
    verdict: Verdict,
    broken: &mut Option<Broken>,
) -> Told {
    let conversation = &mut entry.conversation;
    match verdict {
        Verdict::LetIn(accept, said) => match conclude(conversation, said) {
            Ok(actions) => Told { decision: Some(Ok(accept)), actions },
            Err(why) => {
                *broken = Some(why);
                let why = "the backend has not answered as it must";
                refused(all, Rejection::bad_gateway(why))
            }
        },
        Verdict::Refused(rejection) => {
            conversation.failed(true);
            Told { decision: Some(Err(rejection)), ..Told::default() }
        }
        Verdict::Unreached { may_be_told, is_late } => {
            conversation.failed(!may_be_told);
            refused(
                all,
                match is_late {
                    true => Rejection::gateway_timeout("the backend has not answered in time"),
                    false => Rejection::bad_gateway("the backend cannot be reached"),
                },
            )
        }
        Verdict::Said(said) => match conclude(conversation, said) {
            Ok(actions) => actions.into(),
            Err(why) => {
                *broken = Some(why);
                dropped(all)
            }
        },
        Verdict::Lost { is_over } => {
            conversation.failed(is_over);
            dropped(all)
        }
        Verdict::End { is_told } => {
            all.counters().event_ends_lost.add(u64::from(!is_told));
            conversation.failed(true);
            Told::default()
        }
    }
}

fn conclude(conversation: &mut Conversation, said: Said) -> Result<ActionParts, Broken> {
    match said {
        Said::Events(facts, read) => conversation.take_reply(facts, read),
        Said::Answer(actions) => Ok(conversation.answered(actions).into()),
    }
}

fn refused(all: &Conversations, rejection: Rejection) -> Told {
    all.counters().event_drops.add(1);
    Told { decision: Some(Err(rejection)), ..Told::default() }
}

fn dropped(all: &Conversations) -> Told {
    all.counters().event_drops.add(1);
    ActionParts::from(vec![Action::Drop]).into()
}

fn warn(all: &Conversations, why: &str) {
    let settings = all.settings();
    let (route, upstream) = (&settings.route, settings.upstream.name());
    log::warn!("route {route}: a reply of the backend {upstream} is of no use: {why}");
}

/// After the first try of a request.
const RETRIES_MAX: u32 = 5;
