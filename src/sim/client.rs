//! The client's end of a fake connection.

use std::io::Read as _;

use std::net::IpAddr;

use super::kernel::Kernel;

/// A connection as its client sees it. Dropping it does nothing; end it with
/// [`SimClient::shutdown`] or [`SimClient::reset`].
#[derive(Debug)]
pub struct SimClient {
    kernel: Kernel,
    id: usize,
}

impl SimClient {
    pub(super) fn new(kernel: Kernel, id: usize) -> Self {
        Self { kernel, id }
    }

    /// Sends bytes, which arrive at once. Bytes to a socket that the server has closed are lost and
    /// reset the connection, as TCP does.
    pub fn send(&self, bytes: &[u8]) {
        let mut state = self.kernel.state();
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

    /// Bytes sent that the server has not read.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.kernel.state().streams[self.id].to_server.len()
    }

    /// Bytes that the server's socket has taken and the client has not received.
    #[must_use]
    pub fn unread_bytes(&self) -> usize {
        self.kernel.state().streams[self.id].to_client.len()
    }

    /// Ends the client's half of the connection. What it sent before can still be read.
    pub fn shutdown(&self) {
        let mut state = self.kernel.state();
        state.streams[self.id].client_ended = true;
        state.edge(self.id);
    }

    /// Resets the connection. Bytes under way in either direction are lost.
    pub fn reset(&self) {
        let mut state = self.kernel.state();
        let stream = &mut state.streams[self.id];
        stream.client_reset = true;
        stream.to_server.clear();
        stream.to_client.clear();
        state.edge(self.id);
    }

    /// Takes up to `bytes_max` bytes that the server sent.
    #[must_use]
    pub fn receive(&self, bytes_max: usize) -> Vec<u8> {
        let mut state = self.kernel.state();
        let stream = &mut state.streams[self.id];
        let count = bytes_max.min(stream.to_client.len());
        let mut bytes = vec![0; count];
        if stream.to_client.read_exact(&mut bytes).is_err() {
            bytes.clear();
        }
        // Only a writer that filled the buffer gets an event for the room, as under edge-triggered epoll.
        if !bytes.is_empty() && std::mem::take(&mut stream.wants_room) {
            state.edge(self.id);
        }
        bytes
    }

    /// Whether the server has ended its half and all of it is received.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let state = self.kernel.state();
        let stream = &state.streams[self.id];
        stream.server_ended && stream.to_client.is_empty()
    }

    /// Whether the server has reset the connection. Bytes under way to this client are lost then.
    #[must_use]
    pub fn was_reset(&self) -> bool {
        self.kernel.state().streams[self.id].server_reset
    }

    /// Where a connection of the server's comes from, if it was to come from somewhere.
    #[must_use]
    pub fn peer(&self) -> Option<IpAddr> {
        self.kernel.state().streams[self.id].address.map(|own| own.ip())
    }

    /// Whether the server has dropped its socket.
    #[must_use]
    pub fn is_closed_by_server(&self) -> bool {
        self.kernel.state().streams[self.id].server_closed
    }
}
