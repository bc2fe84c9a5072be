//! Connections whose backend is told of events: order, batches, and deaths in between. The control thread is
//! a scripted peer, which holds the conversations and answers when a seed says so.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tidegate::events::filter::{Filter, Meta};
use tidegate::events::grip::{Control, KeepAliveMode, Timed};
use tidegate::events::publish::{ChannelAction, ChannelItem};
use tidegate::events::{
    About, Action, ActionParts, ClientEvent, Conversation, ConversationLimits, End, EventRequest,
    ReplyFacts, encode_event,
};
use tidegate::events::{EventKind, Events as Told};
use tidegate::http::{ForwardRules, Rejection};
use tidegate::inspect::Query;
use tidegate::mail::ReplyReceiver;
use tidegate::services::{
    Accept, EventAnswer, EventBackend, EventOpening, EventRoom, Events, EventsSettings, Peer,
    Route, RouteOptions, ServiceMessage, ServiceSender,
};
use tidegate::sim::Random;
use tidegate::timer::Millis;
use tidegate::work::meter;
use tidegate::ws::CloseCode;

use crate::client::Client;
use crate::operator::send;
use crate::services::Journal;
use crate::wire::{PING, PONG, TEXT, upgrade_request};
use crate::world::{Setup, World, socket};

const LIMITS: ConversationLimits =
    ConversationLimits { waiting_bytes_max: 64, waiting_messages_max: 8, meta_bytes_max: 64 };

/// The conversations of the control thread.
#[derive(Default)]
struct Scripted(Mutex<Vec<Entry>>);

struct Entry {
    peer: Peer,
    conversation: Conversation,
    answer_to: ServiceSender,
    under_way: Option<EventRequest>,
    /// The bodies of all requests, in order.
    told: Vec<Vec<u8>>,
    charged: usize,
    /// Bytes of the head, until nothing more is held.
    head_bytes: usize,
    is_let_in: bool,
    is_gone: bool,
    /// How often it was to be asked about.
    refreshed: usize,
    /// When its service is to be reminded of it.
    reminder: Option<Millis>,
    /// What the service is yet to be told.
    rest: ActionParts,
}

impl Entry {
    fn begin(&mut self) {
        if !self.rest.is_empty() {
            return;
        }
        if let Some(request) = self.conversation.next_request() {
            assert_eq!(request.sequence, self.told.len() as u64 + 1);
            self.told.push(request.body.clone());
            self.under_way = Some(request);
        }
    }
}

impl Scripted {
    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap()
    }

    fn with(&self, peer: Peer, act: impl FnOnce(&mut Entry)) {
        let mut entries = self.entries();
        let entry = entries.iter_mut().find(|own| own.peer == peer).unwrap();
        act(entry);
        entry.begin();
    }

    /// The entries whose requests are under way.
    fn under_way(&self) -> Vec<usize> {
        let entries = self.entries();
        (0..entries.len()).filter(|index| entries[*index].under_way.is_some()).collect()
    }

    /// Answers the request under way of an entry: every text comes back.
    fn answer(&self, index: usize) {
        let request = self.entries()[index].under_way.clone().unwrap();
        let mut reply = Vec::new();
        for event in Told::of(&request.body).map(Result::unwrap) {
            match event.kind {
                EventKind::Open | EventKind::Text => {
                    encode_event(&mut reply, event.kind, event.content);
                }
                EventKind::Binary
                | EventKind::Ping
                | EventKind::Pong
                | EventKind::Close
                | EventKind::Disconnect => {}
            }
        }
        self.reply(index, &reply);
    }

    /// Answers the request under way of an entry by these events.
    fn reply(&self, index: usize, reply: &[u8]) {
        let mut entries = self.entries();
        let entry = &mut entries[index];
        let request = entry.under_way.take().unwrap();
        let actions = entry.conversation.replied(ReplyFacts::default(), reply).unwrap();
        let decision = (request.about == About::Opening).then(|| Ok(Accept::default()));
        entry.post(decision, actions);
        entry.begin();
        entry.release();
    }

    /// Makes the client of an entry a member of a channel.
    fn subscribe(&self, index: usize, channel: &str, filters: &[Filter]) {
        self.control(index, Control::Subscribe(channel.to_owned(), filters.to_vec()));
    }

    /// Wants this of the gateway for the client of an entry.
    fn control(&self, index: usize, control: Control) {
        self.entries()[index].post(None, vec![Action::Control(control)]);
    }

    /// Reminds the service of all connections of which it wanted to be by now.
    fn remind_of_due(&self, now: u64) {
        for entry in self.entries().iter_mut() {
            if entry.reminder.take_if(|due| due.0 <= now).is_some() {
                entry.post_part(None, true);
            }
        }
    }

    /// The backend dies in the middle of a request.
    fn fail(&self, index: usize) {
        let mut entries = self.entries();
        let entry = &mut entries[index];
        let about = entry.under_way.take().unwrap().about;
        entry.conversation.failed(false);
        let refused = || Err(Rejection::bad_gateway("the backend is dead"));
        let decision = (about == About::Opening).then(refused);
        let is_dropped = about == About::Messages;
        let actions = if is_dropped { vec![Action::Drop] } else { Vec::new() };
        entry.post(decision, actions);
        entry.begin();
        entry.release();
    }
}

