//! A small broadcast server: messages to `/publish` go to all connections to `/broadcast`, and those to
//! `/member` also to all that are connected there.

use std::io::Write as _;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread;

use socket2::SockRef;
use tungstenite::Message;
use tungstenite::handshake::server::{Request, Response};
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::frame::{Frame, FrameHeader};

use crate::support;

/// Starts the server. Subscriber `number` gets `copies(number, publication)` copies of a
/// publication; both count from 0.
pub(crate) fn start(copies: impl Fn(usize, usize) -> usize + Send + Sync + 'static) -> SocketAddr {
    start_cutting_off(usize::MAX, copies)
}

/// The same, where the subscribers from this number on are cut off when they are behind by too many. Who reads
/// may be as far behind, when a publisher that had no core makes up for it.
pub(crate) fn start_cutting_off(
    slow_from: usize,
    copies: impl Fn(usize, usize) -> usize + Send + Sync + 'static,
) -> SocketAddr {
    let hub = Arc::new(Mutex::new(Hub { subscribers: Vec::new(), publications: 0, slow_from }));
    let copies = Arc::new(copies);
    support::start(move |_, stream| serve(stream, &hub, &*copies))
}

struct Hub {
    subscribers: Vec<Option<Subscriber>>,
    publications: usize,
    slow_from: usize,
}

impl Hub {
    fn publish(&mut self, message: Message, copies: &dyn Fn(usize, usize) -> usize) {
        let data = if message.is_text() { Data::Text } else { Data::Binary };
        let header = FrameHeader { opcode: OpCode::Data(data), ..FrameHeader::default() };
        let mut frame = Vec::new();
        Frame::from_payload(header, message.into_data()).format(&mut frame).unwrap();
        let frame: Arc<[u8]> = frame.into();
        for (number, subscriber) in self.subscribers.iter_mut().enumerate() {
            let is_behind = |own: &mut Subscriber| {
                for _ in 0..copies(number, self.publications) {
                    own.waiting.fetch_add(1, Ordering::Relaxed);
                    // Its thread may have ended with its connection.
                    let _ = own.frames.send(Arc::clone(&frame));
                }
                number >= self.slow_from && own.waiting.load(Ordering::Relaxed) > BEHIND_MAX
            };
            if let Some(behind) = subscriber.take_if(is_behind) {
                // Perhaps in the middle of a frame.
                let _ = behind.stream.shutdown(Shutdown::Both);
            }
        }
        self.publications += 1;
    }
}

/// A subscriber, and the publications that its thread has not written yet.
struct Subscriber {
    frames: Sender<Arc<[u8]>>,
    waiting: Arc<AtomicUsize>,
    stream: TcpStream,
}

impl Subscriber {
    /// One whose publications wait, and what writes them once it is called.
    fn new(stream: TcpStream) -> (Self, impl FnOnce() + Send + 'static) {
        let (frames, queued) = mpsc::channel::<Arc<[u8]>>();
        let waiting = Arc::<AtomicUsize>::default();
        let left = Arc::clone(&waiting);
        let mut writer = stream.try_clone().unwrap();
        let write = move || {
            while queued.recv().is_ok_and(|frame| writer.write_all(&frame).is_ok()) {
                left.fetch_sub(1, Ordering::Relaxed);
            }
        };
        (Self { frames, waiting, stream }, write)
    }
}

#[expect(clippy::result_large_err, reason = "the type of the callback is tungstenite's")]
fn serve(stream: TcpStream, hub: &Mutex<Hub>, copies: &dyn Fn(usize, usize) -> usize) {
    // Small, so that the kernel does not hide a slow reader for long.
    SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER_BYTES).unwrap();
    let own_stream = stream.try_clone().unwrap();
    let (mut publishes, mut write) = (false, None);
    let callback = |request: &Request, response: Response| {
        let path = request.uri().path();
        publishes = path == "/publish" || path == "/member";
        if path != "/publish" {
            // Before the reply: who has it is to miss nothing, however late this thread goes on.
            let (subscriber, writes) = Subscriber::new(own_stream);
            hub.lock().unwrap().subscribers.push(Some(subscriber));
            write = Some(writes);
        }
        Ok(response)
    };
    let Ok(mut websocket) = tungstenite::accept_hdr(stream, callback) else {
        return;
    };
    if let Some(write) = write {
        thread::spawn(write);
    }
    while let Ok(message) = websocket.read() {
        if publishes && (message.is_text() || message.is_binary()) {
            hub.lock().unwrap().publish(message, copies);
        }
    }
    // The hub has a copy of the socket, which would keep the connection open.
    let _ = websocket.get_ref().shutdown(Shutdown::Write);
}

const BEHIND_MAX: usize = 16;
const SEND_BUFFER_BYTES: usize = 16 * 1024;
