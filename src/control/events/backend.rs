//! The conversations of a route, which the loops begin and end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use super::servers::Servers;
use super::settings::EventBackendSettings;
use crate::control::breaker::Breaker;
use crate::control::tasks::{Job, Tasks};
use crate::control::wall_now::wall_now;
use crate::events::api_gateway::GatewayStyle;
use crate::events::{Action, ActionParts, ClientEvent, Conversation, End, EventHead, EventRequest};
use crate::http::Rejection;
use crate::metrics::ControlCounters;
use crate::services::{
    Accept, EventAnswer, EventBackend, EventClient, EventOpening, EventRoom, Peer, ServiceMessage,
    ServiceSender,
};
use crate::shrink::Shrink as _;
use crate::timer::{Millis, WallTime};

/// Tells a backend of the events of a route's connections. It goes on over reloads and over failures of
/// the control thread.
#[derive(Debug)]
pub struct EventBackends(pub(super) Arc<Conversations>);

/// The conversations, and what goes on from one run of the thread to the next.
pub(super) struct Conversations {
    settings: ArcSwap<EventBackendSettings>,
    counters: Arc<ControlCounters>,
    /// Itself, for tasks.
    own: Weak<Self>,
    start: Start,
    state: Mutex<State>,
}

pub(super) struct State {
    current: Option<Current>,
    by_peer: HashMap<Peer, Entry>,
    pub(super) breaker: Breaker,
    /// The time of the loops, and when it was told.
    loop_time: (Millis, Instant),
}

/// Starts the task that makes the requests about a connection, at once or, to keep the connection alive,
/// when it has been quiet for this long.
pub(super) type Start = fn(&Tasks, Arc<Conversations>, Peer, Option<u32>) -> AbortHandle;

/// What there is of the run that is under way.
#[derive(Clone)]
pub(super) struct Current {
    pub(super) tasks: Tasks,
    pub(super) servers: Arc<Servers>,
    pub(super) permits: Arc<Semaphore>,
}

/// A connection.
pub(super) struct Entry {
    pub(super) conversation: Conversation,
    pub(super) head: Arc<EventHead>,
    answer_to: ServiceSender,
    /// How its events are told, as the route had it when it was begun.
    pub(super) style: Option<Arc<GatewayStyle>>,
    /// When the client has asked to be let in.
    pub(super) opened_at: WallTime,
    /// Bytes that the loop has charged and was not told to release: of messages, of the head, and of what the backend
    /// has kept.
    charged: usize,
    /// Whether the client was let in. Then its end comes, and until it has come answers may be on their
    /// way that its service has to undo.
    is_let_in: bool,
    /// Whether the connection has ended.
    is_gone: bool,
    /// Whether a task makes its requests.
    is_busy: bool,
    /// What its task waits for that has more to tell: the loop has done what it was told.
    part_done: Option<oneshot::Sender<()>>,
    /// Makes a request if nothing else does.
    timer: Option<AbortHandle>,
    /// Reminds the service, and when: another run has to be asked again.
    reminder: Option<AbortHandle>,
    remind_at: Option<Millis>,
}

/// A request that is to be made.
pub(super) struct Next {
    pub(super) request: EventRequest,
    pub(super) head: Arc<EventHead>,
    pub(super) style: Option<Arc<GatewayStyle>>,
    pub(super) opened_at: WallTime,
    pub(super) current: Current,
}

/// What the loop is told of a request, as far as the backend has a say in it.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) decision: Option<Result<Accept, Rejection>>,
    pub(super) actions: ActionParts,
}

impl From<ActionParts> for Told {
    fn from(actions: ActionParts) -> Self {
        Self { decision: None, actions }
    }
}

/// What the loop is yet to be told of a reply, and what comes when it is the time for that.
pub(super) struct Rest {
    pub(super) actions: ActionParts,
    pub(super) part_done: oneshot::Receiver<()>,
}

/// An answer that says nothing.
fn nothing(peer: Peer) -> EventAnswer {
    EventAnswer {
        peer,
        decision: None,
        actions: Vec::new(),
        has_more: false,
        charged_bytes: 0,
        released_bytes: 0,
        resumes: false,
        is_reminder: false,
        is_over: false,
    }
}

impl EventBackends {
    pub(super) fn new(
        settings: EventBackendSettings,
        counters: Arc<ControlCounters>,
        start: Start,
    ) -> (Arc<Self>, Arc<dyn Job>) {
        let state = State {
            current: None,
            by_peer: HashMap::new(),
            breaker: Breaker::new(settings.failures_max),
            loop_time: (Millis(0), now()),
        };
        let own = Arc::new_cyclic(|own| Conversations {
            own: Weak::clone(own),
            start,
            settings: ArcSwap::from_pointee(settings),
            counters,
            state: Mutex::new(state),
        });
        (Arc::new(Self(Arc::clone(&own))), own)
    }