impl Entry {
    /// Gives the head back if nothing more is told of the connection.
    fn release(&mut self) {
        let is_over = self.conversation.has_ended() && (self.is_gone || !self.is_let_in);
        if is_over && std::mem::take(&mut self.head_bytes) > 0 {
            self.post(None, Vec::new());
        }
    }

    fn post(&mut self, decision: Option<Result<Accept, Rejection>>, actions: Vec<Action>) {
        assert!(self.rest.is_empty(), "one reply is obeyed after the other");
        self.rest = actions.into();
        self.post_part(decision, false);
    }

    /// As the control thread does it.
    fn post_part(&mut self, decision: Option<Result<Accept, Rejection>>, is_reminder: bool) {
        if self.is_gone {
            self.rest = ActionParts::default();
        }
        let actions = if is_reminder { Vec::new() } else { self.rest.next_part() };
        let held = self.conversation.held_bytes() + self.head_bytes + self.rest.held_bytes();
        let released_bytes = self.charged.saturating_sub(held);
        let charged_bytes = held.saturating_sub(self.charged);
        self.charged = held;
        let resumes = self.conversation.resumes();
        self.is_let_in |= matches!(decision, Some(Ok(_)));
        let answer = EventAnswer {
            peer: self.peer,
            decision,
            actions,
            has_more: !is_reminder && !self.rest.is_empty(),
            charged_bytes,
            released_bytes,
            resumes,
            is_reminder,
            is_over: false,
        };
        let held = answer.held_bytes();
        self.answer_to.post(ServiceMessage::holding(answer, held));
    }
}

impl EventBackend for Scripted {
    fn open(&self, opening: EventOpening) {
        let mut entry = Entry {
            peer: opening.peer,
            conversation: Conversation::new(LIMITS),
            answer_to: opening.answer_to,
            under_way: None,
            told: Vec::new(),
            charged: opening.head.held_bytes(),
            head_bytes: opening.head.held_bytes(),
            is_let_in: false,
            is_gone: false,
            refreshed: 0,
            reminder: None,
            rest: ActionParts::default(),
        };
        entry.begin();
        self.entries().push(entry);
    }

    fn message(&self, peer: Peer, event: ClientEvent, payload: &[u8], _: Millis) -> EventRoom {
        let mut room = EventRoom::Untold;
        self.with(peer, |entry| {
            if entry.conversation.is_told() {
                entry.conversation.message(event, payload);
                entry.charged += payload.len();
            }
        });
        let mut entries = self.entries();
        let entry = entries.iter_mut().find(|own| own.peer == peer).unwrap();
        if entry.conversation.is_told() {
            room = if entry.conversation.pauses() { EventRoom::Full } else { EventRoom::Room };
        }
        room
    }

