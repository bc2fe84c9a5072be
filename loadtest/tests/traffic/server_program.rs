//! Servers in a process of their own, which runs this test program.

use std::env;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process;
use std::sync::{Arc, Condvar, Mutex};

use tungstenite::handshake::server::{ErrorResponse, Request, Response};

use crate::support::{self, echo, echo_messages};

/// The behaviour of the server.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Aborts on the tenth message.
    Crashing,
    Echo,
    /// Serves some connections and refuses the others with 503.
    Refusing,
    /// Serves some connections and accepts no more until one of them closes.
    Waiting,
}

/// The connections that the servers with a limit serve at a time.
pub(crate) const PERMITS: usize = 10;

/// The command that starts the server.
pub(crate) fn spawn_command(kind: Kind, address: SocketAddr) -> String {
    let program = env::current_exe().unwrap();
    format!(
        "env RUST_BACKTRACE=0 {VARIABLE}={kind:?}:{} '{}' --ignored --exact --nocapture \
         server_program::serve_until_terminated",
        address.port(),
        program.display()
    )
}

#[test]
#[ignore = "no test: the server that the spawning tests start"]
fn serve_until_terminated() {
    let Ok(value) = env::var(VARIABLE) else {
        return;
    };
    let (kind, port) = value.split_once(':').unwrap();
    let listener = TcpListener::bind(("127.0.0.1", port.parse().unwrap())).unwrap();
    match kind {
        "Crashing" => support::serve(&listener, |_, stream| crash_on_tenth_message(stream)),
        "Refusing" => {
            let permits = Arc::new(Permits::default());
            support::serve(&listener, move |_, stream| refuse_or_echo(stream, &permits));
        }
        "Waiting" => serve_while_there_is_room(&listener),
        _ => support::serve(&listener, |_, stream| echo(stream)),
    }
}

fn crash_on_tenth_message(stream: TcpStream) {
    let Ok(mut websocket) = tungstenite::accept(stream) else {
        return;
    };
    for _ in 0..10 {
        let message = websocket.read().unwrap();
        websocket.send(message).unwrap();
    }
    io::stderr().write_all(b"I die\n").unwrap();
    process::abort();
}

#[expect(clippy::result_large_err, reason = "the type of the callback is tungstenite's")]
fn refuse_or_echo(stream: TcpStream, permits: &Permits) {
    let mut has_permit = false;
    let callback = |_: &Request, response: Response| {
        has_permit = permits.try_take();
        if has_permit {
            return Ok(response);
        }
        let mut refusal = ErrorResponse::new(None);
        *refusal.status_mut() = tungstenite::http::StatusCode::SERVICE_UNAVAILABLE;
        refusal.headers_mut().insert("Retry-After", "1".parse().unwrap());
        Err(refusal)
    };
    if let Ok(websocket) = tungstenite::accept_hdr(stream, callback) {
        echo_messages(websocket);
    }
    if has_permit {
        permits.release();
    }
}

fn serve_while_there_is_room(listener: &TcpListener) {
    let permits = Arc::new(Permits::default());
    loop {
        permits.take();
        let (stream, _) = listener.accept().unwrap();
        let permits = Arc::clone(&permits);
        std::thread::spawn(move || {
            echo(stream);
            permits.release();
        });
    }
}

/// Counts the connections that are being served.
#[derive(Default)]
struct Permits {
    taken: Mutex<usize>,
    changed: Condvar,
}

impl Permits {
    fn try_take(&self) -> bool {
        let mut taken = self.taken.lock().unwrap();
        let has_room = *taken < PERMITS;
        *taken += usize::from(has_room);
        has_room
    }

    fn take(&self) {
        let taken = self.taken.lock().unwrap();
        *self.changed.wait_while(taken, |taken| *taken == PERMITS).unwrap() += 1;
    }

    fn release(&self) {
        *self.taken.lock().unwrap() -= 1;
        self.changed.notify_one();
    }
}

const VARIABLE: &str = "LOADTEST_TRAFFIC_TEST_SERVER";
