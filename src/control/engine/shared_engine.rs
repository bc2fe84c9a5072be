//! The engine that several gateways share: between the loops, which ask, and the broker, which is asked.
//!
//! Questions gather in an inbox that loops write to, and one task takes them to the follower, which decides what
//! is asked of the broker and what each port hears. The follower outlives a run of the thread: after one that
//! failed, what was under way is answered as unavailable, and the broker is reached anew.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::event_queue::{EventReceiver, EventSender, QueuedEvent, event_queue};
use crate::centrifugo::parse_presence;
use crate::channels::EngineError;
use crate::channels::remote::{
    Asked, BrokerCommand, BrokerEvent, EngineAction, EngineQuestion, EngineRoom, Follower,
    FollowerLimits, FollowerOutput, NodeAnswers, NodeEvent, NodeId, Nodes, Port, PortEvent,
};
use crate::control::node_calls::{AskNodes, NodeAnswerer};
use crate::control::tasks::{Job, Tasks};
use crate::metrics::ControlCounters;
use crate::os::host_name;
use crate::services::{EngineDelivery, EngineLink, ServiceSender};
use crate::timer::Millis;

/// Runs an adapter of a broker until its commands are closed.
pub(in crate::control) type RunBroker =
    Box<dyn Fn(UnboundedReceiver<BrokerCommand>, EventSender) -> BrokerTask + Send + Sync>;

/// An adapter that runs.
pub(in crate::control) type BrokerTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The engine of channels that other gateways share. It is asked as long as this lives.
#[derive(Debug)]
pub struct SharedEngine {
    state: Arc<State>,
    job: Arc<dyn Job>,
}

struct State {
    run_broker: RunBroker,
    inbox: Mutex<Inbox>,
    /// Told when the inbox is no longer empty.
    is_asked: Notify,
    follower: Mutex<Follower>,
    node: u64,
    nodes: Mutex<Nodes>,
    /// Ports that are told of nodes that are gone.
    watchers: Mutex<HashSet<Port>>,
    /// Who has asked what all gateways are asked, by the number of that. Outlives a run, as each is owed an answer.
    surveyors: Mutex<HashMap<u64, Surveyor>>,
    /// What answers other gateways; `None` before the start.
    answerer: Mutex<Option<Arc<dyn NodeAnswerer>>>,
    is_up: AtomicBool,
    /// For publications on their way, from a port to the connection of the broker.
    room: EngineRoom,
    /// Questions that ports have refused themselves.
    refused: AtomicU64,
    counters: Arc<ControlCounters>,
    began: Instant,
}

#[derive(Default)]
struct Inbox {
    questions: Vec<EngineQuestion>,
    /// By the numbers of their ports.
    ports: Vec<Option<ServiceSender>>,
    /// Ports that ask no more.
    detached: Vec<Port>,
    /// What gateways are to be asked, which of them, and for whom.
    surveys: Vec<(String, Asked, Surveyor)>,
    /// Nodes whose end ports are told.
    watched: Vec<(Port, u64)>,
    /// Heard once the others know that this gateway ends.
    farewell: Option<std::sync::mpsc::Sender<()>>,
    /// Answers to other gateways: which node, which question of it, and the answer.
    answers: Vec<(u64, u64, String)>,
}

/// Who has asked gateways.
#[derive(Debug)]
enum Surveyor {
    /// Gets the answers.
    Caller(oneshot::Sender<NodeAnswers>),
    /// A port, about the members of a channel.
    Port(Port, u64),
}