    fn end(&self, peer: Peer, end: End, reason: &str, _: Millis) {
        self.with(peer, |entry| {
            entry.conversation.close_reason(reason);
            entry.conversation.end(end);
            entry.is_gone = true;
            if !entry.rest.is_empty() {
                entry.post_part(None, false);
            }
            entry.begin();
            entry.release();
        });
    }

    fn part_done(&self, peer: Peer, _: Millis) {
        self.with(peer, |entry| {
            if !entry.rest.is_empty() {
                entry.post_part(None, false);
            }
        });
    }

    fn refresh(&self, peer: Peer, _: Millis) {
        self.with(peer, |entry| entry.refreshed += 1);
    }

    fn remind(&self, peer: Peer, after_ms: u64, now: Millis) {
        self.with(peer, |entry| entry.reminder = Some(now.plus(after_ms)));
    }
}

fn world(seed: u64, backend: &Arc<Scripted>) -> World {
    let mut setup = Setup { seed, ..Setup::default() };
    setup.server.loops = 2;
    World::serving(&setup, |journal| vec![route(backend, journal)])
}

fn route(backend: &Arc<Scripted>, journal: &Journal) -> Route {
    let settings = Arc::new(EventsSettings {
        backend: Arc::clone(backend) as _,
        rules: ForwardRules::default(),
        rewrite: None,
        paths: vec!["/events".to_owned()],
        passes_pings: false,
    });
    let options = RouteOptions::default();
    socket("/events", &options, journal, move |_, _| Events::new(Arc::clone(&settings)))
}

/// A client and the messages that it has sent.
struct Sender {
    client: Client,
    sent: usize,
    has_left: bool,
}

/// The numbers of the texts that a backend was told, and whether and how it was told the end.
fn told_of(entry: &Entry) -> (Vec<usize>, Vec<EventKind>) {
    let (mut texts, mut ends) = (Vec::new(), Vec::new());
    for (index, body) in entry.told.iter().enumerate() {
        for event in Told::of(body).map(Result::unwrap) {
            match event.kind {
                EventKind::Open => assert_eq!(index, 0, "OPEN is the first"),
                EventKind::Text => {
                    assert!(ends.is_empty(), "nothing is told behind the end");
                    texts.push(
                        std::str::from_utf8(event.content.unwrap()).unwrap().parse().unwrap(),
                    );
                }
                EventKind::Close | EventKind::Disconnect => ends.push(event.kind),
                EventKind::Binary | EventKind::Ping | EventKind::Pong => panic!("not sent"),
            }
        }
    }
    (texts, ends)
}

fn run(seed: u64, deaths: bool) {
    let mut random = Random::new(seed);
    let backend = Arc::new(Scripted::default());
    let mut world = world(seed, &backend);
    let mut senders: Vec<Sender> = Vec::new();
    for _ in 0..80 {
        match random.below(10) {
            0 if senders.len() < 6 => {
                let client = world.connect(random.below(2));
                client.ask("/events");
                senders.push(Sender { client, sent: 0, has_left: false });
            }
            1 if !senders.is_empty() => {
                let index = random.below(senders.len());
                let own = &mut senders[index];
                if !own.has_left && own.client.received.status == Some(101) {
                    own.has_left = true;
                    if random.percent(50) {
                        own.client.send_close(4000)
                    } else {
                        own.client.shutdown()
                    }
                }
            }
            2..=5 if !senders.is_empty() => {
                let index = random.below(senders.len());
                let own = &mut senders[index];
                if !own.has_left {
                    // What follows a request waits until the client is let in.
                    own.client.send_frame(TEXT, own.sent.to_string().as_bytes());
                    own.sent += 1;
                }
            }
            _ => {
                let under_way = backend.under_way();
                if !under_way.is_empty() {
                    let index = under_way[random.below(under_way.len())];
                    let dies = deaths && random.percent(10);
                    if dies { backend.fail(index) } else { backend.answer(index) }
                }
            }
        }
        world.settle();
        for own in &mut senders {
            own.client.read_all();
        }
    }
    finish(&mut world, &backend, &mut senders, deaths);
}

