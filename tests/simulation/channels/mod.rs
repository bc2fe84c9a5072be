//! Channels on the fake kernel: what clients are answered, and that nothing is lost without a word.

mod backend;
mod behind;
mod binary;
mod commands;
mod dismissal;
mod engine;
mod handover;
mod held;
mod listings;
mod occupancy;
mod protobuf;
mod proxies;
mod published;
mod race;
mod server_side;
mod turns;

use std::sync::Arc;

use serde_json::{Value, json};
use tidegate::channels::{Namespace, Namespaces, Who};
use tidegate::jwt::{Claims, TokenError, Verified};
use tidegate::services::channels::{Channels, ChannelsSettings, ChannelsTimes};
use tidegate::services::{Checked, IdentityCheck, Inquiry, Peer, Presented, RouteOptions};
use tidegate::sim::ServerSettings;
use tidegate::timer::WallTime;

use crate::client::Client;
use crate::wire::{BINARY, TEXT};
use crate::world::{Setup, World, socket};

/// A namespace in which everybody may do everything.
fn open_namespace(name: &str) -> Namespace {
    let all = Who { clients: true, anonymous: true, subscribers: true };
    Namespace {
        subscribe: all,
        publish: all,
        see_presence: all,
        see_history: all,
        ..Namespace::new(name)
    }
}

/// As [`open_namespace`], whose channels have a history that members recover from.
fn kept_namespace(name: &str, history_size: usize) -> Namespace {
    let (force_recovery, history_ttl_ms) = (true, 3_600_000);
    Namespace { force_recovery, history_size, history_ttl_ms, ..open_namespace(name) }
}

/// Anonymous clients, no pings, and these namespaces.
fn settings(namespaces: impl IntoIterator<Item = Namespace>) -> ChannelsSettings {
    ChannelsSettings {
        namespaces: Namespaces::new(namespaces),
        allow_anonymous: true,
        times: ChannelsTimes { ping_ms: 0, ..ChannelsTimes::default() },
        ..ChannelsSettings::default()
    }
}

/// As [`settings`], with tokens that are their claims as JSON.
fn settings_with_tokens(namespaces: impl IntoIterator<Item = Namespace>) -> ChannelsSettings {
    let check: Arc<dyn IdentityCheck> = Arc::new(PlainTokens);
    let tokens = Some(check);
    ChannelsSettings { subscription_tokens: tokens.clone(), tokens, ..settings(namespaces) }
}

/// Takes claims for the token that would be signed with them.
struct PlainTokens;

impl IdentityCheck for PlainTokens {
    fn check(&self, _: &Presented<'_>, _: &mut Inquiry<'_>) -> Checked {
        Checked::Absent
    }

    fn verify_token(&self, _: Peer, token: &str, _: WallTime) -> Option<Verified> {
        let all = serde_json::from_str(token).map_err(|_| TokenError::Signature);
        let result = all.map(|all: serde_json::Map<String, Value>| Claims {
            user: all.get("sub").and_then(Value::as_str).unwrap_or_default().to_owned(),
            expires_at: all.get("exp").and_then(tidegate::jwt::numeric_date),
            all,
        });
        Some(Verified { result, work: 1 })
    }
}

/// A server with channels at `/connection/websocket`.
fn world(setup: &Setup, settings: ChannelsSettings) -> World {
    let settings = Arc::new(settings);
    let options = RouteOptions {
        backlog_messages_max: setup.backlog_messages_max,
        message_bytes_max: 65_536,
        deflate: None,
        ..RouteOptions::default()
    };
    World::serving(setup, |journal| {
        let make = move |_, site| Channels::new(Arc::clone(&settings), site);
        vec![socket(PATH, &options, journal, make)]
    })
}

fn setup(loops: usize, seed: u64) -> Setup {
    let server = ServerSettings { loops, ..ServerSettings::default() };
    Setup { seed, server, ..Setup::default() }
}

