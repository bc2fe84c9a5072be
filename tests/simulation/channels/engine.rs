//! An engine that several gateways share: what members see of what it says.

use std::sync::{Mutex, PoisonError};

use tidegate::channels::remote::{
    Charged, EngineAction, EngineQuestion, EngineRoom, Port, PortEvent,
};
use tidegate::channels::{Epoch, Position, Publication, Read, Recovery, StreamItem};
use tidegate::services::{EngineDelivery, EngineLink, ServiceSender};
use tidegate::work::WorkLimits;

use super::*;

/// An engine whose one channel is where the test has it.
#[derive(Default)]
struct Engine(Mutex<State>, EngineRoom);

#[derive(Default)]
struct State {
    ports: Vec<ServiceSender>,
    /// Where joins are asked for.
    home: Option<ServiceSender>,
    offset: u64,
    /// Whether joins are answered when the test says so, and those that wait.
    holds: bool,
    held: Vec<u64>,
    /// Publications that are on their way.
    publications: Vec<(u64, Option<Charged>)>,
    /// Channels that were joined and left.
    told: Vec<String>,
}

impl Engine {
    fn say(&self, events: Vec<PortEvent>) {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        deliver(state.home.as_ref().unwrap(), events);
    }

    /// Answers the joins that wait.
    fn release(&self) {
        let held = std::mem::take(&mut self.0.lock().unwrap().held);
        assert!(!held.is_empty());
        let offset = self.0.lock().unwrap().offset;
        self.say(held.into_iter().map(|number| joined(number, offset)).collect());
    }
}

/// However many clients publish, what waits for an engine that is slow is bounded in bytes.
#[test]
fn what_is_published_beyond_the_room_on_the_way_is_refused() {
    let room = 100_000;
    let engine = Arc::new(Engine(Mutex::default(), EngineRoom::new(room)));
    let link: Arc<dyn EngineLink> = Arc::clone(&engine) as Arc<dyn EngineLink>;
    let own = settings([kept_namespace("kept", 5)]);
    let mut world = world(&setup(2, 3), ChannelsSettings { engine: Some(link), ..own });
    let mut members: Vec<Member> = (0..8)
        .map(|number| Member::connected_in(&mut world, number % 2, FORMATS[number % 2]))
        .collect();
    let publish = json!({ "publish": { "channel": "kept:x", "data": "x".repeat(30_000) } });
    for _ in 0..2 {
        let mut refused = 0;
        for member in &mut members {
            member.send(publish.clone());
            for reply in member.messages(&mut world) {
                assert_eq!(reply["error"]["code"], 100, "{reply}");
                refused += 1;
            }
        }
        let publications = std::mem::take(&mut engine.0.lock().unwrap().publications);
        assert_eq!((publications.len(), refused), (3, 5));
        assert!(engine.1.free_bytes() < 10_000);
        // They are done, and make room for others.
        let done = publications.iter().map(|own| PortEvent::Published(own.0, Ok(None))).collect();
        drop(publications);
        assert_eq!(engine.1.free_bytes(), room);
        engine.say(done);
        let replies: usize = members.iter_mut().map(|own| own.messages(&mut world).len()).sum();
        assert_eq!(replies, 3);
    }
}

fn joined(number: u64, offset: u64) -> PortEvent {
    let recovery = Recovery::Recovered(Vec::new());
    PortEvent::Joined(number, Ok(Some(Read { position: position(offset), recovery })))
}

impl EngineLink for Engine {
    fn attach(&self, answer_to: ServiceSender) -> Port {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.ports.push(answer_to);
        Port(u32::try_from(state.ports.len() - 1).unwrap())
    }

    fn detach(&self, _: Port) {}

    fn ask(&self, question: EngineQuestion) {
        let EngineQuestion { port, number, action, charged } = question;
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let EngineAction::Leave(channel) = &action {
            state.told.push(format!("leave {channel}"));
        }
        if let EngineAction::Publish { .. } = &action {
            state.publications.push((number, charged));
            state.home = Some(state.ports[port.0 as usize].clone());
        }
        let EngineAction::Join { channel, .. } = action else { return };
        state.told.push(format!("join {channel}"));
        let home = state.ports[port.0 as usize].clone();
        match state.holds {
            true => state.held.push(number),
            false => deliver(&home, vec![joined(number, state.offset)]),
        }
        state.home = Some(home);
    }

    fn refused(&self, _: u64) {}

    fn room(&self) -> EngineRoom {
        self.1.clone()
    }

    fn node(&self) -> u64 {
        7
    }
}

fn deliver(to: &ServiceSender, events: Vec<PortEvent>) {
    to.post(Box::new(EngineDelivery { events, credit: None }));
}

fn position(offset: u64) -> Position {
    Position { offset, epoch: Epoch(7) }
}

fn published(offset: u64) -> PortEvent {
    PortEvent::Stream(StreamItem {
        channel: "kept:x".into(),
        publication: Publication::new(offset.to_string().into_bytes()),
        position: Some(position(offset)),
    })
}