/// Lets everything come to its end, and looks at what was told.
fn finish(world: &mut World, backend: &Scripted, senders: &mut [Sender], deaths: bool) {
    let drain = |world: &mut World, senders: &mut [Sender]| {
        loop {
            world.settle();
            for own in senders.iter_mut() {
                own.client.read_all();
            }
            let under_way = backend.under_way();
            if under_way.is_empty() {
                break;
            }
            under_way.iter().for_each(|index| backend.answer(*index));
        }
    };
    drain(world, senders);
    for own in senders.iter() {
        let expected: Vec<String> = (0..own.sent).map(|number| number.to_string()).collect();
        if own.has_left || deaths {
            own.client.assert_received_first(&expected);
        } else {
            own.client.assert_received(&expected);
        }
    }
    for own in senders.iter_mut().filter(|own| !own.has_left) {
        own.client.shutdown();
    }
    drain(world, senders);
    world.pass(60_000);
    drain(world, senders);
    for entry in backend.entries().iter() {
        let (texts, ends) = told_of(entry);
        assert_eq!(texts, (0..texts.len()).collect::<Vec<_>>(), "in order, and none left out");
        assert_eq!(ends.len(), 1, "the end is told once: {:?}", entry.told);
        assert!(entry.conversation.has_ended() && entry.conversation.held_bytes() == 0);
        // Of a client that was refused no end is heard.
        assert!((entry.is_gone || !entry.is_let_in) && entry.charged == 0);
    }
    assert_eq!(world.counter("pool_bytes_now"), 0, "nothing is held when all is quiet");
}

/// What is held for a connection as long as it is there is charged: its request, and what its backend has kept.
#[test]
fn the_heads_of_connections_and_what_is_kept_about_them_are_charged() {
    let backend = Arc::new(Scripted::default());
    let mut world = world(3, &backend);
    let pool = |world: &World| usize::try_from(world.counter("pool_bytes_now")).unwrap();
    let cookie = format!("Cookie: {}\r\n\r\n", "c".repeat(3000));
    let mut clients: Vec<Client> = Vec::new();
    for index in 0..10 {
        let mut client = world.connect(0);
        let mut request = upgrade_request("/events");
        request.truncate(request.len() - 2);
        request.extend(cookie.as_bytes());
        client.send(&request);
        world.exchange(&mut client);
        // One is refused.
        if index == 9 {
            backend.fail(index)
        } else {
            backend.answer(index)
        }
        world.exchange(&mut client);
        assert_eq!(client.received.status, Some(if index == 9 { 502 } else { 101 }));
        clients.push(client);
    }
    // Its backend is told of the end, and then it is forgotten.
    answer_all(&mut world, &backend);
    clients[9].connection.reset();
    world.settle();
    let heads = pool(&world);
    // A buffer of requests may be free, and is kept for a while.
    assert!((9 * 3000..9 * 3400 + 4096).contains(&heads), "{heads}");
    let meta = |value: Option<String>| Action::Control(Control::SetMeta("text".to_owned(), value));
    backend.entries()[0].post(None, vec![meta(Some("x".repeat(2000)))]);
    world.settle();
    let more = pool(&world) - heads;
    assert!((2000..2100).contains(&more), "{more}");
    backend.entries()[0].post(None, vec![meta(None)]);
    backend.entries()[1].post(None, vec![meta(Some("x".repeat(2000)))]);
    world.settle();
    assert_eq!(pool(&world), heads + more);
    for client in &clients {
        client.connection.reset();
    }
    world.settle();
    // Their backend is told that they have gone, and needs the head for that.
    assert!((9 * 3000..=heads).contains(&pool(&world)), "{}", pool(&world));
    answer_all(&mut world, &backend);
    world.pass(60_000);
    assert_eq!(pool(&world), 0);
}

/// Answers until nothing more is asked.
fn answer_all(world: &mut World, backend: &Scripted) {
    loop {
        let under_way = backend.under_way();
        under_way.iter().for_each(|index| backend.answer(*index));
        world.settle();
        if under_way.is_empty() {
            return;
        }
    }
}

