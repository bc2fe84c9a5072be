//! Publishers by the HTTP API, which note what was acknowledged.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};

use crate::endpoints::{Endpoint, Endpoints};
use crate::members::{CONNECT, TICK, is_pause};
use crate::model::Position;
use crate::random::Random;
use crate::wait::pass;

pub(crate) const KEY: &str = "fedcba9876543210";

/// What has become of one publication.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) channel: usize,
    pub(crate) id: u64,
    /// `None` if there was no answer, or error 100.
    pub(crate) position: Option<Position>,
}

/// Some publishers that have what they are given to do in common.
#[derive(Debug)]
pub(crate) struct Publishers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    is_over: AtomicBool,
    /// Publications that are still to be made.
    given: AtomicU64,
    /// Publications under way.
    busy: AtomicU64,
    done: AtomicU64,
    next_id: AtomicU64,
    published: Mutex<Vec<Published>>,
}

impl Publishers {
    pub(crate) fn start(endpoints: &Endpoints, channels: &[String], random: &mut Random) -> Self {
        let shared = Arc::new(Shared::default());
        let start = |()| {
            let work = Work {
                caller: Caller::new(endpoints.clone(), Random(random.next())),
                channels: channels.to_vec(),
                shared: Arc::clone(&shared),
            };
            thread::spawn(move || work.run())
        };
        let threads = [(); PUBLISHERS].map(start).into();
        Self { shared, threads }
    }

    /// Has them make this many more.
    pub(crate) fn give(&self, count: u64) {
        self.shared.given.fetch_add(count, Ordering::SeqCst);
    }

    /// Has them make no more than they have begun.
    pub(crate) fn pause(&self) {
        self.shared.given.store(0, Ordering::SeqCst);
    }

    /// How many have come to an end, with an answer or without.
    pub(crate) fn done(&self) -> u64 {
        self.shared.done.load(Ordering::SeqCst)
    }

    /// Whether nothing is under way and nothing to be done.
    pub(crate) fn is_idle(&self) -> bool {
        // In this order: what is taken up is busy before it is not given any more.
        self.shared.given.load(Ordering::SeqCst) == 0
            && self.shared.busy.load(Ordering::SeqCst) == 0
    }

    /// A number that no publication has.
    pub(crate) fn next_id(&self) -> u64 {
        self.shared.next_id.fetch_add(1, Ordering::SeqCst)
    }

    pub(crate) fn take_published(&self) -> Vec<Published> {
        std::mem::take(&mut self.shared.published.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Publishers {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            assert!(thread.join().is_ok() || thread::panicking(), "a publisher has failed");
        }
    }
}

struct Work {
    caller: Caller,
    channels: Vec<String>,
    shared: Arc<Shared>,
}

impl Work {
    fn run(mut self) {
        while !self.shared.is_over.load(Ordering::SeqCst) {
            self.shared.busy.fetch_add(1, Ordering::SeqCst);
            let one_less = |given: u64| given.checked_sub(1);
            let order = Ordering::SeqCst;
            if self.shared.given.fetch_update(order, order, one_less).is_ok() {
                self.publish();
                self.shared.done.fetch_add(1, Ordering::SeqCst);
                self.shared.busy.fetch_sub(1, Ordering::SeqCst);
            } else {
                self.shared.busy.fetch_sub(1, Ordering::SeqCst);
                pass(TICK);
            }
        }
    }

    fn publish(&mut self) {
        let channel = self.caller.random.index(self.channels.len());
        let id = self.shared.next_id.fetch_add(1, Ordering::SeqCst);
        let mut body = json!({ "channel": self.channels[channel], "data": id });
        // With a key it is tried again, and made once all the same.
        let attempts = if self.caller.random.is_heads() { ATTEMPTS } else { 1 };
        if attempts > 1 {
            body["idempotency_key"] = json!(id.to_string());
        }
        let mut position = None;
        for _ in 0..attempts {
            position = self.caller.call("publish", &body).ok().map(|result| position_of(&result));
            if position.is_some() || self.shared.is_over.load(Ordering::SeqCst) {
                break;
            }
            pass(TICK);
        }
        let published = Published { channel, id, position };
        self.shared.published.lock().unwrap_or_else(PoisonError::into_inner).push(published);
    }
}

/// The position in the answer to a call.
pub(crate) fn position_of(result: &Value) -> Position {
    Position {
        epoch: result["epoch"].as_str().unwrap().to_owned(),
        offset: result["offset"].as_u64().unwrap_or(0),
    }
}

/// Calls gateways, one connection at a time.
#[derive(Debug)]
pub(crate) struct Caller {
    endpoints: Endpoints,
    random: Random,
    connection: Option<(Arc<Endpoint>, TcpStream)>,
}

impl Caller {
    pub(crate) fn new(endpoints: Endpoints, random: Random) -> Self {
        Self { endpoints, random, connection: None }
    }

    /// Calls the gateway that was called last, or another if there is none any more. The error is that of the
    /// gateway, or null if there was no answer.
    pub(crate) fn call(&mut self, method: &str, body: &Value) -> Result<Value, Value> {
        let Some(text) = self.exchange(method, &body.to_string()) else {
            self.connection = None;
            return Err(Value::Null);
        };
        let mut reply: Value = serde_json::from_str(&text).unwrap();
        let error = reply["error"].take();
        if error.is_null() {
            return Ok(reply["result"].take());
        }
        assert_eq!(error["code"], 100, "only what is temporary: {error}");
        // Another may reach the engine.
        self.connection = None;
        Err(error)
    }

    fn exchange(&mut self, method: &str, body: &str) -> Option<String> {
        if self.connection.as_ref().is_none_or(|(endpoint, _)| endpoint.is_away()) {
            let endpoint = self.endpoints.pick(&mut self.random)?;
            let stream = TcpStream::connect_timeout(&endpoint.api, CONNECT).ok()?;
            stream.set_read_timeout(Some(TICK)).ok()?;
            stream.set_nodelay(true).ok()?;
            self.connection = Some((endpoint, stream));
        }
        let (endpoint, stream) = self.connection.as_mut()?;
        let (host, length) = (endpoint.api, body.len());
        let request = format!(
            "POST /api/{method} HTTP/1.1\r\nhost: {host}\r\nx-api-key: {KEY}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).ok()?;
        let (mut reply, mut buffer) = (Vec::new(), [0; 65_536]);
        loop {
            if let Some(body) = whole_body(&reply) {
                return Some(body);
            }
            match stream.read(&mut buffer) {
                Ok(count @ 1..) => reply.extend_from_slice(&buffer[..count]),
                Err(error) if is_pause(&error) && !endpoint.is_away() => {}
                Ok(_) | Err(_) => return None,
            }
        }
    }
}

/// The body of a reply with status 200, when all of it has come.
fn whole_body(reply: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(reply).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    assert!(head.starts_with("HTTP/1.1 200"), "{text}");
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().unwrap())
    });
    (body.len() >= length.unwrap()).then(|| body.to_owned())
}

const PUBLISHERS: usize = 3;
/// Of a publication with a key.
const ATTEMPTS: usize = 20;
