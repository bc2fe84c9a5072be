//! Chat rooms on whole event loops: what each member receives, which member holds a name, and what
//! happens when one loop runs ahead of another.

mod events;
mod identity;
mod lines;
mod logins;
mod operators;
mod race;
mod reload;
mod slow;
mod tokens;

use std::sync::Arc;

use serde_json::Value;
use tidegate::http::Subprotocol;
use tidegate::services::room::{CHAT_SUBPROTOCOL, Logins, NameSource, Room, RoomSettings};
use tidegate::services::{Identities, Route, RouteOptions};

use crate::client::Client;
use crate::services::Journal;
use crate::wire::{TEXT, upgrade_request, upgrade_request_offering};
use crate::world::{Setup, World, socket};

/// The format in which a client sends and receives messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientFormat {
    Lines,
    Events,
}

/// A server with rooms at `/chat` and below it, also for line clients.
fn world(loops: usize, settings: RoomSettings) -> World {
    let mut setup = Setup::default();
    setup.server.loops = loops;
    world_of(&setup, settings)
}

fn world_of(setup: &Setup, settings: RoomSettings) -> World {
    world_asking(setup, settings, Identities::default())
}

/// As [`world_of`], for clients that prove who they are.
fn world_asking(setup: &Setup, settings: RoomSettings, identities: Identities) -> World {
    let mut setup = setup.clone();
    setup.server.line_route = Some("/chat");
    let settings = Arc::new(settings);
    let options = RouteOptions {
        backlog_messages_max: setup.backlog_messages_max,
        slow_policy: setup.slow_policy,
        subprotocols: vec![Subprotocol::new(CHAT_SUBPROTOCOL).unwrap()],
        identities,
        ..RouteOptions::default()
    };
    World::serving(&setup, |journal| vec![route(settings, &options, journal)])
}

/// The route of the rooms.
fn route(settings: Arc<RoomSettings>, options: &RouteOptions, journal: &Journal) -> Route {
    let make = move |_, site| Room::new(Arc::clone(&settings), site);
    let mut route = socket("/chat", options, journal, make);
    route.paths.push("/chat/:name/:token".to_owned());
    route
}

/// One login for each name.
fn one_login() -> RoomSettings {
    RoomSettings { logins: Logins::One, ..RoomSettings::default() }
}

/// The first text of a client is its name.
fn first_text() -> RoomSettings {
    RoomSettings { name: NameSource::FirstText, ..RoomSettings::default() }
}

/// A client that has sent its request for `target`, and received no answer yet.
fn asking(world: &World, loop_index: usize, target: &str, format: ClientFormat) -> Client {
    let client = world.connect(loop_index);
    client.send(&match format {
        ClientFormat::Lines => upgrade_request(target),
        ClientFormat::Events => upgrade_request_offering(target, CHAT_SUBPROTOCOL),
    });
    client
}

/// A client that was accepted into the room.
fn enter(world: &mut World, loop_index: usize, target: &str, format: ClientFormat) -> Client {
    let mut client = asking(world, loop_index, target, format);
    world.exchange(&mut client);
    assert_eq!(client.received.status, Some(101), "{target}");
    client
}

/// Sends a chat message in the client's format.
fn send_text(client: &Client, format: ClientFormat, text: &str) {
    match format {
        ClientFormat::Lines => client.send_frame(TEXT, text.as_bytes()),
        ClientFormat::Events => {
            let event = serde_json::json!({ "type": "message", "text": text });
            client.send_frame(TEXT, event.to_string().as_bytes());
        }
    }
}

/// All texts received so far.
fn texts(world: &mut World, client: &mut Client) -> Vec<String> {
    world.exchange(client);
    let frames = client.received.data().iter();
    frames.map(|frame| String::from_utf8(frame.payload.clone()).unwrap()).collect()
}

/// All events received so far.
fn events(world: &mut World, client: &mut Client) -> Vec<Value> {
    texts(world, client).iter().map(|text| serde_json::from_str(text).unwrap()).collect()
}

/// The code and reason that the client was closed with.
fn close_of(world: &mut World, client: &mut Client) -> Option<(u16, String)> {
    world.exchange(client);
    let close = client.received.close()?;
    Some((close.close_code()?, String::from_utf8(close.payload[2..].to_vec()).unwrap()))
}

fn replaced() -> Option<(u16, String)> {
    Some((4001, "replaced by a new login".to_owned()))
}
