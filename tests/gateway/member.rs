//! A client of channels that says each command itself, so that a test sees every offset.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};
use tungstenite::{Error, Message, WebSocket, client};

use crate::wait::TIMEOUT;

/// A client that is connected.
pub(crate) struct Member {
    socket: WebSocket<TcpStream>,
    next_id: u64,
    /// Pushes that came while something else was waited for.
    pushes: VecDeque<Value>,
    lines: VecDeque<Value>,
}

impl Member {
    /// Connects as this user, whom the query states.
    pub(crate) fn connect(address: SocketAddr, user: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        let url = format!("ws://{address}/connection/websocket?user={user}");
        let (socket, _) = client(url, stream).unwrap();
        let (pushes, lines) = (VecDeque::new(), VecDeque::new());
        let mut own = Self { socket, next_id: 1, pushes, lines };
        own.ask("connect", &json!({})).unwrap();
        own
    }

    /// Says a command, and gives its result, or the error.
    pub(crate) fn ask(&mut self, method: &str, command: &Value) -> Result<Value, Value> {
        let id = self.next_id;
        self.next_id += 1;
        let text = json!({ "id": id, method: command }).to_string();
        self.socket.send(Message::text(text)).unwrap();
        loop {
            let mut line = self.next_line().expect("a reply comes before the end");
            if line["id"] == id {
                let error = line["error"].take();
                return if error.is_null() { Ok(line[method].take()) } else { Err(error) };
            }
            self.pushes.push_back(line["push"].take());
        }
    }

    /// Subscribes; with a position it wants what it has missed.
    pub(crate) fn subscribe(
        &mut self,
        channel: &str,
        from: Option<(u64, &str)>,
    ) -> Result<Value, Value> {
        let command = match from {
            Some((offset, epoch)) => {
                json!({ "channel": channel, "recover": true, "offset": offset, "epoch": epoch })
            }
            None => json!({ "channel": channel }),
        };
        self.ask("subscribe", &command)
    }

    /// The next push; `None` if the connection ends before.
    pub(crate) fn push(&mut self) -> Option<Value> {
        if let Some(push) = self.pushes.pop_front() {
            return Some(push);
        }
        self.next_line().map(|mut line| line["push"].take())
    }

    /// The data and the offset of the next publication.
    pub(crate) fn publication(&mut self) -> (Value, u64) {
        loop {
            let mut push = self.push().expect("a publication comes before the end");
            if !push["pub"].is_null() {
                return (push["pub"]["data"].take(), push["pub"]["offset"].as_u64().unwrap_or(0));
            }
        }
    }

    fn next_line(&mut self) -> Option<Value> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Some(line);
            }
            let message = match self.socket.read() {
                Ok(message) => message,
                // A machine that is stopped and goes on ends waits that have a timeout (`man 7 signal`).
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    panic!("nothing comes: {error}")
                }
                Err(_) => return None,
            };
            let Message::Text(text) = message else { continue };
            for line in text.lines() {
                let line: Value = serde_json::from_str(line).unwrap();
                if line == json!({}) {
                    // Pings are answered alike.
                    self.socket.send(Message::text("{}")).unwrap();
                } else {
                    self.lines.push_back(line);
                }
            }
        }
    }
}
