//! A chat client: tungstenite with the calls that the tests of the chat systems need.

use std::io;
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;
use tungstenite::client::IntoClientRequest as _;
use tungstenite::{Error, Message, WebSocket};

use crate::messages::connect;

/// A chat client. Its reads fail after [`crate::wait::TIMEOUT`].
#[derive(Debug)]
pub(crate) struct ChatClient {
    socket: WebSocket<TcpStream>,
}

impl ChatClient {
    /// Joins without a subprotocol.
    pub(crate) fn join(address: SocketAddr, path: &str) -> Self {
        Self::try_join(address, path, None).unwrap_or_else(|status| panic!("{path}: {status}"))
    }

    /// Joins with JSON events.
    pub(crate) fn join_with_events(address: SocketAddr, path: &str) -> Self {
        let joined = Self::try_join(address, path, Some("tidegate.chat.v1"));
        joined.unwrap_or_else(|status| panic!("{path}: {status}"))
    }

    /// Tries to join. The error holds status and body of the refusal.
    pub(crate) fn try_join(
        address: SocketAddr,
        path: &str,
        subprotocol: Option<&str>,
    ) -> Result<Self, String> {
        let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
        if let Some(name) = subprotocol {
            request.headers_mut().insert("Sec-WebSocket-Protocol", name.parse().unwrap());
        }
        match tungstenite::client(request, connect(address)) {
            Ok((socket, response)) => {
                let chosen = response.headers().get("Sec-WebSocket-Protocol");
                assert_eq!(chosen.map(|name| name.to_str().unwrap()), subprotocol);
                Ok(Self { socket })
            }
            Err(tungstenite::HandshakeError::Failure(Error::Http(response))) => {
                let body = response.body().clone().unwrap_or_default();
                Err(format!("{} {}", response.status().as_u16(), String::from_utf8(body).unwrap()))
            }
            Err(error) => panic!("{path}: {error}"),
        }
    }

    pub(crate) fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).unwrap();
    }

    pub(crate) fn send_binary(&mut self, payload: &[u8]) {
        self.socket.send(Message::binary(payload.to_vec())).unwrap();
    }

    /// Sends a chat message as an event.
    pub(crate) fn send_event(&mut self, text: &str) {
        self.send_text(&serde_json::json!({ "type": "message", "text": text }).to_string());
    }

    /// The next message other than pings and pongs.
    pub(crate) fn message(&mut self) -> Message {
        loop {
            let message = match self.socket.read() {
                Ok(message) => message,
                // A machine that is stopped and goes on ends waits that have a timeout (`man 7 signal`).
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => panic!("{error}"),
            };
            if !matches!(message, Message::Ping(_) | Message::Pong(_)) {
                return message;
            }
        }
    }

    /// The next text.
    pub(crate) fn receive_text(&mut self) -> String {
        let message = self.message();
        let Message::Text(text) = message else { panic!("expected text, not {message:?}") };
        text.to_string()
    }

    /// The next event.
    pub(crate) fn receive_event(&mut self) -> Value {
        serde_json::from_str(&self.receive_text()).unwrap()
    }

    /// Code and reason of the close frame, which must come next; reads on to the end.
    pub(crate) fn close_frame(&mut self) -> (u16, String) {
        let Message::Close(Some(frame)) = self.message() else { panic!("expected a close frame") };
        while self.socket.read().is_ok() {}
        (frame.code.into(), frame.reason.to_string())
    }

    /// Closes with a close frame and waits for the end.
    pub(crate) fn leave(mut self) {
        self.socket.close(None).unwrap();
        while self.socket.read().is_ok() {}
    }

    /// Closes the socket without a close frame.
    pub(crate) fn vanish(self) {
        drop(self);
    }
}