impl SharedEngine {
    /// The engine in this broker, and its work on the thread.
    pub(in crate::control) fn new(
        limits: FollowerLimits,
        node: u64,
        run_broker: RunBroker,
        counters: Arc<ControlCounters>,
    ) -> Self {
        let name = format!("{}:{}", host_name(), std::process::id()).into();
        let state = Arc::new(State {
            run_broker,
            inbox: Mutex::default(),
            is_asked: Notify::new(),
            follower: Mutex::new(Follower::new(limits)),
            node,
            nodes: Mutex::new(Nodes::new(NodeId { number: node, name })),
            watchers: Mutex::default(),
            surveyors: Mutex::default(),
            answerer: Mutex::default(),
            is_up: AtomicBool::new(false),
            room: EngineRoom::default(),
            refused: AtomicU64::new(0),
            counters,
            began: Instant::now(),
        });
        let job: Arc<dyn Job> = Arc::new(EngineJob { state: Arc::clone(&state) });
        Self { state, job }
    }

    pub(in crate::control) fn job(&self) -> &Arc<dyn Job> {
        &self.job
    }

    /// From now on this answers what other gateways ask.
    pub fn set_answerer(&self, answerer: Arc<dyn NodeAnswerer>) {
        *self.state.answerer.lock().unwrap_or_else(PoisonError::into_inner) = Some(answerer);
    }

    /// This gateway ends: says so to the others, which then wait for no answer of it. Waits for a moment until they
    /// know.
    pub fn finish(&self) {
        if !self.is_available() {
            return;
        }
        let (said, heard) = std::sync::mpsc::channel();
        self.state.inbox().farewell = Some(said);
        self.state.is_asked.notify_one();
        // Without them it is found out, after seconds.
        let _ = heard.recv_timeout(FAREWELL_MAX);
    }

    /// Whether the broker can be reached, as far as is known.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.state.is_up.load(Ordering::Relaxed)
    }
}

impl AskNodes for SharedEngine {
    fn own(&self) -> NodeId {
        self.state.nodes().own().clone()
    }

    fn others(&self) -> Vec<NodeId> {
        self.state.nodes().others()
    }

    fn ask_nodes(
        &self,
        text: String,
        asked: Asked,
    ) -> Pin<Box<dyn Future<Output = NodeAnswers> + Send + '_>> {
        let (answered, answers) = oneshot::channel();
        self.state.inbox().surveys.push((text, asked, Surveyor::Caller(answered)));
        self.state.is_asked.notify_one();
        Box::pin(async move { answers.await.unwrap_or_default() })
    }
}

impl EngineLink for SharedEngine {
    fn attach(&self, answer_to: ServiceSender) -> Port {
        let mut inbox = self.state.inbox();
        let number = u32::try_from(inbox.ports.len()).unwrap_or(u32::MAX);
        inbox.ports.push(Some(answer_to));
        Port(number)
    }

    fn detach(&self, port: Port) {
        let mut inbox = self.state.inbox();
        if let Some(own) = inbox.ports.get_mut(port.0 as usize) {
            *own = None;
        }
        inbox.detached.push(port);
        drop(inbox);
        self.state.is_asked.notify_one();
    }

    fn ask(&self, question: EngineQuestion) {
        let mut inbox = self.state.inbox();
        if let EngineAction::Presence { channel } = &question.action {
            let surveyor = Surveyor::Port(question.port, question.number);
            inbox.surveys.push((presence_call(channel), Asked::All, surveyor));
            drop(inbox);
            return self.state.is_asked.notify_one();
        }
        if let EngineAction::Watch(node) = question.action {
            inbox.watched.push((question.port, node));
            drop(inbox);
            return self.state.is_asked.notify_one();
        }
        let was_empty = inbox.questions.is_empty();
        inbox.questions.push(question);
        drop(inbox);
        if was_empty {
            self.state.is_asked.notify_one();
        }
    }

    fn refused(&self, count: u64) {
        // Nearly always nothing: loops share the line of the processor's cache only when it counts.
        if count > 0 {
            self.state.refused.fetch_add(count, Ordering::Relaxed);
        }
    }

    fn room(&self) -> EngineRoom {
        self.state.room.clone()
    }

    fn node(&self) -> u64 {
        self.state.node
    }
}

/// What the thread does for an engine.
#[derive(Debug)]
struct EngineJob {
    state: Arc<State>,
}

