//! A thread for each connection, on tungstenite: the simplest server that there is.

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
        // Without a thread the connection cannot be served: dropping it says so to the client.
        let _ = thread::Builder::new().spawn(move || echo(stream));
    }
}

fn echo(stream: TcpStream) {
    let Ok(mut websocket) = tungstenite::accept(stream) else {
        return;
    };
    // Pings and the closing handshake are answered in here.
    while let Ok(message) = websocket.read() {
        if matches!(message, Message::Text(_) | Message::Binary(_))
            && websocket.send(message).is_err()
        {
            return;
        }
    }
}
