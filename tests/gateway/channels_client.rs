//! A client of channels that sends commands as they are, in JSON.

use serde_json::Value;

use crate::admin_client::request;
use crate::frames::{CLOSE, TEXT, client_frame};
use crate::gateway::Gateway;
use crate::messages::Request;
use crate::socket::Socket;

/// The key of `[api]` that [`call`] shows.
pub(crate) const KEY: &str = "fedcba9876543210";

/// What comes from the gateway.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Received {
    Message(Value),
    /// The code and the reason of a close frame.
    Close(u16, String),
}

pub(crate) struct ChannelsClient {
    pub(crate) socket: Socket,
}

impl ChannelsClient {
    /// One that is open, and has sent no command.
    pub(crate) fn open(gateway: &Gateway) -> Self {
        let mut socket = Socket::connect(gateway.address());
        socket.send(&Request::upgrade("/connection/websocket").bytes());
        assert_eq!(socket.receive_head().status, 101);
        Self { socket }
    }

    /// One whose first command, with this content, was answered without an error.
    pub(crate) fn connected(gateway: &Gateway, connect: Value) -> Self {
        let mut own = Self::open(gateway);
        let reply = own.ask(1, "connect", connect);
        assert!(reply["connect"].is_object(), "{reply}");
        own
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.socket.send(&client_frame(TEXT, text.as_bytes()));
    }

    pub(crate) fn command(&mut self, id: u32, method: &str, content: Value) {
        let mut command = serde_json::Map::new();
        command.insert("id".to_owned(), id.into());
        command.insert(method.to_owned(), content);
        self.send(&Value::Object(command).to_string());
    }

    /// The next frame. Each holds one message.
    pub(crate) fn receive(&mut self) -> Received {
        let frame = self.socket.receive_frame();
        if frame.first == CLOSE {
            let (code, reason) = frame.payload.split_first_chunk().expect("a code");
            let reason = String::from_utf8(reason.to_vec()).unwrap();
            return Received::Close(u16::from_be_bytes(*code), reason);
        }
        Received::Message(serde_json::from_slice(&frame.payload).unwrap())
    }

    /// The next message.
    pub(crate) fn message(&mut self) -> Value {
        match self.receive() {
            Received::Message(message) => message,
            Received::Close(code, reason) => panic!("closed with {code} {reason}"),
        }
    }

    /// The close frame, behind whatever else comes.
    pub(crate) fn closed(&mut self) -> (u16, String) {
        loop {
            if let Received::Close(code, reason) = self.receive() {
                return (code, reason);
            }
        }
    }

    /// Sends a command; the reply to it, behind whatever else comes.
    pub(crate) fn ask(&mut self, id: u32, method: &str, content: Value) -> Value {
        self.command(id, method, content);
        self.reply(id)
    }

    /// The reply to this command, behind whatever else comes.
    pub(crate) fn reply(&mut self, id: u32) -> Value {
        loop {
            let message = self.message();
            if message["id"] == id {
                return message;
            }
        }
    }
}

/// Calls a method of the HTTP API; the reply.
pub(crate) fn call(gateway: &Gateway, method: &str, body: &Value) -> Value {
    let key = format!("X-API-Key: {KEY}");
    let path = format!("/api/{method}");
    let reply = request(gateway.api_address(), "POST", &path, &[&key], &body.to_string());
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}