#[test]
fn a_backend_is_told_all_in_order_and_the_end_once() {
    for seed in 0..300 {
        run(seed, false);
    }
}

#[test]
fn a_backend_that_dies_in_between_is_told_the_end_all_the_same() {
    for seed in 0..300 {
        run(seed, true);
    }
}

#[test]
fn what_comes_while_a_request_is_under_way_travels_in_the_next() {
    let backend = Arc::new(Scripted::default());
    let mut world = world(1, &backend);
    let mut client = world.connect(0);
    client.ask("/events");
    world.settle();
    backend.answer(0);
    world.exchange(&mut client);
    for number in 0..4 {
        client.send_frame(TEXT, number.to_string().as_bytes());
        world.settle();
    }
    backend.answer(0);
    world.exchange(&mut client);
    let told = backend.entries()[0].told.clone();
    let text = |index: usize| String::from_utf8(told[index].clone()).unwrap();
    assert_eq!(text(1), "TEXT 1\r\n0\r\n");
    assert_eq!(text(2), "TEXT 1\r\n1\r\nTEXT 1\r\n2\r\nTEXT 1\r\n3\r\n");
    backend.answer(0);
    world.exchange(&mut client);
    client.assert_received(&["0", "1", "2", "3"]);
}

/// Events of a long reply, which take many turns.
const EVENTS: usize = 20_000;
/// As many are in a part of it.
const PART_EVENTS: usize = 200;
/// What a turn may come to, with the last part that it begins.
const LONG_TURN_MAX: u64 = 4_000_000 + 1_500_000;

/// A client whose backend is about to answer by many texts, of which each is its number, and a bystander. With what
/// is held before.
fn with_long_reply(backend: &Arc<Scripted>) -> (World, Client, Client, (Vec<u8>, u64)) {
    let mut world = world(3, backend);
    let client = let_in(&mut world, backend, 0, &[]);
    let bystander = let_in(&mut world, backend, 0, &[]);
    let held = world.counter("pool_bytes_now");
    client.send_frame(TEXT, b"question");
    world.settle();
    let mut reply = Vec::new();
    for number in 0..EVENTS {
        encode_event(&mut reply, EventKind::Text, Some(number.to_string().as_bytes()));
    }
    (world, client, bystander, (reply, held))
}

#[test]
fn a_long_reply_keeps_no_other_client_waiting_and_the_next_request_comes_behind_it() {
    let backend = Arc::new(Scripted::default());
    let (mut world, mut client, mut bystander, (reply, held)) = with_long_reply(&backend);
    backend.reply(0, &reply);
    client.send_frame(TEXT, b"next");
    let (mut turns, mut waited, mut pings, mut held_most) = (0, 0, 0, 0);
    let mut received = 0;
    while received < EVENTS {
        assert!(world.step().unwrap(), "{received} of {EVENTS} have come");
        let used = world.server.work_used(0).unwrap();
        assert!(used < LONG_TURN_MAX, "a turn of {used} units");
        turns += 1;
        client.read_all();
        received = client.payloads().len();
        // The last part may still be on its way when the next request goes out.
        if received + 2 * PART_EVENTS < EVENTS {
            assert!(backend.entries()[0].under_way.is_none(), "all is obeyed before");
            held_most = held_most.max(world.counter("pool_bytes_now"));
        }
        // The bystander asks again and again, and hears soon.
        bystander.read_all();
        let pongs = bystander.received.frames.iter().filter(|own| own.opcode == PONG).count();
        if pongs == pings {
            bystander.send_frame(PING, b"");
            (pings, waited) = (pings + 1, 0);
        } else {
            waited += 1;
            assert!(waited <= 3, "no answer within {waited} turns");
        }
    }
    assert!(turns > 10, "{turns} turns");
    assert!(pings > 5, "{pings} pings");
    // What waits is charged: the list of actions at least.
    assert!(held_most > held + (EVENTS * size_of::<Action>()) as u64, "{held_most}");
    world.settle();
    client.assert_received(&(0..EVENTS).map(|own| own.to_string()).collect::<Vec<_>>());
    assert_eq!(backend.entries()[0].told.last().unwrap(), b"TEXT 4\r\nnext\r\n");
    backend.answer(0);
    world.exchange(&mut client);
    assert_eq!(client.payloads().last().unwrap(), b"next");
    assert_eq!(world.counter("pool_bytes_now"), held);
}

