//! A thread for each connection, on tungstenite: the simplest of the servers.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::thread;

use tungstenite::Message;

use super::listener::listen;

/// Serves until the process is ended.
pub(super) fn serve(address: SocketAddr) -> io::Result<()> {
    let listener = listen(address)?;
    loop {
        let (stream, _) = listener.accept()?;
        // If no thread can be started, the stream is dropped, which closes the connection.
        let _ = thread::Builder::new().spawn(move || echo(stream));
    }
}

fn echo(stream: TcpStream) {
    let Ok(mut websocket) = tungstenite::accept(stream) else {
        return;
    };
    // `read` answers pings and the closing handshake.
    while let Ok(message) = websocket.read() {
        if matches!(message, Message::Text(_) | Message::Binary(_))
            && websocket.send(message).is_err()
        {
            return;
        }
    }
}