/// What pushes have told, in order: offsets, and codes of subscriptions that have ended.
fn told(messages: &[Value]) -> Vec<u64> {
    let pushes = messages.iter().map(|own| &own["push"]).filter(|own| !own.is_null());
    let number =
        |own: &Value| own["pub"]["offset"].as_u64().or_else(|| own["unsubscribe"]["code"].as_u64());
    pushes.filter_map(number).collect()
}

/// A member that got what comes behind a loss would take itself for whole up to there, and would never ask for
/// what it has missed.
#[test]
fn nothing_comes_between_a_loss_and_the_word_of_it() {
    for seed in 0..40 {
        let engine = Arc::new(Engine::default());
        let link: Arc<dyn EngineLink> = Arc::clone(&engine) as Arc<dyn EngineLink>;
        let own = settings([kept_namespace("kept", 5)]);
        let mut setup = setup(3, seed);
        if seed % 2 == 1 {
            // Each member takes a share, and the turn is over then.
            setup.server.connections.work = WorkLimits { turn: 1, share: 1 };
        }
        let mut world = world(&setup, ChannelsSettings { engine: Some(link), ..own });
        let mut members: Vec<Member> = (0..12)
            .map(|number| Member::connected_in(&mut world, number % 3, Format::of(number / 3)))
            .collect();
        engine.0.lock().unwrap().offset = 10;
        let subscribe = json!({ "subscribe": { "channel": "kept:x" } });
        for member in &mut members {
            let reply = member.ask(&mut world, subscribe.clone());
            assert_eq!(reply["subscribe"]["offset"], 10, "{reply}");
        }
        engine.say(vec![published(11), PortEvent::Lost("kept:x".into()), published(900)]);
        engine.say(vec![published(901)]);
        for member in &mut members {
            assert_eq!(told(&member.messages(&mut world)), [11, 2500], "seed {seed}");
        }
        // Those who come again hear what is published then.
        engine.0.lock().unwrap().offset = 901;
        for member in &mut members {
            assert!(member.ask(&mut world, subscribe.clone())["subscribe"].is_object());
        }
        engine.say(vec![published(902)]);
        for member in &mut members {
            assert_eq!(told(&member.messages(&mut world)), [902], "seed {seed}");
        }
    }
}

/// What the engine says of a join that was under way then may be from before the loss.
#[test]
fn who_joins_while_a_channel_is_lost_is_told_to_try_again() {
    for format in FORMATS {
        let engine = Arc::new(Engine::default());
        let link: Arc<dyn EngineLink> = Arc::clone(&engine) as Arc<dyn EngineLink>;
        let own = settings([kept_namespace("kept", 5)]);
        let mut world = world(&setup(2, 3), ChannelsSettings { engine: Some(link), ..own });
        let subscribe = json!({ "subscribe": { "channel": "kept:x" } });
        let mut first = Member::connected_in(&mut world, 0, format);
        assert!(first.ask(&mut world, subscribe.clone())["subscribe"].is_object());
        let mut second = Member::connected_in(&mut world, 1, format);
        engine.0.lock().unwrap().holds = true;
        second.send(subscribe.clone());
        assert_eq!(second.messages(&mut world), Vec::<Value>::new());
        engine.say(vec![PortEvent::Lost("kept:x".into())]);
        assert_eq!(told(&first.messages(&mut world)), [2500]);
        engine.release();
        let replies = second.messages(&mut world);
        assert_eq!(replies[0]["error"]["code"], 100, "{replies:?}");
        assert_eq!(replies.len(), 1, "{replies:?}");
        engine.0.lock().unwrap().holds = false;
        assert!(second.ask(&mut world, subscribe.clone())["subscribe"].is_object());
        engine.say(vec![published(1)]);
        assert_eq!(told(&second.messages(&mut world)), [1]);
        assert_eq!(told(&first.messages(&mut world)), Vec::<u64>::new());
    }
}

/// It would follow a channel that has no members here, as no one leaves it later.
#[test]
fn the_engine_is_not_asked_about_one_that_has_left_before_its_turn() {
    for format in FORMATS {
        let engine = Arc::new(Engine::default());
        let link: Arc<dyn EngineLink> = Arc::clone(&engine) as Arc<dyn EngineLink>;
        let mut own = settings([kept_namespace("kept", 5)]);
        own.limits.long_answers_work = 1;
        let mut world = world(&setup(1, 3), ChannelsSettings { engine: Some(link), ..own });
        let mut member = Member::connected_in(&mut world, 0, format);
        let subscribe =
            |channel| json!({ "subscribe": { "channel": channel, "recover": true, "offset": 0 } });
        member.send(subscribe("kept:a"));
        let second = member.send(subscribe("kept:b"));
        let third = member.send(subscribe("kept:c"));
        let left = member.send(json!({ "unsubscribe": { "channel": "kept:b" } }));
        let replies = member.messages(&mut world);
        let reply = |id: u32| replies.iter().find(|own| own["id"] == id).unwrap();
        assert_eq!(reply(second)["error"]["code"], 100, "{replies:?}");
        assert!(reply(third)["subscribe"].is_object(), "{replies:?}");
        assert!(reply(left)["unsubscribe"].is_object(), "{replies:?}");
        let told = engine.0.lock().unwrap().told.clone();
        assert_eq!(told, ["join kept:a", "leave kept:b", "join kept:c"]);
    }
}
