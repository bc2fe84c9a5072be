//! The example program, which answers `{"A":3,"B":9}` with `{"Sum":12}`.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::chat_client::ChatClient;
use crate::skip::skip_without;
use crate::wait::until;

/// A running example program.
struct Example {
    child: Child,
    address: std::net::SocketAddr,
}

impl Example {
    /// Starts it on a free port; `None` where it is not built.
    fn start() -> Option<Self> {
        let mut command = command();
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

fn command() -> Command {
    let mut program: PathBuf = std::env::current_exe().unwrap();
    program.pop();
    program.pop();
    program.push("examples/add_service");
    Command::new(program)
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

#[test]
fn sigterm_drains_it() {
    let Some(mut example) = Example::start() else { return };
    let mut client = ChatClient::join(example.address, "/add");
    client.send_text(r#"{"A":3,"B":9}"#);
    assert_eq!(client.receive_text(), r#"{"Sum":12}"#);
    kill_process(Pid::from_child(&example.child), Signal::TERM).unwrap();
    assert_eq!(client.close_frame().0, 1001);
    let ended = until("the example ends", || example.child.try_wait().unwrap());
    assert_eq!(ended.code(), Some(0));
}

#[test]
fn an_address_that_is_taken_is_said_in_one_line() {
    let Some(example) = Example::start() else { return };
    let second = command().arg(example.address.to_string()).output().unwrap();
    let said = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert_eq!(
        said,
        format!(
            "Error: {} is in use by another process (share_port = true would share it)\n",
            example.address
        )
    );
}
