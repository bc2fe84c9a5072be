//! Members: clients that keep their positions, and come back at another gateway when a connection ends.

use std::collections::HashMap;
use std::io;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::{Error, HandshakeError, Message, WebSocket, client};

use crate::endpoints::{Endpoint, Endpoints};
use crate::model::{Position, Seen};
use crate::random::Random;
use crate::wait::pass;

/// One member, on a thread of its own.
#[derive(Debug)]
pub(crate) struct Member {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    is_over: AtomicBool,
    /// Another number has it leave the gateway where it is.
    moves: AtomicU64,
    seen: Mutex<Vec<(usize, Seen)>>,
    positions: Mutex<Vec<Option<Position>>>,
}

impl Member {
    pub(crate) fn start(endpoints: Endpoints, channels: Vec<String>, random: Random) -> Self {
        let shared = Arc::new(Shared::default());
        *shared.positions.lock().unwrap() = vec![None; channels.len()];
        let work = Work { endpoints, channels, random, shared: Arc::clone(&shared) };
        Self { shared, thread: Some(thread::spawn(move || work.run())) }
    }

    /// What it has seen since this was asked last, with the number of the channel.
    pub(crate) fn take_seen(&self) -> Vec<(usize, Seen)> {
        std::mem::take(&mut self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where it is in a channel.
    pub(crate) fn position(&self, channel: usize) -> Option<Position> {
        let positions = self.shared.positions.lock().unwrap_or_else(PoisonError::into_inner);
        positions[channel].clone()
    }

    /// Has it break its connection and come back.
    pub(crate) fn move_on(&self) {
        self.shared.moves.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !thread::panicking()
        {
            panic!("a member has failed");
        }
    }
}

struct Work {
    endpoints: Endpoints,
    channels: Vec<String>,
    random: Random,
    shared: Arc<Shared>,
}

/// What a member knows of one connection.
struct Connection {
    socket: WebSocket<TcpStream>,
    next_id: u64,
    /// Subscriptions that are asked for, by the number of the command.
    asked: HashMap<u64, usize>,
    is_on: Vec<bool>,
}

impl Work {
    fn run(mut self) {
        while !self.is_over() {
            let Some(endpoint) = self.endpoints.pick(&mut self.random) else {
                pass(TICK);
                continue;
            };
            // Some stay with a gateway that stands still.
            let stays = self.random.is_heads();
            let moves = self.shared.moves.load(Ordering::SeqCst);
            let leaves = |own: &Self| {
                let is_left = own.shared.moves.load(Ordering::SeqCst) != moves;
                own.is_over() || is_left || (endpoint.is_away() && !stays)
            };
            let Some(mut connection) = self.connect(&endpoint, &leaves) else {
                pass(TICK);
                continue;
            };
            while !leaves(&self) && self.turn(&mut connection).is_some() {}
            for channel in 0..self.channels.len() {
                if connection.is_on[channel] {
                    self.note(channel, Seen::Ended);
                }
            }
        }
    }

    fn is_over(&self) -> bool {
        self.shared.is_over.load(Ordering::SeqCst)
    }

    fn note(&self, channel: usize, seen: Seen) {
        let mut positions = self.shared.positions.lock().unwrap_or_else(PoisonError::into_inner);
        match &seen {
            Seen::Joined { position, missed, .. } => {
                let offset = missed.last().map_or(position.offset, |(offset, _)| *offset);
                positions[channel] = Some(Position { offset, ..position.clone() });
            }
            Seen::Heard(offset, _) => {
                if let Some(own) = &mut positions[channel] {
                    own.offset = *offset;
                }
            }
            Seen::Ended => {}
        }
        // While the positions are locked, so that a position is never ahead of what was seen.
        self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner).push((channel, seen));
    }

    fn connect(&self, endpoint: &Endpoint, leaves: &impl Fn(&Self) -> bool) -> Option<Connection> {
        let stream = TcpStream::connect_timeout(&endpoint.clients, CONNECT).ok()?;
        stream.set_read_timeout(Some(TICK)).ok()?;
        let url = format!("ws://{}/connection/websocket?user=member", endpoint.clients);
        let mut attempt = client(url, stream);
        let socket = loop {
            match attempt {
                Ok((socket, _)) => break socket,
                Err(HandshakeError::Interrupted(rest)) if !leaves(self) => {
                    attempt = rest.handshake();
                }
                Err(_) => return None,
            }
        };
        let is_on = vec![false; self.channels.len()];
        let mut own = Connection { socket, next_id: 1, asked: HashMap::new(), is_on };
        own.send("connect", &json!({}))?;
        Some(own)
    }

    /// Asks for what is not subscribed, and takes what has come. `None` when the connection has ended.
    fn turn(&self, connection: &mut Connection) -> Option<()> {
        for channel in 0..self.channels.len() {
            let is_asked = connection.asked.values().any(|own| *own == channel);
            if connection.is_on[channel] || is_asked {
                continue;
            }
            let mut command = json!({ "channel": self.channels[channel] });
            let positions = self.shared.positions.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(position) = &positions[channel] {
                command["recover"] = json!(true);
                command["offset"] = json!(position.offset);
                command["epoch"] = json!(position.epoch);
            }
            drop(positions);
            let id = connection.send("subscribe", &command)?;
            connection.asked.insert(id, channel);
        }
        let message = match connection.socket.read() {
            Ok(message) => message,
            Err(Error::Io(error)) if is_pause(&error) => return Some(()),
            Err(_) => return None,
        };
        let Message::Text(text) = message else { return Some(()) };
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            if line == json!({}) {
                // Pings are answered alike.
                connection.socket.send(Message::text("{}")).ok()?;
            } else if line["push"].is_null() {
                self.replied(connection, &line);
            } else {
                self.pushed(connection, &line["push"])?;
            }
        }
        Some(())
    }

