//! A server for tests that answers each request as a script says.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

/// What becomes of a request.
#[derive(Clone, Debug)]
pub(in crate::control) enum Step {
    /// The server writes this and waits for the next request.
    Reply(String),
    /// The server writes this and closes the connection.
    Last(String),
    /// The server never answers.
    Hang,
    /// The server waits for the other side of the gate, and then answers.
    Gate(Arc<Gate>, String),
}

/// Holds a reply back until the test opens it.
#[derive(Debug, Default)]
pub(in crate::control) struct Gate(std::sync::Mutex<bool>, std::sync::Condvar);

impl Gate {
    pub(in crate::control) fn open(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }

    fn wait(&self) {
        let opened = self.0.lock().unwrap();
        drop(self.1.wait_while(opened, |is_open| !*is_open).unwrap());
    }
}

/// A server on a free port. Its threads end with the process.
#[derive(Debug)]
pub(in crate::control) struct ScriptedServer {
    pub(in crate::control) port: u16,
    heads: Receiver<Head>,
    closed: Receiver<usize>,
}

/// The head of a request, and the number of the connection that it came on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::control) struct Head {
    pub(in crate::control) connection: usize,
    pub(in crate::control) text: String,
}

impl ScriptedServer {
    /// Answers each request with what `script` makes of its head.
    pub(in crate::control) fn start(
        script: impl Fn(&Head) -> Step + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, heads) = mpsc::channel();
        let (closer, closed) = mpsc::channel();
        let script = Arc::new(script);
        thread::spawn(move || {
            for (connection, socket) in listener.incoming().enumerate() {
                let (script, sender) = (Arc::clone(&script), sender.clone());
                let (socket, closer) = (socket.unwrap(), closer.clone());
                thread::spawn(move || {
                    serve(connection, &socket, &*script, &sender);
                    let _ = socket.shutdown(Shutdown::Both);
                    let _ = closer.send(connection);
                });
            }
        });
        Self { port, heads, closed }
    }

    /// The next request.
    pub(in crate::control) fn head(&self) -> Head {
        self.heads.recv_timeout(PATIENCE).expect("the server is asked")
    }

    /// The number of the next connection that the server has closed.
    pub(in crate::control) fn closed(&self) -> usize {
        self.closed.recv_timeout(PATIENCE).expect("the server closes a connection")
    }

    /// The requests that have come and were not looked at.
    pub(in crate::control) fn heads(&self) -> Vec<Head> {
        self.heads.try_iter().collect()
    }
}

impl Head {
    /// The value of a header, whose name is in lower case.
    pub(in crate::control) fn header(&self, name: &str) -> Option<&str> {
        self.text.lines().find_map(|line| {
            let (own, value) = line.split_once(": ")?;
            own.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

fn serve(
    connection: usize,
    socket: &TcpStream,
    script: &dyn Fn(&Head) -> Step,
    heads: &Sender<Head>,
) {
    let mut reader = BufReader::new(socket);
    loop {
        let mut text = String::new();
        while !text.ends_with("\r\n\r\n") {
            if reader.read_line(&mut text).unwrap_or(0) == 0 {
                return;
            }
        }
        let head = Head { connection, text };
        let step = script(&head);
        let _ = heads.send(head);
        let mut writer = socket;
        let written = match step {
            Step::Reply(reply) => writer.write_all(reply.as_bytes()),
            Step::Last(reply) => {
                let _ = writer.write_all(reply.as_bytes());
                return;
            }
            Step::Hang => {
                thread::park();
                return;
            }
            Step::Gate(gate, reply) => {
                gate.wait();
                writer.write_all(reply.as_bytes())
            }
        };
        if written.is_err() {
            return;
        }
    }
}

/// A reply with this status line and body.
pub(in crate::control) fn reply(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Longer than any step of a test takes; only a fault reaches it.
pub(in crate::control) const PATIENCE: Duration = Duration::from_secs(60);
