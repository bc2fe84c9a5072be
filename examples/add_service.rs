//! The smallest complete program with a service of its own: it adds two numbers.
//!
//! ```console
//! $ cargo run --example add_service -- 127.0.0.1:3000
//! serving ws://127.0.0.1:3000/add
//! ```
//!
//! The reply to `{"A":3,"B":9}` is `{"Sum":12}`. The reply to anything else is `{"Error":"…"}`, and
//! the connection stays open. A client that sends nothing for 30 seconds is closed with a reason.

use std::collections::HashMap;
use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate::config::{Config, MachineLimits};
use tidegate::server::{Handle, Signals};
use tidegate::services::{
    CloseReason, Effects, Handler, Message, Peer, Route, RouteOptions, Service,
};
use tidegate::timer::Millis;
use tidegate::ws::CloseCode;

/// The request of a client. Serde refuses any other text.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Request {
    a: i64,
    b: i64,
}

/// The reply: `{"Sum":12}` or `{"Error":"…"}`.
#[derive(Serialize)]
enum Reply {
    Sum(i64),
    Error(String),
}

/// The service. Every event loop has an instance of its own, made on the loop's thread, so it needs
/// no locks. It records when each of its peers last sent a message.
#[derive(Default)]
pub(crate) struct Add {
    last_message: HashMap<Peer, Millis>,
}

/// The longest time between messages of a client.
const SILENCE_MS_MAX: u64 = 30_000;

/// Only `on_message` is required. Without `admit` every connection is accepted.
impl Service for Add {
    /// A connection was upgraded. Here the effects are only asked for the time, which is the same
    /// during a whole turn of the loop.
    fn on_open(&mut self, peer: Peer, effects: &mut Effects<'_>) {
        self.last_message.insert(peer, effects.now());
    }

    /// A complete message arrived: unmasked, reassembled, and checked for UTF-8 if it is text.
    fn on_message(&mut self, peer: Peer, message: Message<'_>, effects: &mut Effects<'_>) {
        self.last_message.insert(peer, effects.now());
        let reply = match serde_json::from_slice::<Request>(message.payload()) {
            Ok(Request { a, b }) => match a.checked_add(b) {
                Some(sum) => Reply::Sum(sum),
                None => Reply::Error("the sum does not fit into 64 bits".to_owned()),
            },
            Err(error) => Reply::Error(format!("expected {{\"A\":1,\"B\":2}}: {error}")),
        };
        // Serializing these two variants cannot fail, but a service must not panic in any case.
        let text = serde_json::to_string(&reply).unwrap_or_default();
        // Replies are collected, and one write sends the replies to all messages of a read.
        effects.reply_text(&text);
    }

    /// Called once for every `on_open`, however the connection ended.
    fn on_close(&mut self, peer: Peer, _reason: CloseReason, _effects: &mut Effects<'_>) {
        self.last_message.remove(&peer);
    }

    /// Asks for a call of `on_tick` every second.
    fn tick_ms(&self) -> Option<u64> {
        Some(1_000)
    }

    /// Closes the connections that have been silent for too long.
    fn on_tick(&mut self, effects: &mut Effects<'_>) {
        let now = effects.now();
        for (peer, last_message) in &self.last_message {
            if now.since(*last_message) >= SILENCE_MS_MAX {
                effects.close(*peer, CloseCode::POLICY, "30 seconds without a message");
            }
        }
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    // Before anything is served: from here on no signal ends the program without closing its clients.
    let signals = Signals::listen()?;
    // The gateway's defaults, except for the address if one is given.
    let mut config = Config::default();
    if let Some(address) = std::env::args().nth(1) {
        config.listeners[0].address = address.parse::<SocketAddr>()?;
    }
    // Limits are derived from what the machine grants: descriptors and cores.
    let settings = config.resolve(MachineLimits::of_this_process());

    // The closure makes the instance of a loop. RouteOptions are what the gateway checks before it
    // calls the service: origins, subprotocols, the longest message.
    let options = RouteOptions { message_bytes_max: 1024, ..RouteOptions::default() };
    let handler = Handler::Socket(Arc::new(|_| Box::new(Add::default())), options);
    let server = Handle::start(&settings, vec![Route::new("/add", handler)])?;

    let mut stdout = std::io::stdout();
    for address in server.addresses() {
        writeln!(stdout, "serving ws://{address}/add")?;
    }
    // Until SIGTERM or Ctrl-C; then all clients are told to go, at a steady pace.
    Ok(server.serve_until_signal(signals, settings.drain_terms())?)
}
