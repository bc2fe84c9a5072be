//! The JSON service: the example program answers `{"A":3,"B":9}` with `{"Sum":12}`.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::chat_client::ChatClient;
use crate::skip::skip_without;

/// The example, running.
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
fn it_adds() {
    let Some(example) = Example::start() else { return };
    let mut client = ChatClient::join(example.address, "/add");
    client.say(r#"{"A":3,"B":9}"#);
    assert_eq!(client.hear(), r#"{"Sum":12}"#);
}

#[test]
fn bad_json_gets_an_error_and_the_connection_lives() {
    let Some(example) = Example::start() else { return };
    let mut client = ChatClient::join(example.address, "/add");
    for bad in ["", "{", "[3]", r#"{"A":3}"#, r#"{"A":"3","B":9}"#, r#"{"A":1e400,"B":1}"#] {
        client.say(bad);
        let answer: serde_json::Value = client.event();
        assert!(answer["Error"].as_str().is_some_and(|error| !error.is_empty()), "{bad}: {answer}");
    }
    client.say(&format!(r#"{{"A":{},"B":1}}"#, i64::MAX));
    assert!(client.event()["Error"].is_string(), "no overflow");
    client.say(r#"{"A":-3,"B":9}"#);
    assert_eq!(client.hear(), r#"{"Sum":6}"#);
}
