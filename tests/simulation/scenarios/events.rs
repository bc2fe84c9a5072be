//! Connections whose backend is told of events: order, batches, and deaths in between. The control thread is
//! a scripted peer, which holds the conversations and answers when a seed says so.

use std::sync::{Arc, Mutex, MutexGuard};

use tidegate::events::{
    About, ClientEvent, Conversation, ConversationLimits, End, EventRequest, ReplyFacts,
    encode_event,
};
use tidegate::events::{EventKind, Events as Told};
use tidegate::http::{ForwardRules, Rejection};
use tidegate::services::{
    Accept, EventAnswer, EventBackend, EventOpening, EventRoom, Events, EventsSettings, Peer,
    RouteOptions, ServiceMessage, ServiceSender,
};
use tidegate::sim::Random;
use tidegate::timer::Millis;

use crate::client::Client;
use crate::wire::TEXT;
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
    is_paused: bool,
    is_let_in: bool,
    is_gone: bool,
}

impl Entry {
    fn begin(&mut self) {
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
        let mut entries = self.entries();
        let entry = &mut entries[index];
        let request = entry.under_way.take().unwrap();
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
        let actions = entry.conversation.replied(ReplyFacts::default(), &reply).unwrap();
        let decision = (request.about == About::Opening).then(|| Ok(Accept::default()));
        entry.post(decision, if entry.is_gone { Vec::new() } else { actions });
        entry.begin();
    }

    /// The backend dies in the middle of a request.
    fn fail(&self, index: usize) {
        let mut entries = self.entries();
        let entry = &mut entries[index];
        let about = entry.under_way.take().unwrap().about;
        entry.conversation.failed(false);
        let refused = || Err(Rejection::bad_gateway("the backend is dead"));
        let decision = (about == About::Opening).then(refused);
        let is_dropped = about == About::Messages && !entry.is_gone;
        let actions = if is_dropped { vec![tidegate::events::Action::Drop] } else { Vec::new() };
        entry.post(decision, actions);
        entry.begin();
    }
}

impl Entry {
    fn post(
        &mut self,
        decision: Option<Result<Accept, Rejection>>,
        actions: Vec<tidegate::events::Action>,
    ) {
        let held = self.conversation.held_bytes();
        let released_bytes = self.charged - held;
        self.charged = held;
        let resumes = self.is_paused && !self.conversation.is_full();
        self.is_paused &= !resumes;
        self.is_let_in |= matches!(decision, Some(Ok(_)));
        let (peer, is_reminder, is_over) = (self.peer, false, false);
        let answer =
            EventAnswer { peer, decision, actions, released_bytes, resumes, is_reminder, is_over };
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
            charged: 0,
            is_paused: false,
            is_let_in: false,
            is_gone: false,
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
            entry.is_paused = entry.conversation.is_full();
            room = if entry.is_paused { EventRoom::Full } else { EventRoom::Room };
        }
        room
    }

    fn end(&self, peer: Peer, end: End, reason: &str, _: Millis) {
        self.with(peer, |entry| {
            entry.conversation.close_reason(reason);
            entry.conversation.end(end);
            entry.is_gone = true;
        });
    }
}

fn world(seed: u64, backend: &Arc<Scripted>) -> World {
    let mut setup = Setup { seed, ..Setup::default() };
    setup.server.loops = 2;
    let settings = Arc::new(EventsSettings {
        backend: Arc::clone(backend) as _,
        rules: ForwardRules::default(),
        rewrite: None,
        paths: vec!["/events".to_owned()],
        passes_pings: false,
    });
    World::serving(&setup, |journal| {
        let options = RouteOptions::default();
        vec![socket("/events", &options, journal, move |_, _| Events::new(Arc::clone(&settings)))]
    })
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