#[test]
fn the_rest_of_a_long_reply_is_dropped_with_its_client() {
    let backend = Arc::new(Scripted::default());
    let (mut world, mut client, _bystander, (reply, held)) = with_long_reply(&backend);
    backend.reply(0, &reply);
    while client.payloads().is_empty() {
        assert!(world.step().unwrap());
        client.read_all();
    }
    assert!(client.payloads().len() < EVENTS / 4, "it is not over yet");
    client.shutdown();
    let mut turns = 0;
    while world.step().unwrap() {
        client.read_all();
        turns += 1;
    }
    assert!(turns < 10, "{turns} turns for one who is gone");
    assert_eq!(backend.entries()[0].told.last().unwrap(), b"DISCONNECT\r\n");
    backend.answer(0);
    world.settle();
    let entries = backend.entries();
    assert!(entries[0].conversation.has_ended() && entries[0].charged == 0);
    assert!(entries[0].rest.is_empty());
    // Less what the connection itself has taken.
    assert!(world.counter("pool_bytes_now") <= held);
}

/// A client that is let in, and perhaps a member of channels. Its entry is the last of the backend.
fn let_in(world: &mut World, backend: &Scripted, loop_index: usize, channels: &[&str]) -> Client {
    let mut client = world.connect(loop_index);
    client.ask("/events");
    world.settle();
    let index = backend.entries().len() - 1;
    backend.answer(index);
    for channel in channels {
        let filters: &[Filter] = if index.is_multiple_of(3) { &[Filter::SkipSelf] } else { &[] };
        backend.subscribe(index, channel, filters);
    }
    world.exchange(&mut client);
    assert_eq!(client.received.status, Some(101));
    client
}

/// Has all loops do from their next turn on what an item says; how many members each names then.
fn give(world: &World, channel: &str, action: ChannelAction) -> Vec<ReplyReceiver<usize>> {
    give_with(world, channel, Meta::default(), action)
}

/// As [`give`], with what the backend says about the item.
fn give_with(
    world: &World,
    channel: &str,
    meta: Meta,
    action: ChannelAction,
) -> Vec<ReplyReceiver<usize>> {
    let (id, prev_id) = (None, None);
    let item = Arc::new(ChannelItem { channel: channel.into(), id, prev_id, meta, action });
    let to_loop = |loop_index| {
        let (item, publishes) = (Arc::clone(&item), loop_index == 0);
        send(world, loop_index, move |reply| Query::Channel { item, publishes, reply })
    };
    (0..2).map(to_loop).collect()
}

fn text(content: &str) -> ChannelAction {
    ChannelAction::Send(ClientEvent::Text, content.into())
}

fn close(code: CloseCode) -> ChannelAction {
    ChannelAction::Close(code, "bye".to_owned())
}

fn counts(answers: Vec<ReplyReceiver<usize>>) -> Vec<usize> {
    answers.into_iter().map(|own| own.wait(Duration::ZERO).unwrap()).collect()
}

/// Members of the first loop, more than a turn closes.
const CROWD: usize = 700;
/// As many a turn may close, or ask about.
const PART_MAX: usize = 500;
/// A turn that does a part, with what noting them has cost.
const PART_WORK_MAX: u64 = 1_100_000 + CROWD as u64 * 600;

/// A world with members of the channel "crowd" and the same of "other", and a client that is in none.
fn crowded(backend: &Arc<Scripted>) -> (World, Vec<Client>, Client) {
    let mut world = world(7, backend);
    let mut member = |_| let_in(&mut world, backend, 0, &["crowd", "other"]);
    let members: Vec<Client> = (0..CROWD).map(&mut member).collect();
    let outsider = let_in(&mut world, backend, 0, &[]);
    (world, members, outsider)
}

