//! Clients that stay connected: each comes back at once when the server closes it, and now and then one comes
//! back by itself. What must never happen to them is written down.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::frames::{CLOSE, client_frame, close_payload};
use crate::messages::Request;
use crate::wait::{TIMEOUT, until};

/// The clients of a server, on threads of their own.
#[derive(Debug)]
pub(crate) struct ReconnectingClients {
    threads: Vec<JoinHandle<ClientsResult>>,
    shared: Arc<Shared>,
    count: u64,
}

#[derive(Debug, Default)]
struct Shared {
    must_stop: AtomicBool,
    /// Raised to have every client that is open now counted once more.
    round: AtomicU64,
    /// Clients that were seen open in this round.
    seen: AtomicU64,
}

/// What became of them.
#[derive(Debug, Default)]
pub(crate) struct ClientsResult {
    /// Connections that were refused or reset, or ended without a close frame, and other answers than 101.
    pub(crate) failures: Vec<String>,
    /// Connections opened.
    pub(crate) opened: u64,
    /// Connections that clients have left by themselves.
    pub(crate) left: u64,
    /// Connections that were told to go.
    pub(crate) closed_with_1001: u64,
}

struct Client {
    stream: TcpStream,
    seen_in_round: u64,
}

impl ReconnectingClients {
    /// Opens `count` connections.
    pub(crate) fn start(address: SocketAddr, count: usize) -> Self {
        let shared = Arc::<Shared>::default();
        shared.round.store(1, Ordering::SeqCst);
        let each = count / THREADS;
        let run = |_| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || run(address, each, &shared))
        };
        let threads = (0..THREADS).map(run).collect();
        Self { threads, shared, count: (each * THREADS) as u64 }
    }

    /// Waits until every client was open at the same server or a later one, since the last call.
    pub(crate) fn wait_until_all_were_open(&self) {
        let Shared { round, seen, .. } = &*self.shared;
        until("all clients are connected", || {
            (seen.load(Ordering::SeqCst) >= self.count).then_some(())
        });
        seen.store(0, Ordering::SeqCst);
        round.fetch_add(1, Ordering::SeqCst);
    }

    /// Closes all connections.
    pub(crate) fn stop(self) -> ClientsResult {
        self.shared.must_stop.store(true, Ordering::SeqCst);
        let mut all = ClientsResult::default();
        for thread in self.threads {
            let own = thread.join().unwrap();
            all.failures.extend(own.failures);
            all.opened += own.opened;
            all.left += own.left;
            all.closed_with_1001 += own.closed_with_1001;
        }
        all
    }
}

fn run(address: SocketAddr, count: usize, shared: &Shared) -> ClientsResult {
    let mut result = ClientsResult::default();
    let mut clients: Vec<Client> = Vec::new();
    let mut turns = 0;
    while !shared.must_stop.load(Ordering::SeqCst) {
        while clients.len() < count {
            match open(address) {
                Ok(stream) => {
                    result.opened += 1;
                    clients.push(Client { stream, seen_in_round: 0 });
                }
                Err(failure) => result.failures.push(failure),
            }
            if result.failures.len() > FAILURES_MAX {
                return result;
            }
            mark(&mut clients, shared);
        }
        turns += 1;
        if turns % 4 == 0 {
            // One comes back by itself, so that there are connections to be made at any moment.
            leave(clients.swap_remove(turns % count).stream);
            result.left += 1;
        }
        mark(&mut clients, shared);
        let ended = readable(&clients);
        for index in ended.into_iter().rev() {
            let client = clients.swap_remove(index);
            match close_code(client.stream) {
                Ok(1001) => result.closed_with_1001 += 1,
                Ok(code) => result.failures.push(format!("closed with {code}")),
                Err(failure) => result.failures.push(failure),
            }
        }
    }
    result.left += clients.len() as u64;
    clients.into_iter().for_each(|client| leave(client.stream));
    result
}

fn mark(clients: &mut [Client], shared: &Shared) {
    let round = shared.round.load(Ordering::SeqCst);
    for client in clients.iter_mut().filter(|client| client.seen_in_round < round) {
        client.seen_in_round = round;
        shared.seen.fetch_add(1, Ordering::SeqCst);
    }
}

fn open(address: SocketAddr) -> Result<TcpStream, String> {
    let failed = |what: &str, error: std::io::Error| format!("{what}: {error}");
    let mut stream = TcpStream::connect(address).map_err(|error| failed("connect", error))?;
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.write_all(&Request::upgrade("/echo").bytes()).map_err(|error| failed("ask", error))?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(0) => return Err(format!("ended in its handshake, after {} bytes", head.len())),
            Ok(_) => head.push(byte[0]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(failed("handshake", error)),
        }
    }
    if head.starts_with(b"HTTP/1.1 101 ") {
        Ok(stream)
    } else {
        Err(String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned())
    }
}

/// The indices of those that can be read, which is only when they are told to go.
fn readable(clients: &[Client]) -> Vec<usize> {
    let polled = clients.iter().map(|client| PollFd::new(&client.stream, PollFlags::IN));
    let mut polled: Vec<PollFd<'_>> = polled.collect();
    let timeout = Timespec::try_from(Duration::from_millis(10)).unwrap();
    if poll(&mut polled, Some(&timeout)).is_err() {
        return Vec::new();
    }
    let ready = polled.iter().enumerate().filter(|(_, own)| !own.revents().is_empty());
    ready.map(|(index, _)| index).collect()
}

/// Receives the close frame, answers it, and waits for the end.
fn close_code(mut stream: TcpStream) -> Result<u16, String> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).map_err(|error| format!("no close frame: {error}"))?;
    let mut payload = vec![0; usize::from(head[1] & 0x7F)];
    stream.read_exact(&mut payload).map_err(|error| format!("half a close frame: {error}"))?;
    if head[0] != CLOSE || payload.len() < 2 {
        return Err(format!("no close frame, but {head:?}"));
    }
    leave(stream);
    Ok(u16::from_be_bytes([payload[0], payload[1]]))
}

fn leave(mut stream: TcpStream) {
    // The other side may have ended at the same moment.
    let _ = stream.write_all(&client_frame(CLOSE, &close_payload(1000, "")));
}

const THREADS: usize = 8;
const FAILURES_MAX: usize = 20;
