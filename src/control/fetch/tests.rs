//! Requests to a server that answers, closes, hangs and babbles.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderValue};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use super::scripted_server::{Gate, Head, PATIENCE, ScriptedServer, Step, reply};
use super::{FetchError, FetchSettings, Fetcher, HttpUrl};
use crate::control::tasks::{RunState, Tasks};

struct Client {
    runtime: Runtime,
    fetcher: Arc<Fetcher>,
}

impl Client {
    fn of(url: &str, deadline: Duration, connections_max: usize) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let settings = FetchSettings {
            url: HttpUrl::parse(url).unwrap(),
            trust: None,
            deadline,
            connections_max,
            body_bytes_max: 64,
        };
        let tasks = Tasks::new(runtime.handle().clone(), watch::Sender::new(RunState::GoesOn));
        Self { fetcher: Arc::new(Fetcher::new(settings, &tasks)), runtime }
    }

    fn at(server: &ScriptedServer) -> Self {
        Self::of(&format!("http://127.0.0.1:{}/who?a=b", server.port), PATIENCE, 2)
    }

    fn get(&self) -> Result<(StatusCode, String), FetchError> {
        let mut headers = HeaderMap::new();
        headers.insert("x-own", HeaderValue::from_static("1"));
        let reply = self.runtime.block_on(self.fetcher.get(&headers))?;
        Ok((reply.status, String::from_utf8(reply.body.to_vec()).unwrap()))
    }
}

fn ok(body: &str) -> Result<(StatusCode, String), FetchError> {
    Ok((StatusCode::OK, body.to_owned()))
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let server = ScriptedServer::start(|_| Step::Reply(reply("200 OK", "yes")));
    let client = Client::at(&server);
    for _ in 0..3 {
        assert_eq!(client.get(), ok("yes"));
        let head = server.head();
        assert_eq!(head.connection, 0);
        assert!(head.text.starts_with("GET /who?a=b HTTP/1.1\r\n"), "{}", head.text);
        assert_eq!(head.header("host"), Some(&*format!("127.0.0.1:{}", server.port)));
        assert_eq!(head.header("x-own"), Some("1"));
    }
}

#[test]
fn a_closed_connection_is_replaced() {
    let server = ScriptedServer::start(|_| Step::Last(reply("200 OK", "yes")));
    let client = Client::at(&server);
    for number in 0..3 {
        assert_eq!(client.get(), ok("yes"));
        assert_eq!(server.head().connection, number);
        assert_eq!(server.closed(), number);
    }
}

/// A server that closes idle connections at once says so; a request must not meet its close.
#[test]
fn a_connection_is_kept_no_longer_than_the_server_keeps_it() {
    let answer = |head: &Head| {
        let said = if head.connection == 0 { "timeout=60, max=100" } else { "max=9, Timeout=1" };
        Step::Reply(format!("HTTP/1.1 200 OK\r\nKeep-Alive: {said}\r\nContent-Length: 0\r\n\r\n"))
    };
    let server = ScriptedServer::start(answer);
    let client = Client::at(&server);
    assert_eq!((client.get(), client.get()), (ok(""), ok("")));
    assert_eq!((server.head().connection, server.head().connection), (0, 0));
    let other = Client::at(&server);
    assert_eq!((other.get(), other.get()), (ok(""), ok("")));
    assert_eq!((server.head().connection, server.head().connection), (1, 2));
}

/// What was written may have been carried out, so it is never sent twice.
#[test]
fn a_request_that_was_written_is_not_repeated() {
    let server = ScriptedServer::start(|head| match head.connection {
        0 if head.text.contains("x-own") => Step::Last(String::new()),
        _ => Step::Reply(reply("200 OK", "yes")),
    });
    let client = Client::at(&server);
    assert!(matches!(client.get(), Err(FetchError::Broken(_))));
    assert_eq!(server.heads().len(), 1);
    assert_eq!(client.get(), ok("yes"));
}

#[test]
fn a_server_that_hangs_is_given_up() {
    let server = ScriptedServer::start(|_| Step::Hang);
    let short = Duration::from_millis(20);
    let client = Client::of(&format!("http://127.0.0.1:{}/", server.port), short, 1);
    assert_eq!(client.get(), Err(FetchError::Late(short)));
}

#[test]
fn a_request_that_is_dropped_takes_its_connection_along() {
    let server = ScriptedServer::start(|head| match head.connection {
        0 => Step::Hang,
        _ => Step::Reply(reply("200 OK", "yes")),
    });
    let client = Client::of(&format!("http://127.0.0.1:{}/", server.port), PATIENCE, 1);
    let fetcher = Arc::clone(&client.fetcher);
    let hanging = client.runtime.spawn(async move { fetcher.get(&HeaderMap::new()).await.is_ok() });
    let (head, server) = client.runtime.block_on(async {
        tokio::task::spawn_blocking(move || (server.head(), server)).await.unwrap()
    });
    assert_eq!(head.connection, 0);
    hanging.abort();
    assert_eq!(client.get(), ok("yes"));
    assert_eq!(server.head().connection, 1);
}

#[test]
fn no_more_connections_are_made_than_allowed() {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let server =
        ScriptedServer::start(move |_| Step::Gate(Arc::clone(&held), reply("200 OK", "yes")));
    let client = Client::at(&server);
    let requests: Vec<_> = (0..8)
        .map(|_| {
            let fetcher = Arc::clone(&client.fetcher);
            client.runtime.spawn(async move { fetcher.get(&HeaderMap::new()).await.is_ok() })
        })
        .collect();
    let first = client.runtime.block_on(async {
        // Two come in; whether a third would is known only once they are answered.
        tokio::task::spawn_blocking(move || (server.head(), server.head(), server)).await.unwrap()
    });
    gate.open();
    for request in requests {
        assert!(client.runtime.block_on(request).unwrap());
    }
    let connections: Vec<usize> = [first.0.connection, first.1.connection]
        .into_iter()
        .chain(first.2.heads().iter().map(|head| head.connection))
        .collect();
    assert_eq!(connections.len(), 8);
    assert!(connections.iter().all(|&connection| connection < 2), "{connections:?}");
}

#[test]
fn replies_are_bounded_and_must_be_http() {
    for (written, expected) in [
        (reply("200 OK", &"x".repeat(65)), Some(FetchError::TooLarge(64))),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n41\r\n".to_owned()
                + &"x".repeat(65)
                + "\r\n0\r\n\r\n",
            Some(FetchError::TooLarge(64)),
        ),
        ("SSH-2.0-x\r\n\r\n".to_owned(), None),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort".to_owned(), None),
        (format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(1 << 20)), None),
        ("HTTP/1.1 200 OK\r\n".to_owned() + &"X: y\r\n".repeat(500) + "\r\n", None),
    ] {
        let server = ScriptedServer::start(move |_| Step::Last(written.clone()));
        let result = Client::at(&server).get();
        match expected {
            Some(error) => assert_eq!(result, Err(error)),
            None => assert!(matches!(result, Err(FetchError::Broken(_))), "{result:?}"),
        }
    }
}

#[test]
fn an_error_of_the_network_names_no_path() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for url in [format!("http://{closed}/secret"), "http://unix:/nonexistent.sock:/secret".into()] {
        let error = Client::of(&url, PATIENCE, 1).get().unwrap_err();
        assert!(matches!(error, FetchError::Connect(_)), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