impl Job for EngineJob {
    fn begin(&self, tasks: &Tasks) {
        let (commands, to_broker) = unbounded_channel();
        let (from_broker, events) = event_queue(EVENTS_WAITING_MAX);
        tasks.spawn_vital((self.state.run_broker)(to_broker, from_broker));
        tasks.spawn_vital(drive(Arc::clone(&self.state), commands, events));
    }

    fn end(&self) {}
}

/// Takes questions and events to the follower, and what it wants to where it belongs.
async fn drive(
    state: Arc<State>,
    commands: UnboundedSender<BrokerCommand>,
    mut events: EventReceiver,
) {
    let mut turn = Turn::new(commands);
    // What was asked in a run before is not answered in this one.
    state.take_event(BrokerEvent::Down, &mut turn);
    state.finish(&mut turn, None);
    let credits = Arc::new(Semaphore::new(DELIVERIES_WAITING_MAX));
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let mut credit = None;
        tokio::select! {
            () = state.is_asked.notified() => state.take_questions(&mut turn),
            _ = ticks.tick() => state.tick(&mut turn),
            next = next_event(&credits, &mut events) => {
                let Some((QueuedEvent { event, room }, permit)) = next else { return };
                let mut own = Credit { _delivery: permit, rooms: room.into_iter().collect() };
                state.take_event(event, &mut turn);
                for _ in 1..EVENTS_AT_ONCE {
                    let Some(QueuedEvent { event, room }) = events.try_recv() else { break };
                    own.rooms.extend(room);
                    state.take_event(event, &mut turn);
                }
                credit = Some(own);
                // One turn for what was asked meanwhile: subscriptions go out together.
                state.take_questions(&mut turn);
            }
        }
        state.finish(&mut turn, credit);
    }
}

/// The next event of the broker, once the loops have taken what waits for them: until then it waits where it
/// comes from.
async fn next_event(
    credits: &Arc<Semaphore>,
    events: &mut EventReceiver,
) -> Option<(QueuedEvent, Option<OwnedSemaphorePermit>)> {
    let permit = Arc::clone(credits).acquire_owned().await.ok();
    events.recv().await.map(|event| (event, permit))
}

/// What waits for the loops, until they have taken all that has come of it.
struct Credit {
    /// One delivery.
    _delivery: Option<OwnedSemaphorePermit>,
    /// The room of the events.
    rooms: Vec<OwnedSemaphorePermit>,
}

/// What is used from turn to turn.
struct Turn {
    commands: UnboundedSender<BrokerCommand>,
    output: FollowerOutput,
    questions: Vec<EngineQuestion>,
    node_events: Vec<NodeEvent>,
    /// Told when the others know that this gateway ends.
    farewell: Option<std::sync::mpsc::Sender<()>>,
    /// Answers to other gateways that are under way.
    answering: Arc<Semaphore>,
}

impl Turn {
    fn new(commands: UnboundedSender<BrokerCommand>) -> Self {
        Self {
            commands,
            output: FollowerOutput::default(),
            questions: Vec::new(),
            node_events: Vec::new(),
            farewell: None,
            answering: Arc::new(Semaphore::new(ANSWERED_AT_ONCE)),
        }
    }
}