#[test]
fn members_of_a_channel_that_is_closed_end_in_parts_and_hear_nothing_more_of_it() {
    let backend = Arc::new(Scripted::default());
    let (mut world, mut members, mut outsider) = crowded(&backend);
    let code = CloseCode::GOING_AWAY;
    give(&world, "crowd", text("before"));
    let answers = give(&world, "crowd", close(code));
    let too_late = [give(&world, "crowd", text("late")), give(&world, "other", text("late"))];
    let (mut ended, mut parts) = (0, 0);
    let (filtered, plain): (Vec<usize>, Vec<usize>) =
        (0..CROWD - 2).partition(|index| index.is_multiple_of(3));
    let order = [plain, filtered].concat();
    let mut is_first = true;
    while ended < CROWD {
        assert!(world.step().unwrap(), "{ended} of {CROWD} have ended");
        let used = world.server.work_used(0).unwrap();
        if is_first {
            // They go on in the turns behind it. One is gone before, one would be a member again, and the
            // channel has a new one.
            is_first = false;
            members[CROWD - 2].shutdown();
            backend.subscribe(CROWD - 1, "crowd", &[]);
            backend.subscribe(CROWD, "crowd", &[]);
        } else {
            assert!(used < PART_WORK_MAX, "a turn of {used} units");
        }
        let is_over = |own: &mut Client| {
            own.read_all();
            own.received.close_code() == Some(code.number()) || own.is_gone()
        };
        let before = ended;
        ended = members.iter_mut().map(is_over).filter(|is_over| *is_over).count();
        assert!(ended - before <= PART_MAX, "{} in a turn", ended - before);
        parts += usize::from(ended > before);
        // In the order in which they have joined, those with filters last.
        let order = order.iter().map(|index| &members[*index]);
        let in_order = order.take_while(|own| own.received.close_code().is_some()).count();
        assert!(in_order + 2 >= ended, "{in_order} of {ended}");
    }
    assert!(parts >= 3, "{parts} parts");
    assert_eq!(counts(answers), [CROWD, 0]);
    for answers in too_late {
        assert_eq!(counts(answers), [0, 0]);
    }
    for member in &members {
        member.assert_received(&["before"]);
    }
    let answers = give(&world, "crowd", text("new"));
    world.exchange(&mut outsider);
    assert_eq!(counts(answers), [1, 0]);
    outsider.assert_received(&["new"]);
    assert_eq!(world.counter("effects_ignored"), 0);
    assert!(!world.step().unwrap(), "nothing is left to do");
}

#[test]
fn a_backend_is_asked_about_the_members_of_a_channel_in_parts_and_once() {
    let backend = Arc::new(Scripted::default());
    let (mut world, members, _outsider) = crowded(&backend);
    let refreshed = || {
        let entries = backend.entries();
        entries.iter().map(|own| own.refreshed).collect::<Vec<usize>>()
    };
    for round in 1..3 {
        let answers = [(); 2].map(|()| give(&world, "crowd", ChannelAction::Refresh));
        let mut parts = 0;
        loop {
            let before: usize = refreshed().iter().sum();
            if !world.step().unwrap() {
                break;
            }
            let done = refreshed().iter().sum::<usize>() - before;
            assert!(done <= PART_MAX, "{done} in a turn");
            parts += usize::from(done > 0);
            let used = world.server.work_used(0).unwrap();
            assert!(used < PART_WORK_MAX, "a turn of {used} units");
        }
        assert!(parts >= 2, "{parts} parts");
        let mut wanted = vec![round; CROWD];
        wanted.push(0);
        assert_eq!(refreshed(), wanted);
        for answers in answers {
            assert_eq!(counts(answers), [CROWD, 0]);
        }
    }
    assert!(members.iter().all(|own| !own.is_gone()));
}

/// What a world has done until it is quiet.
fn spent(world: &mut World) -> u64 {
    let _ = meter::take();
    world.settle();
    meter::take()
}