    /// When a client that was let in has asked for it, and what it called itself then; `None` if it is
    /// no client of the route, or no more.
    #[must_use]
    pub fn client(&self, peer: Peer) -> Option<EventClient> {
        let state = self.0.state();
        let entry = state.by_peer.get(&peer).filter(|own| own.is_let_in && !own.is_gone)?;
        let mut lines = entry.head.lines();
        let agent = lines.find(|(name, _)| name.eq_ignore_ascii_case(b"User-Agent"));
        let agent = agent.map(|(_, value)| String::from_utf8_lossy(value).into_owned());
        Some(EventClient { connected_at: entry.opened_at, user_agent: agent.unwrap_or_default() })
    }

    /// Goes on with other settings. Requests under way end with those that they were begun with.
    pub fn set(&self, settings: EventBackendSettings) {
        let requests_max = settings.requests_max;
        let before = self.0.settings.swap(Arc::new(settings));
        if before.requests_max != requests_max
            && let Some(current) = &mut self.0.state().current
        {
            current.permits = Arc::new(Semaphore::new(requests_max));
        }
    }
}

impl EventBackends {
    /// Whether anything is held for a connection.
    #[must_use]
    pub fn has_connections(&self) -> bool {
        !self.0.state().by_peer.is_empty()
    }
}

impl EventBackend for EventBackends {
    fn open(&self, opening: EventOpening) {
        let own = &self.0;
        let EventOpening { peer, head, answer_to, now: loop_now } = opening;
        let mut state = own.state_at(loop_now);
        if state.current.is_none() || !state.breaker.is_closed() && !state.breaker.is_due(now()) {
            drop(state);
            own.counters.event_drops.add(1);
            let rejection =
                Rejection::unavailable(RETRY_AFTER_S, "the backend fails, try again later");
            let (decision, released_bytes) = (Some(Err(rejection)), head.held_bytes());
            let answer = EventAnswer { decision, released_bytes, ..nothing(peer) };
            return answer_to.post(Box::new(answer));
        }
        let settings = own.settings();
        let entry = Entry {
            conversation: match &settings.gateway_style {
                None => Conversation::new(settings.limits),
                Some(_) => Conversation::of_single_events(settings.limits),
            },
            style: settings.gateway_style.clone(),
            opened_at: wall_now(),
            charged: head.held_bytes(),
            head: Arc::new(head),
            answer_to,
            is_let_in: false,
            is_gone: false,
            is_busy: false,
            part_done: None,
            timer: None,
            reminder: None,
            remind_at: None,
        };
        state.by_peer.insert(peer, entry);
        own.go_on(&mut state, peer);
    }

    fn message(&self, peer: Peer, event: ClientEvent, payload: &[u8], now: Millis) -> EventRoom {
        let own = &self.0;
        let mut state = own.state_at(now);
        let Some(entry) = state.by_peer.get_mut(&peer) else { return EventRoom::Untold };
        if !entry.conversation.is_told() {
            return EventRoom::Untold;
        }
        entry.conversation.message(event, payload);
        entry.charged += payload.len();
        // A request that was not begun yet takes it all.
        own.go_on(&mut state, peer);
        let Some(entry) = state.by_peer.get_mut(&peer) else { return EventRoom::Room };
        if entry.conversation.pauses() { EventRoom::Full } else { EventRoom::Room }
    }

    fn end(&self, peer: Peer, end: End, reason: &str, now: Millis) {
        let own = &self.0;
        let mut state = own.state_at(now);
        let Some(entry) = state.by_peer.get_mut(&peer) else { return };
        entry.conversation.close_reason(reason);
        entry.conversation.end(end);
        entry.is_gone = true;
        if let Some(reminder) = entry.reminder.take() {
            reminder.abort();
        }
        // What was to come yet is dropped by the task that has it.
        entry.tell_part_done();
        if entry.conversation.has_grip() {
            // Behind the answers before it, of which one may have made the client a member of a channel.
            let answer = EventAnswer { is_over: true, ..nothing(peer) };
            entry.answer_to.post(Box::new(answer));
        }
        own.go_on(&mut state, peer);
        state.remove_if_over(peer);
    }

    fn part_done(&self, peer: Peer, now: Millis) {
        if let Some(entry) = self.0.state_at(now).by_peer.get_mut(&peer) {
            entry.tell_part_done();
        }
    }

    fn refresh(&self, peer: Peer, now: Millis) {
        let own = &self.0;
        let mut state = own.state_at(now);
        let Some(current) = &state.current else { return };
        let tasks = current.tasks.clone();
        let Some(entry) = state.by_peer.get_mut(&peer) else { return };
        if entry.is_busy || !entry.conversation.is_told() {
            // It is asked about just now.
            return;
        }
        if let Some(timer) = entry.timer.take() {
            timer.abort();
        }
        entry.timer = Some((own.start)(&tasks, Arc::clone(own), peer, Some(0)));
    }