    fn replied(&self, connection: &mut Connection, line: &Value) {
        let id = line["id"].as_u64().unwrap();
        let Some(channel) = connection.asked.remove(&id) else { return };
        if !line["error"].is_null() {
            assert_eq!(line["error"]["code"], 100, "only what is temporary: {line}");
            // Without haste, as libraries ask again.
            return pass(TICK);
        }
        let reply = &line["subscribe"];
        let missed = reply["publications"].as_array().into_iter().flatten().map(publication);
        let position = Position {
            epoch: reply["epoch"].as_str().unwrap().to_owned(),
            offset: reply["offset"].as_u64().unwrap_or(0),
        };
        let is_recovered = reply["recovered"] == true;
        connection.is_on[channel] = true;
        self.note(channel, Seen::Joined { is_recovered, position, missed: missed.collect() });
    }

    fn pushed(&self, connection: &mut Connection, push: &Value) -> Option<()> {
        if !push["disconnect"].is_null() {
            return None;
        }
        let channel = self.channels.iter().position(|own| push["channel"] == own.as_str())?;
        if !push["pub"].is_null() {
            let (offset, id) = publication(&push["pub"]);
            self.note(channel, Seen::Heard(offset, id));
        } else if !push["unsubscribe"].is_null() {
            assert_eq!(push["unsubscribe"]["code"], 2500, "{push}");
            connection.is_on[channel] = false;
            self.note(channel, Seen::Ended);
        }
        Some(())
    }
}

impl Connection {
    fn send(&mut self, method: &str, command: &Value) -> Option<u64> {
        let id = self.next_id;
        self.next_id += 1;
        let text = json!({ "id": id, method: command }).to_string();
        self.socket.send(Message::text(text)).ok()?;
        Some(id)
    }
}

/// The offset and the number of a publication.
pub(crate) fn publication(own: &Value) -> (u64, u64) {
    (own["offset"].as_u64().unwrap_or(0), own["data"].as_u64().unwrap())
}

/// Whether nothing has come yet. A machine that is stopped and goes on ends waits as well (`man 7 signal`).
pub(crate) fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// How often a client looks whether it is to do something else.
pub(crate) const TICK: Duration = Duration::from_millis(10);
/// To a process on the same machine, where the kernel answers.
pub(crate) const CONNECT: Duration = Duration::from_secs(10);
