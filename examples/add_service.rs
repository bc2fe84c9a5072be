//! The smallest complete program with a service of its own: it adds two numbers.
//!
//! ```console
//! $ cargo run --example add_service -- 127.0.0.1:3000
//! serving ws://127.0.0.1:3000/add
//! ```
//!
//! A client that sends `{"A":3,"B":9}` is answered `{"Sum":12}`. Anything else is answered
//! `{"Error":"…"}`, and the connection goes on. Whoever sends nothing for 30 seconds is told so and
//! disconnected.

use std::collections::HashMap;
use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate::config::{Config, MachineLimits};
use tidegate::os::raise_descriptor_limit;
use tidegate::server::Handle;
use tidegate::services::{
    CloseReason, Effects, Handler, Message, Peer, Route, RouteOptions, Service,
};
use tidegate::timer::Millis;
use tidegate::ws::CloseCode;

/// What a client sends. Serde refuses whatever does not look like this.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Terms {
    a: i64,
    b: i64,
}

/// What it gets: `{"Sum":12}` or `{"Error":"…"}`.
#[derive(Serialize)]
enum Answer {
    Sum(i64),
    Error(String),
}

/// The service. Every event loop has an instance of its own, made on its own thread: so there is
/// nothing to lock, and a plain map will do. It holds when each of its peers was last heard.
#[derive(Default)]
pub(crate) struct Add {
    heard: HashMap<Peer, Millis>,
}

/// How long a client may say nothing.
const SILENCE_MS_MAX: u64 = 30_000;

/// All methods but `on_message` may be left out: without `admit`, everyone is let in.
impl Service for Add {
    /// A connection was upgraded. Effects are how a service acts; here only the time is asked for,
    /// which is the same for everything that happens in one turn of the loop.
    fn on_open(&mut self, peer: Peer, effects: &mut Effects<'_>) {
        self.heard.insert(peer, effects.now());
    }

    /// A whole message came: unmasked, put together, and checked to be UTF-8 if it is text.
    fn on_message(&mut self, peer: Peer, message: Message<'_>, effects: &mut Effects<'_>) {
        self.heard.insert(peer, effects.now());
        let answer = match serde_json::from_slice::<Terms>(message.payload()) {
            Ok(Terms { a, b }) => match a.checked_add(b) {
                Some(sum) => Answer::Sum(sum),
                None => Answer::Error("the sum does not fit into 64 bits".to_owned()),
            },
            Err(error) => Answer::Error(format!("expected {{\"A\":1,\"B\":2}}: {error}")),
        };
        // Writing these two variants as JSON cannot fail; a service must not panic all the same.
        let text = serde_json::to_string(&answer).unwrap_or_default();
        // Replies are gathered: however many messages one read brought, one write answers them.
        effects.reply_text(&text);
    }

    /// Once for every `on_open`, whatever ended the connection.
    fn on_close(&mut self, peer: Peer, _reason: CloseReason, _effects: &mut Effects<'_>) {
        self.heard.remove(&peer);
    }

    /// Asks to be called once a second...
    fn tick_ms(&self) -> Option<u64> {
        Some(1_000)
    }

    /// ...to find those who have been silent for too long.
    fn on_tick(&mut self, effects: &mut Effects<'_>) {
        let now = effects.now();
        for (peer, heard) in &self.heard {
            if now.since(*heard) >= SILENCE_MS_MAX {
                effects.close(*peer, CloseCode::POLICY, "30 seconds without a message");
            }
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    // The gateway's defaults for everything, but for the address if one was given.
    let mut config = Config::default();
    if let Some(address) = std::env::args().nth(1) {
        config.listeners[0].address = address.parse::<SocketAddr>()?;
    }
    // Limits follow from what the machine grants: as many descriptors as it allows, and its cores.
    let cores = std::thread::available_parallelism()?.get();
    let granted = MachineLimits { descriptors: raise_descriptor_limit().granted, cores };
    let settings = config.resolve(granted);

    // The closure makes an instance for each loop. RouteOptions holds what the gateway checks
    // before the service is asked: origins, subprotocols, the longest message.
    let options = RouteOptions { message_bytes_max: 1024, ..RouteOptions::default() };
    let handler = Handler::Socket(Arc::new(|_| Box::new(Add::default())), options);
    let server = Handle::start(&settings, vec![Route::new("/add", handler)])?;

    let mut stdout = std::io::stdout();
    for address in server.addresses() {
        writeln!(stdout, "serving ws://{address}/add")?;
    }
    // The loops run until they are told to drain, which nobody does here, or until one fails.
    server.join()?;
    Ok(())
}