    fn remind(&self, peer: Peer, after_ms: u64, now: Millis) {
        let own = &self.0;
        let mut state = own.state_at(now);
        let Some(entry) = state.by_peer.get_mut(&peer).filter(|own| !own.is_gone) else { return };
        entry.remind_at = Some(now.plus(after_ms));
        own.wait_to_remind(&mut state, peer);
    }
}

impl Conversations {
    pub(super) fn settings(&self) -> Arc<EventBackendSettings> {
        self.settings.load_full()
    }

    pub(super) fn counters(&self) -> &ControlCounters {
        &self.counters
    }

    /// Has a task make the requests about a connection, unless one does or there is none to be made.
    fn go_on(self: &Arc<Self>, state: &mut State, peer: Peer) {
        let Some(current) = &state.current else { return };
        let Some(entry) = state.by_peer.get_mut(&peer) else { return };
        if entry.is_busy || !entry.conversation.has_request() {
            return;
        }
        entry.is_busy = true;
        if let Some(timer) = entry.timer.take() {
            timer.abort();
        }
        (self.start)(&current.tasks, Arc::clone(self), peer, None);
    }

    /// The next request about a connection. Without one the task that asks has nothing more to do.
    pub(super) fn next(self: &Arc<Self>, peer: Peer, is_kept_alive: bool) -> Option<Next> {
        let mut state = self.state();
        let current = state.current.clone();
        let entry = state.by_peer.get_mut(&peer)?;
        if let Some(current) = current {
            let request = match is_kept_alive {
                true => entry.conversation.keep_alive_request(),
                false => entry.conversation.next_request(),
            };
            if let Some(request) = request {
                let (head, style) = (Arc::clone(&entry.head), entry.style.clone());
                let opened_at = entry.opened_at;
                return Some(Next { request, head, style, opened_at, current });
            }
        }
        entry.is_busy = false;
        if entry.is_over() {
            state.remove(peer);
        } else {
            self.wait(&mut state, peer);
        }
        None
    }

    /// Has a request made when a connection was quiet for as long as its backend wants, if it wants that.
    fn wait(self: &Arc<Self>, state: &mut State, peer: Peer) {
        let Some(current) = &state.current else { return };
        let Some(entry) = state.by_peer.get_mut(&peer) else { return };
        let wanted = entry.conversation.keep_alive_s();
        entry.timer = wanted
            .map(|seconds| (self.start)(&current.tasks, Arc::clone(self), peer, Some(seconds)));
    }

    /// Has the service reminded of a connection when it has asked for that, if this is a run.
    fn wait_to_remind(&self, state: &mut State, peer: Peer) {
        let now = state.loop_now();
        let Some(current) = &state.current else { return };
        let Some(entry) = state.by_peer.get_mut(&peer) else { return };
        if let Some(reminder) = entry.reminder.take() {
            reminder.abort();
        }
        let Some(at) = entry.remind_at else { return };
        let answer_to = entry.answer_to.clone();
        entry.reminder = Some(current.tasks.spawn(async move {
            sleep(Duration::from_millis(at.0.saturating_sub(now.0))).await;
            let answer = EventAnswer { is_reminder: true, ..nothing(peer) };
            answer_to.post(Box::new(answer));
        }));
    }

    /// A connection was quiet for as long as its backend wants. Whether a request is to be made.
    pub(super) fn is_quiet(&self, peer: Peer) -> bool {
        let mut state = self.state();
        let Some(entry) = state.by_peer.get_mut(&peer) else { return false };
        let is_quiet = !entry.is_busy;
        entry.is_busy = true;
        is_quiet
    }

