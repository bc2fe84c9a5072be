//! A proxy between an adapter and its broker, that can stop to pass on what the broker says.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// A proxy on 127.0.0.1. Its threads end with the connections, and with the test.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    /// A bit for each connection, in the order in which they came.
    muted: Arc<AtomicU64>,
    connections: Arc<AtomicU64>,
}

impl Proxy {
    /// Passes on to this address.
    pub(crate) fn start(address: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let muted = Arc::new(AtomicU64::new(0));
        let connections = Arc::new(AtomicU64::new(0));
        let (own, address) = (Arc::clone(&muted), address.to_owned());
        let count = Arc::clone(&connections);
        thread::spawn(move || {
            for (number, client) in listener.incoming().enumerate() {
                count.fetch_add(1, Ordering::SeqCst);
                let (client, server) = (client.unwrap(), TcpStream::connect(&address).unwrap());
                let (to_server, to_client) =
                    (server.try_clone().unwrap(), client.try_clone().unwrap());
                thread::spawn(move || pass_on(client, to_server, || true));
                let muted = Arc::clone(&own);
                let passes = move || muted.load(Ordering::SeqCst) & (1 << number) == 0;
                thread::spawn(move || pass_on(server, to_client, passes));
            }
        });
        Self { port, muted, connections }
    }

    /// Its URL for Redis.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// How many connections were made.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }

    /// From now on, nothing that the broker says on this connection is passed on.
    pub(crate) fn mute(&self, connection: u32) {
        self.muted.fetch_or(1 << connection, Ordering::SeqCst);
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, passes: impl Fn() -> bool) {
    let mut buffer = [0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if passes() && to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    // Either may be closed already.
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