impl State {
    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follower(&self) -> MutexGuard<'_, Follower> {
        self.follower.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn nodes(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn surveyors(&self) -> MutexGuard<'_, HashMap<u64, Surveyor>> {
        self.surveyors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watchers(&self) -> MutexGuard<'_, HashSet<Port>> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Millis {
        Millis(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn take_questions(self: &Arc<Self>, turn: &mut Turn) {
        let mut inbox = self.inbox();
        let surveys = std::mem::take(&mut inbox.surveys);
        let answers = std::mem::take(&mut inbox.answers);
        let watched = std::mem::take(&mut inbox.watched);
        let farewell = inbox.farewell.take();
        std::mem::swap(&mut inbox.questions, &mut turn.questions);
        let detached = std::mem::take(&mut inbox.detached);
        drop(inbox);
        let (now, mut follower) = (self.now(), self.follower());
        for question in turn.questions.drain(..) {
            follower.ask(question, now, &mut turn.output);
        }
        for port in detached {
            follower.detach(port, &mut turn.output);
            self.watchers().remove(&port);
        }
        if turn.questions.capacity() > QUESTIONS_KEPT {
            turn.questions = Vec::new();
        }
        drop(follower);
        let mut nodes = self.nodes();
        for (port, node) in watched {
            self.watchers().insert(port);
            nodes.watch(node, now, &mut turn.output.commands, &mut turn.node_events);
        }
        for (text, asked, surveyor) in surveys {
            let (commands, events) = (&mut turn.output.commands, &mut turn.node_events);
            let number = nodes.ask((text, asked), now, commands, events);
            self.surveyors().insert(number, surveyor);
        }
        if farewell.is_some() {
            nodes.say_bye(&mut turn.output.commands);
            turn.farewell = farewell;
        }
        for (node, number, text) in answers {
            nodes.answer(node, number, text, &mut turn.output.commands);
        }
    }

    /// Does what comes of what nodes say.
    fn take_node_events(self: &Arc<Self>, turn: &mut Turn) {
        for event in turn.node_events.drain(..) {
            match event {
                NodeEvent::Asked { node, number, text } => {
                    let answerer = self.answerer.lock().unwrap_or_else(PoisonError::into_inner);
                    let permit = Arc::clone(&turn.answering).try_acquire_owned();
                    // Not answered, the question fails where it was asked.
                    let (Some(answerer), Ok(permit)) = (answerer.clone(), permit) else {
                        self.counters.engine_unanswered.add(1);
                        continue;
                    };
                    let own = Arc::clone(self);
                    tokio::spawn(async move {
                        let text = answerer.answer(text).await;
                        own.inbox().answers.push((node, number, text));
                        own.is_asked.notify_one();
                        drop(permit);
                    });
                }
                NodeEvent::SaidBye => {
                    if let Some(farewell) = turn.farewell.take() {
                        let _ = farewell.send(());
                    }
                }
                NodeEvent::Gone(node) => {
                    let gone = |port: &Port| (*port, PortEvent::Gone(node));
                    turn.output.events.extend(self.watchers().iter().map(gone));
                }
                NodeEvent::Answered(number, answers) => {
                    let surveyor = self.surveyors().remove(&number);
                    if let Some(surveyor) = surveyor {
                        give_answers(surveyor, answers, &mut turn.output);
                    }
                }
            }
        }
    }

    fn take_event(&self, event: BrokerEvent, turn: &mut Turn) {
        match &event {
            BrokerEvent::Up => self.set_up(true, turn),
            BrokerEvent::Down => self.set_up(false, turn),
            BrokerEvent::Told(bytes) => {
                let (commands, events) = (&mut turn.output.commands, &mut turn.node_events);
                return self.nodes().on_told(bytes, self.now(), commands, events);
            }
            BrokerEvent::Live { .. }
            | BrokerEvent::Note(..)
            | BrokerEvent::Positions(..)
            | BrokerEvent::Published(..)
            | BrokerEvent::Read(..)
            | BrokerEvent::Removed(..)
            | BrokerEvent::Subscribed(_) => {}
        }
        self.follower().on_event(event, self.now(), &mut turn.output);
    }

    /// Each outage is counted, and said, once.
    fn set_up(&self, is_up: bool, turn: &mut Turn) {
        let (commands, events) = (&mut turn.output.commands, &mut turn.node_events);
        self.nodes().set_up(is_up, self.now(), commands, events);
        if self.is_up.swap(is_up, Ordering::Relaxed) == is_up {
            return;
        }
        self.counters.engine_up.set(u64::from(is_up));
        if is_up {
            log::info!("channels: the engine is reached");
        } else {
            self.counters.engine_outages.add(1);
            log::error!(
                "channels: the engine is away: clients stay, and publications and subscriptions get error \
                 100 until it is reached again"
            );
        }
    }

    fn tick(&self, turn: &mut Turn) {
        let mut follower = self.follower();
        follower.tick(self.now(), &mut turn.output);
        let counts = follower.counts();
        self.counters.engine_channels_now.set(follower.channel_count() as u64);
        self.counters.engine_gaps.set(counts.gaps);
        self.counters.engine_lost.set(counts.lost);
        self.counters.engine_invalid.set(counts.invalid);
        self.counters.engine_late.set(counts.late);
        let refused = self.refused.load(Ordering::Relaxed);
        self.counters.engine_refused.set(counts.refused + refused);
        self.counters.engine_queued.set(counts.queued);
        self.counters.engine_queued_bytes_now.set(follower.queued_bytes() as u64);
        drop(follower);
        let mut nodes = self.nodes();
        nodes.tick(self.now(), &mut turn.output.commands, &mut turn.node_events);
        self.counters.engine_nodes_now.set(nodes.count() as u64);
    }

    /// Gives out what the follower wants.
    fn finish(self: &Arc<Self>, turn: &mut Turn, credit: Option<Credit>) {
        self.take_node_events(turn);
        self.follower().flush(self.now(), &mut turn.output);
        for command in turn.output.commands.drain(..) {
            // Closed only when the run is over.
            let _ = turn.commands.send(command);
        }
        let mut deliveries: Vec<(Port, Vec<PortEvent>)> = Vec::new();
        for (port, event) in turn.output.events.drain(..) {
            match deliveries.iter_mut().find(|own| own.0 == port) {
                Some((_, events)) => events.push(event),
                None => deliveries.push((port, vec![event])),
            }
        }
        if deliveries.is_empty() {
            return;
        }
        let credit = credit.map(Arc::new);
        let inbox = self.inbox();
        for (port, events) in deliveries {
            let Some(Some(sender)) = inbox.ports.get(port.0 as usize) else { continue };
            let credit = credit.clone().map(|own| Box::new(own) as _);
            sender.post(Box::new(EngineDelivery { events, credit }));
        }
    }
}

/// Gives what gateways have answered to the one who has asked.
fn give_answers(surveyor: Surveyor, answers: NodeAnswers, output: &mut FollowerOutput) {
    match surveyor {
        // It may wait no more.
        Surveyor::Caller(caller) => drop(caller.send(answers)),
        Surveyor::Port(port, number) => {
            let members = answers.whole().and_then(|all| {
                let all = all.iter().map(|own| parse_presence(own));
                all.collect::<Option<Vec<_>>>().map(|all| all.concat())
            });
            let members = members.ok_or(EngineError::Unavailable);
            output.events.push((port, PortEvent::Present(number, members)));
        }
    }
}

/// The question who is in a channel, as [`NodeAnswerer`] takes it.
fn presence_call(channel: &str) -> String {
    serde_json::json!({ "method": "presence", "body": { "channel": channel } }).to_string()
}

impl fmt::Debug for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("State").field("is_up", &self.is_up).finish_non_exhaustive()
    }
}

/// Events of the broker that wait for the follower. When there are more, the broker is not read.
const EVENTS_WAITING_MAX: usize = 1024;
/// Events that are taken together, so that what goes to one loop is one message.
const EVENTS_AT_ONCE: usize = 256;
/// Messages with events that wait for loops. When there are more, no event is taken.
const DELIVERIES_WAITING_MAX: usize = 64;
/// Questions for which room is kept.
const QUESTIONS_KEPT: usize = 4096;
/// How long the end of the process waits for what it says to the others.
const FAREWELL_MAX: Duration = Duration::from_secs(1);
/// Questions of other gateways that are answered at once.
const ANSWERED_AT_ONCE: usize = 64;
/// How often the follower is told that time has passed.
const TICK: Duration = Duration::from_secs(1);