    /// Goes on with a connection by what `take` makes of it, such as of the end of its request, and tells the loop
    /// the first part of that. Loops may wait meanwhile, so `take` must not take long.
    pub(super) fn took(&self, peer: Peer, take: impl FnOnce(&mut Entry) -> Told) -> Option<Rest> {
        // What is left is dropped when the lock is given back, as it may be much.
        let mut left;
        let mut state = self.state();
        let entry = state.by_peer.get_mut(&peer)?;
        let Told { decision, actions } = take(entry);
        left = actions;
        entry.is_let_in |= matches!(decision, Some(Ok(_)));
        let is_told = !entry.is_gone;
        let actions = if is_told { left.next_part() } else { Vec::new() };
        let has_more = is_told && !left.is_empty();
        let held = entry.held_bytes() + if has_more { left.held_bytes() } else { 0 };
        let charged_bytes = held.saturating_sub(entry.charged);
        let released_bytes = entry.charged.saturating_sub(held);
        entry.charged = held;
        let resumes = entry.conversation.resumes();
        let part_done = has_more.then(|| {
            let (sender, receiver) = oneshot::channel();
            entry.part_done = Some(sender);
            receiver
        });
        let changes = charged_bytes > 0 || released_bytes > 0 || resumes;
        if decision.is_some() || !actions.is_empty() || changes {
            let said = EventAnswer { decision, actions, has_more, ..nothing(peer) };
            let answer = EventAnswer { charged_bytes, released_bytes, resumes, ..said };
            let held = answer.held_bytes();
            // Before the lock is given back: the last answer about a connection that ends meanwhile must
            // come behind this one, which it may have to undo.
            entry.answer_to.post(ServiceMessage::holding(answer, held));
        }
        let part_done = part_done?;
        Some(Rest { actions: left, part_done })
    }

    /// A task has ended in the middle of a request, or of what its reply leads to.
    pub(super) fn lost(self: &Arc<Self>, peer: Peer, is_opening: bool) {
        self.took(peer, |entry| {
            if !entry.conversation.has_ended() {
                entry.conversation.failed(false);
            }
            let rejection =
                || Rejection::unavailable(RETRY_AFTER_S, "the backend cannot be asked now");
            match is_opening {
                true => Told { decision: Some(Err(rejection())), ..Told::default() },
                false => ActionParts::from(vec![Action::Drop]).into(),
            }
        });
        let mut state = self.state();
        if let Some(entry) = state.by_peer.get_mut(&peer) {
            entry.is_busy = false;
        }
        self.go_on(&mut state, peer);
        state.remove_if_over(peer);
    }

    /// The time of the loops, as far as it is known.
    pub(super) fn loop_now(&self) -> Millis {
        self.state().loop_now()
    }

    fn state_at(&self, loop_now: Millis) -> MutexGuard<'_, State> {
        let mut state = self.state();
        state.loop_time = (loop_now, now());
        state
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn loop_now(&self) -> Millis {
        let (told, at) = self.loop_time;
        told.plus(u64::try_from(at.elapsed().as_millis()).unwrap_or(0))
    }

    fn remove_if_over(&mut self, peer: Peer) {
        if self.by_peer.get(&peer).is_some_and(Entry::is_over) {
            self.remove(peer);
        }
    }

    /// Nothing more is held for a connection.
    fn remove(&mut self, peer: Peer) {
        let Some(entry) = self.by_peer.remove(&peer) else { return };
        self.by_peer.shrink_if_sparse(0);
        let answer = EventAnswer { released_bytes: entry.charged, ..nothing(peer) };
        entry.answer_to.post(Box::new(answer));
    }
}

impl Entry {
    /// The task that waits for it may tell the loop more.
    fn tell_part_done(&mut self) {
        if let Some(waiting) = self.part_done.take() {
            // A task that has ended meanwhile waits for nothing.
            let _ = waiting.send(());
        }
    }

    fn is_over(&self) -> bool {
        let is_awaited = self.is_let_in && !self.is_gone;
        !self.is_busy && !is_awaited && self.conversation.has_ended()
    }

    /// Bytes that are held for the connection.
    fn held_bytes(&self) -> usize {
        let own = &self.conversation;
        own.held_bytes() + own.kept_bytes() + self.head.held_bytes()
    }
}

impl std::fmt::Debug for Conversations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conversations").field("settings", &self.settings()).finish_non_exhaustive()
    }
}

impl Job for Conversations {
    fn begin(&self, tasks: &Tasks) {
        let servers = Arc::new(Servers::new(tasks));
        let permits = Arc::new(Semaphore::new(self.settings().requests_max));
        let Some(own) = self.own.upgrade() else { return };
        let mut state = self.state();
        state.current = Some(Current { tasks: tasks.clone(), servers, permits });
        // What waited for the thread to begin anew.
        let peers: Vec<Peer> = state.by_peer.keys().copied().collect();
        for peer in peers {
            if let Some(entry) = state.by_peer.get_mut(&peer) {
                // Also one whose task had not begun when the run before has ended.
                entry.is_busy = false;
            }
            own.wait(&mut state, peer);
            own.wait_to_remind(&mut state, peer);
            own.go_on(&mut state, peer);
            state.remove_if_over(peer);
        }
    }

    fn end(&self) {
        let mut state = self.state();
        state.current = None;
        for entry in state.by_peer.values_mut() {
            (entry.timer, entry.reminder) = (None, None);
        }
    }
}

/// The runtime's clock: it measures pauses, and how old the time of the loops is.
pub(super) fn now() -> Instant {
    Instant::now()
}

const RETRY_AFTER_S: u32 = 1;