const PATH: &str = "/connection/websocket";
const PROTOBUF_PATH: &str = "/connection/websocket?cf_protocol=protobuf";

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Protobuf,
}

const FORMATS: [Format; 2] = [Format::Json, Format::Protobuf];

impl Format {
    fn path(self) -> &'static str {
        match self {
            Self::Json => PATH,
            Self::Protobuf => PROTOBUF_PATH,
        }
    }

    /// Of those that take turns.
    fn of(number: usize) -> Self {
        FORMATS[number % FORMATS.len()]
    }
}

/// A client that speaks the protocol, one message for each frame. What it says and hears is JSON here, whatever
/// it speaks.
struct Member {
    client: Client,
    format: Format,
    /// Frames of it that were looked at.
    seen: usize,
    id: u32,
}

impl Member {
    /// One whose upgrade was answered, and that has sent no command.
    fn open(world: &mut World, loop_index: usize) -> Self {
        Self::open_in(world, loop_index, Format::Json)
    }

    /// As above, of one that speaks this.
    fn open_in(world: &mut World, loop_index: usize, format: Format) -> Self {
        Self { client: world.open(loop_index, format.path()), format, seen: 0, id: 0 }
    }

    /// One that is connected.
    fn connected(world: &mut World, loop_index: usize) -> Self {
        Self::connected_in(world, loop_index, Format::Json)
    }

    /// As above, one that speaks this.
    fn connected_in(world: &mut World, loop_index: usize, format: Format) -> Self {
        let mut own = Self::open_in(world, loop_index, format);
        let reply = own.ask(world, json!({ "connect": {} }));
        assert!(reply["connect"]["client"].is_string(), "{reply}");
        own
    }

    /// Sends a command; its ID.
    fn send(&mut self, mut command: Value) -> u32 {
        self.id += 1;
        command["id"] = self.id.into();
        self.send_whole(&command);
        self.id
    }

    /// Sends a command as it is.
    fn send_whole(&self, command: &Value) {
        match self.format {
            Format::Json => self.client.send_frame(TEXT, command.to_string().as_bytes()),
            Format::Protobuf => self.client.send_frame(BINARY, &protobuf::encoded(command)),
        }
    }

    /// Sends a command and waits for what comes: the reply to it.
    fn ask(&mut self, world: &mut World, command: Value) -> Value {
        let id = self.send(command);
        let replies = self.messages(world);
        let own = replies.iter().find(|own| own["id"] == id);
        own.unwrap_or_else(|| panic!("no reply to {id} in {replies:?}")).clone()
    }

    /// What has come since the last call, once all is quiet.
    fn messages(&mut self, world: &mut World) -> Vec<Value> {
        world.exchange(&mut self.client);
        self.unseen()
    }

    /// What was read since the last call.
    fn unseen(&mut self) -> Vec<Value> {
        let payloads = self.client.payloads();
        let new = payloads[self.seen..].iter();
        let new = new.flat_map(|payload| match self.format {
            Format::Json => vec![serde_json::from_slice(payload).unwrap()],
            Format::Protobuf => protobuf::replies(payload),
        });
        let new = new.collect();
        self.seen = payloads.len();
        new
    }

    /// The code and the reason of the close frame.
    fn close(&self) -> Option<(u16, String)> {
        let payload = &self.client.received.close()?.payload;
        let code = u16::from_be_bytes([payload[0], payload[1]]);
        Some((code, String::from_utf8(payload[2..].to_vec()).unwrap()))
    }

    /// Sends a frame, after which the connection is closed with this code.
    fn assert_closed_by(mut self, world: &mut World, frame: &str, code: u16) {
        self.client.send_frame(TEXT, frame.as_bytes());
        world.exchange(&mut self.client);
        let close = self.close();
        assert_eq!(close.as_ref().map(|own| own.0), Some(code), "{frame}");
        assert!(!close.unwrap().1.is_empty(), "a client would take it for another end");
    }
}
