//! A link between a gateway and its engine that can be cut and mended.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use crate::faults::NetworkLink;

/// Passes on to an address. While it is cut nothing goes either way and nothing ends, as with lost packets: what
/// was sent meanwhile comes late, after it was mended.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    gate: Arc<Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    is_cut: Mutex<bool>,
    mended: Condvar,
}

impl Proxy {
    /// Its threads end with the connections, and with the test.
    pub(crate) fn start(address: String) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let gate = Arc::new(Gate::default());
        let own = Arc::clone(&gate);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (gate, address) = (Arc::clone(&own), address.clone());
                thread::spawn(move || connect(client, &address, &gate));
            }
        });
        Self { port, gate }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl NetworkLink for Proxy {
    fn cut(&self) {
        *self.gate.is_cut.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    fn mend(&self) {
        *self.gate.is_cut.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.gate.mended.notify_all();
    }
}

impl Gate {
    fn pass(&self) {
        let mut is_cut = self.is_cut.lock().unwrap_or_else(PoisonError::into_inner);
        while *is_cut {
            is_cut = self.mended.wait(is_cut).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn connect(client: TcpStream, address: &str, gate: &Arc<Gate>) {
    gate.pass();
    // Dropped, the client sees that nothing is there.
    let Ok(server) = TcpStream::connect(address) else { return };
    let (to_server, to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let own = Arc::clone(gate);
    thread::spawn(move || pass_on(client, to_server, &own));
    pass_on(server, to_client, gate);
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, gate: &Gate) {
    let mut buffer = [0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        gate.pass();
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    // An end does not pass a cut link either.
    gate.pass();
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
