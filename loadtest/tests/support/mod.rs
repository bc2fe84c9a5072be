//! Small servers to put load on, and the program that does it.
#![allow(dead_code, reason = "each test program uses a part of this")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tungstenite::{Message, WebSocket};

/// Serves each connection with `behave`, on a thread of its own; connections are numbered from 0.
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

/// A proper server: answers pings, echoes data, answers a Close and then ends the stream.
pub(crate) fn echo(stream: TcpStream) {
    // A client that only wants to know whether somebody accepts is no WebSocket.
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

/// Reads a request and answers it with these bytes, whatever it says.
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

/// Lets time pass.
pub(crate) fn pass(duration: Duration) {
    // Nobody sends.
    let (_sender, receiver) = mpsc::channel::<()>();
    let _ = receiver.recv_timeout(duration);
}

/// Sees nothing from the client for `duration`, then returns the socket.
pub(crate) fn stay_idle(websocket: &mut WebSocket<TcpStream>, duration: Duration) {
    websocket.get_ref().set_read_timeout(Some(duration)).unwrap();
    while websocket.read().is_ok() {}
    websocket.get_ref().set_read_timeout(None).unwrap();
}

/// `loadtest idle`, made quick enough for a test.
pub(crate) fn idle(address: SocketAddr, options: &[&str]) -> Command {
    let mut command = loadtest("idle", address);
    command.args(["--hold", "0.5", "--quiet", "0.2", "--warm-up", "2"]).args(options);
    command
}

/// One of the program's commands.
pub(crate) fn loadtest(name: &str, address: SocketAddr) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args([name, "--json", "--address", &address.to_string()]);
    command
}

/// What a run said.
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
        // No report is no JSON.
        report: serde_json::from_slice(&output.stdout).unwrap_or(Value::Null),
        stderr: String::from_utf8(output.stderr.clone()).unwrap(),
    }
}

/// Starts a run whose standard error can be followed.
pub(crate) fn begin(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}
