//! The client's end of a fake connection.

use std::io::Read as _;

use super::network::Network;

/// A connection as its client sees it. Dropping it does nothing; end it with
/// [`SimClient::shutdown`] or [`SimClient::reset`].
#[derive(Debug)]
pub struct SimClient {
    network: Network,
    id: usize,
}

impl SimClient {
    pub(super) fn new(network: Network, id: usize) -> Self {
        Self { network, id }
    }

    /// Sends bytes; they arrive at once. Bytes to a server that is gone are lost.
    pub fn send(&self, bytes: &[u8]) {
        let mut state = self.network.state();
        let stream = &mut state.streams[self.id];
        if stream.client_ended || stream.client_reset || bytes.is_empty() {
            return;
        }
        if stream.server_closed {
            stream.server_reset = true;
            return;
        }
        stream.to_server.extend(bytes);
        state.edge(self.id);
    }

    /// Ends the client's half.
    pub fn shutdown(&self) {
        let mut state = self.network.state();
        state.streams[self.id].client_ended = true;
        state.edge(self.id);
    }

    /// Breaks the connection.
    pub fn reset(&self) {
        let mut state = self.network.state();
        let stream = &mut state.streams[self.id];
        stream.client_reset = true;
        stream.to_server.clear();
        stream.to_client.clear();
        state.edge(self.id);
    }

    /// Takes up to `bytes_max` bytes that the server sent.
    #[must_use]
    pub fn receive(&self, bytes_max: usize) -> Vec<u8> {
        let mut state = self.network.state();
        let stream = &mut state.streams[self.id];
        let count = bytes_max.min(stream.to_client.len());
        let mut bytes = vec![0; count];
        if stream.to_client.read_exact(&mut bytes).is_err() {
            bytes.clear();
        }
        if !bytes.is_empty() && std::mem::take(&mut stream.wants_room) {
            state.edge(self.id);
        }
        bytes
    }

    /// Whether the server has ended its half and all of it is received.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let state = self.network.state();
        let stream = &state.streams[self.id];
        stream.server_ended && stream.to_client.is_empty()
    }

    /// Whether the server broke the connection: bytes under way to this client are lost.
    #[must_use]
    pub fn was_reset(&self) -> bool {
        self.network.state().streams[self.id].server_reset
    }

    /// Whether the server has dropped its socket.
    #[must_use]
    pub fn is_closed_by_server(&self) -> bool {
        self.network.state().streams[self.id].server_closed
    }
}
