//! A small broadcast server: messages to `/publish` go to all connections to `/broadcast`.

use std::io::Write as _;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::SockRef;
use tungstenite::Message;
use tungstenite::handshake::server::{Request, Response};
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::frame::{Frame, FrameHeader};

use crate::support;

/// Starts the server. Subscriber `number` gets `copies(number, publication)` copies of a
/// publication; both count from 0.
pub(crate) fn start(copies: impl Fn(usize, usize) -> usize + Send + Sync + 'static) -> SocketAddr {
    let hub = Arc::new(Mutex::new(Hub::default()));
    let copies = Arc::new(copies);
    support::start(move |_, stream| serve(stream, &hub, &*copies))
}

#[derive(Default)]
struct Hub {
    subscribers: Vec<Option<TcpStream>>,
    publications: usize,
}

impl Hub {
    fn publish(&mut self, message: Message, copies: &dyn Fn(usize, usize) -> usize) {
        let data = if message.is_text() { Data::Text } else { Data::Binary };
        let header = FrameHeader { opcode: OpCode::Data(data), ..FrameHeader::default() };
        let mut frame = Vec::new();
        Frame::from_payload(header, message.into_data()).format(&mut frame).unwrap();
        for (number, subscriber) in self.subscribers.iter_mut().enumerate() {
            for _ in 0..copies(number, self.publications) {
                // A subscriber that takes nothing for this long is cut off, in the middle of a
                // frame.
                if let Some(mut stream) = subscriber.as_ref()
                    && stream.write_all(&frame).is_err()
                {
                    let _ = stream.shutdown(Shutdown::Both);
                    *subscriber = None;
                }
            }
        }
        self.publications += 1;
    }
}

#[expect(clippy::result_large_err, reason = "the type of the callback is tungstenite's")]
fn serve(stream: TcpStream, hub: &Mutex<Hub>, copies: &dyn Fn(usize, usize) -> usize) {
    stream.set_write_timeout(Some(WRITE_MAX)).unwrap();
    // Small, so that the kernel does not hide a slow reader for long.
    SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER_BYTES).unwrap();
    let mut is_publisher = false;
    let callback = |request: &Request, response: Response| {
        is_publisher = request.uri().path() == "/publish";
        Ok(response)
    };
    let Ok(mut websocket) = tungstenite::accept_hdr(stream, callback) else {
        return;
    };
    if !is_publisher {
        let writer = websocket.get_ref().try_clone().unwrap();
        hub.lock().unwrap().subscribers.push(Some(writer));
    }
    while let Ok(message) = websocket.read() {
        if is_publisher && (message.is_text() || message.is_binary()) {
            hub.lock().unwrap().publish(message, copies);
        }
    }
    // The hub has a copy of the socket, which would keep the connection open.
    let _ = websocket.get_ref().shutdown(Shutdown::Write);
}

const WRITE_MAX: Duration = Duration::from_millis(300);
const SEND_BUFFER_BYTES: usize = 16 * 1024;
