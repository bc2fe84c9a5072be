//! A backend that speaks plain HTTP and answers as a test says.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::wait::TIMEOUT;

/// A request as the backend got it.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) line: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Told {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut own = self.headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        own.next().map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What the backend answers: the whole reply, or nothing but the end of the connection.
pub(crate) type Answer = Option<Vec<u8>>;

/// A backend in this process. Its threads end with the gateway's connections.
pub(crate) struct EventsBackend {
    pub(crate) address: SocketAddr,
    told: Mutex<Receiver<Told>>,
}

impl EventsBackend {
    pub(crate) fn start(answer: impl Fn(&Told) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, told) = channel();
        let answer: Arc<dyn Fn(&Told) -> Answer + Send + Sync> = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (answer, sender) = (Arc::clone(&answer), sender.clone());
                thread::spawn(move || serve(stream.unwrap(), &*answer, &sender));
            }
        });
        Self { address, told: Mutex::new(told) }
    }

    /// The next request that has come in.
    pub(crate) fn told(&self) -> Told {
        let told = self.told.lock().unwrap();
        told.recv_timeout(TIMEOUT).expect("a request comes")
    }

    /// Whether no further request has come in.
    pub(crate) fn is_quiet(&self) -> bool {
        self.told.lock().unwrap().try_recv().is_err()
    }
}

fn serve(stream: TcpStream, answer: &dyn Fn(&Told) -> Answer, sender: &Sender<Told>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    while let Some(told) = read(&mut reader) {
        let reply = answer(&told);
        let _ = sender.send(told);
        let Some(reply) = reply else { return };
        if stream.write_all(&reply).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Told> {
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
        Some(line.trim_end().to_owned())
    };
    let first = line()?;
    let mut headers = Vec::new();
    loop {
        let line = line()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut told = Told { line: first, headers, body: Vec::new() };
    let length = told.header("content-length").map_or(0, |own| own.parse().unwrap());
    told.body = vec![0; length];
    reader.read_exact(&mut told.body).ok()?;
    Some(told)
}

/// A reply with events, and these header lines, each with its end.
pub(crate) fn events(lines: &str, body: &str) -> Answer {
    reply("200 OK", &format!("Content-Type: application/websocket-events\r\n{lines}"), body)
}

/// A reply with this status, these header lines, and this body.
pub(crate) fn reply(status: &str, lines: &str, body: &str) -> Answer {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{lines}Content-Length: {length}\r\n\r\n");
    Some((head + body).into_bytes())
}