fn kept_alive(timeout_s: u32) -> Control {
    let message = Timed { event: ClientEvent::Text, content: b"ka".to_vec(), timeout_s };
    Control::KeepAlive(Some(message), KeepAliveMode::Idle)
}

#[test]
fn a_publication_costs_the_same_while_members_are_kept_alive() {
    let backend = Arc::new(Scripted::default());
    let (mut world, _members, _outsider) = crowded(&backend);
    let published = |world: &mut World| {
        give(world, "crowd", text("x"));
        spent(world)
    };
    let before = published(&mut world);
    for kept in [1, CROWD] {
        (0..kept).for_each(|index| backend.control(index, kept_alive(10)));
        world.settle();
        assert_eq!(published(&mut world), before, "{kept} kept alive");
    }
}

#[test]
fn a_member_that_is_kept_alive_gets_its_message_when_it_was_sent_nothing_for_its_time() {
    let backend = Arc::new(Scripted::default());
    let mut world = world(3, &backend);
    // The first one has a filter. The third is in no channel yet.
    let channels: [&[&str]; 4] = [&["a"], &["a"], &[], &["a"]];
    let mut clients: Vec<Client> = channels.map(|own| let_in(&mut world, &backend, 0, own)).into();
    backend.control(0, Control::SetMeta("user".to_owned(), Some("ann".to_owned())));
    backend.subscribe(3, "a", &[]);
    (0..4).for_each(|index| backend.control(index, kept_alive(10)));
    world.settle();
    let mut heard: Vec<Vec<(u64, String)>> = vec![Vec::new(); 4];
    for second in 1..=17 {
        world.pass(1000);
        let by_ann = Meta::new(vec![("sender".into(), "ann".into())]);
        match second {
            4 => {
                give(&world, "a", text("x"));
                world.settle();
                backend.subscribe(2, "a", &[]);
                backend.control(3, Control::Unsubscribe("a".to_owned()));
            }
            6 => drop(give_with(&world, "a", by_ann, text("y"))),
            _ => {}
        }
        world.settle();
        backend.remind_of_due(world.now());
        world.settle();
        for (client, heard) in clients.iter_mut().zip(&mut heard) {
            let known = heard.len();
            world.exchange(client);
            let texts = client.payloads().into_iter().skip(known);
            heard.extend(texts.map(|text| (second, String::from_utf8_lossy(text).into_owned())));
        }
    }
    let wanted: [&[(u64, &str)]; 4] = [
        &[(4, "x"), (14, "ka")],
        &[(4, "x"), (6, "y"), (16, "ka")],
        &[(6, "y"), (16, "ka")],
        &[(4, "x"), (14, "ka")],
    ];
    for (heard, wanted) in heard.iter().zip(wanted) {
        let heard: Vec<(u64, &str)> = heard.iter().map(|(at, text)| (*at, &**text)).collect();
        assert_eq!(heard, wanted);
    }
}

/// A reload, also one without the route, and a drain change nothing about those that are to be closed.
#[test]
fn the_closing_of_members_survives_reloads_and_drains() {
    for change in 0..3 {
        let backend = Arc::new(Scripted::default());
        let (mut world, mut members, mut outsider) = crowded(&backend);
        let code = CloseCode::from_wire(4100).unwrap();
        give(&world, "crowd", close(code));
        world.step().unwrap();
        match change {
            0 => world.reload(|_| {}, &[route(&backend, &world.journal)]),
            1 => world.reload(|_| {}, &[]),
            _ => world.drain(60_000, false),
        }
        world.settle();
        let drained = CloseCode::GOING_AWAY.number();
        for member in &mut members {
            world.exchange(member);
            let found = member.received.close_code();
            let wanted = [Some(code.number()), Some(drained).filter(|_| change == 2)];
            assert!(found.is_some() && wanted.contains(&found), "{change}: {found:?}");
            member.shutdown();
        }
        world.exchange(&mut outsider);
        let is_closed = outsider.received.close_code().is_some();
        assert_eq!(is_closed, change == 2, "{change}");
        outsider.shutdown();
        world.settle();
        assert_eq!(world.server.connection_count(), 0);
    }
}
