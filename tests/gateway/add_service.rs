//! The example program, which answers `{"A":3,"B":9}` with `{"Sum":12}`.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::chat_client::ChatClient;
use crate::skip::skip_without;

/// A running example program.
struct Example {
    child: Child,
    address: std::net::SocketAddr,
}

impl Example {
    /// Starts it on a free port; `None` where it is not built.
    fn start() -> Option<Self> {
        let mut program: PathBuf = std::env::current_exe().unwrap();
        program.pop();
        program.pop();
        program.push("examples/add_service");
        let mut command = Command::new(program);
        command.arg("127.0.0.1:0").stdin(Stdio::null()).stdout(Stdio::piped());
        let Ok(mut child) = command.spawn() else {
            skip_without("target/*/examples/add_service: a whole `cargo test` builds it");
            return None;
        };
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("serving ws://").unwrap().strip_suffix("/add");
        Some(Self { child, address: address.unwrap().parse().unwrap() })
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_request_is_answered_with_the_sum() {
    let Some(example) = Example::start() else { return };
    let mut client = ChatClient::join(example.address, "/add");
    client.send_text(r#"{"A":3,"B":9}"#);
    assert_eq!(client.receive_text(), r#"{"Sum":12}"#);
}

#[test]
fn bad_json_is_answered_with_an_error_and_the_connection_stays_open() {
    let Some(example) = Example::start() else { return };
    let mut client = ChatClient::join(example.address, "/add");
    for bad in ["", "{", "[3]", r#"{"A":3}"#, r#"{"A":"3","B":9}"#, r#"{"A":1e400,"B":1}"#] {
        client.send_text(bad);
        let answer: serde_json::Value = client.receive_event();
        assert!(answer["Error"].as_str().is_some_and(|error| !error.is_empty()), "{bad}: {answer}");
    }
    client.send_text(&format!(r#"{{"A":{},"B":1}}"#, i64::MAX));
    assert!(client.receive_event()["Error"].is_string(), "no overflow");
    client.send_text(r#"{"A":-3,"B":9}"#);
    assert_eq!(client.receive_text(), r#"{"Sum":6}"#);
}
