//! Small servers, and the commands that put load on them.
#![allow(dead_code, reason = "each test program uses a part of this")]

#[path = "../../../tests/support/port.rs"]
pub(crate) mod port;
pub(crate) mod tls;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tungstenite::{Message, WebSocket};

/// Serves each connection with `behave` on a thread of its own. Connections are numbered from 0.
pub(crate) fn serve(
    listener: &TcpListener,
    behave: impl Fn(usize, TcpStream) + Send + Sync + 'static,
) {
    let behave = Arc::new(behave);
    for (number, stream) in listener.incoming().enumerate() {
        let (stream, behave) = (stream.unwrap(), Arc::clone(&behave));
        thread::spawn(move || behave(number, stream));
    }
}

/// Starts such a server; returns its address.
pub(crate) fn start(behave: impl Fn(usize, TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || serve(&listener, behave));
    address
}

/// A correct server: answers pings, echoes data, answers a Close and then ends the stream.
pub(crate) fn echo(stream: TcpStream) {
    // The handshake fails for a client that only probes whether the server accepts.
    if let Ok(websocket) = tungstenite::accept(stream) {
        echo_messages(websocket);
    }
}

pub(crate) fn echo_messages(mut websocket: WebSocket<TcpStream>) {
    while let Ok(message) = websocket.read() {
        if matches!(message, Message::Text(_) | Message::Binary(_)) {
            websocket.send(message).unwrap();
        }
    }
}

/// Reads a request, answers it with `bytes` and waits until the client leaves.
pub(crate) fn answer(mut stream: TcpStream, bytes: &[u8]) {
    let mut request = [0; 4096];
    let _ = stream.read(&mut request).unwrap();
    stream.write_all(bytes).unwrap();
    wait_for_end(stream);
}

pub(crate) fn wait_for_end(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
}

/// Waits for `duration`.
pub(crate) fn pass(duration: Duration) {
    // No message is ever sent, so the wait always times out.
    let (_sender, receiver) = mpsc::channel::<()>();
    let _ = receiver.recv_timeout(duration);
}

/// Reads and ignores the client's frames until none has arrived for `duration`.
pub(crate) fn stay_idle(websocket: &mut WebSocket<TcpStream>, duration: Duration) {
    websocket.get_ref().set_read_timeout(Some(duration)).unwrap();
    while websocket.read().is_ok() {}
    websocket.get_ref().set_read_timeout(None).unwrap();
}

/// The connections that [`idle`] opens and closes before those that it counts.
pub(crate) const WARM_UP: usize = 2;

/// `loadtest idle` with short times.
pub(crate) fn idle(address: SocketAddr, options: &[&str]) -> Command {
    let mut command = loadtest("idle", address);
    command.args(["--hold", "0.5", "--quiet", "0.2", "--warm-up", &WARM_UP.to_string()]);
    command.args(options);
    command
}

/// One of the program's commands.
pub(crate) fn loadtest(name: &str, address: SocketAddr) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args([name, "--json", "--address", &address.to_string()]);
    command
}

/// The outcome of a run.
pub(crate) struct Outcome {
    pub(crate) exit_code: i32,
    pub(crate) report: Value,
    pub(crate) stderr: String,
}

pub(crate) fn run(address: SocketAddr, options: &[&str]) -> Outcome {
    outcome(&idle(address, options).output().unwrap())
}

pub(crate) fn outcome(output: &Output) -> Outcome {
    Outcome {
        exit_code: output.status.code().unwrap(),
        // Null if there is no report.
        report: serde_json::from_slice(&output.stdout).unwrap_or(Value::Null),
        stderr: String::from_utf8(output.stderr.clone()).unwrap(),
    }
}

/// Starts a run with piped output.
pub(crate) fn begin(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}
