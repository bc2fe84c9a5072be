//! The access log: what it says of each connection, and that a file which is rotated loses and tears no
//! line.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::frames::{TEXT, client_frame};
use crate::gateway::{Gateway, Log, PROGRAM, config_file, run_to_end};
use crate::messages::{Ending, Reply, Request, exchange};
use crate::socket::Socket;
use crate::wait::{SetAtEnd, until};

/// A gateway whose access log is this file, with JSON lines.
fn gateway(path: &Path) -> Gateway {
    let path = path.display();
    Gateway::with_config(&format!(
        "loops = 2\n[log]\nformat = \"json\"\naccess = \"{path}\"\n{ROUTES}"
    ))
}

/// The lines of an access log so far, each of which must be a whole object.
pub(crate) fn lines(path: &Path) -> Vec<Value> {
    let bytes = fs::read(path).unwrap_or_default();
    // A read in the middle of a write sees a part of it.
    let end = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let text = std::str::from_utf8(&bytes[..end]).unwrap();
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// Waits for `count` lines.
fn lines_of(path: &Path, count: usize) -> Vec<Value> {
    until(&format!("{count} lines in the access log"), || {
        Some(lines(path)).filter(|lines| lines.len() >= count)
    })
}

#[test]
fn a_line_says_who_did_what_for_how_long() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let gateway = gateway(&path);
    let mut ann = Socket::connect(gateway.address());
    ann.send(&Request::upgrade("/room?user=ann").bytes());
    assert_eq!(ann.receive_head().status, 101);
    ann.send(&client_frame(TEXT, b"hello"));
    assert_eq!(ann.receive_frame().payload, b"ann: hello");
    ann.close();
    let [line] = &lines_of(&path, 1)[..] else { panic!("more than one line") };
    assert_eq!(line["user"], "ann");
    assert_eq!(line["route"], "/room", "without the query");
    assert_eq!((&line["messages_in"], &line["bytes_in"]), (&Value::from(1), &Value::from(5)));
    assert_eq!((&line["messages_out"], &line["bytes_out"]), (&Value::from(1), &Value::from(10)));
    assert_eq!((&line["code"], &line["status"]), (&Value::from(1000), &Value::Null));
    assert_eq!(line["reason"], "closed by the peer (1000)");
    let address: SocketAddr = line["address"].as_str().unwrap().parse().unwrap();
    assert!(address.ip().is_loopback());
    for field in ["time", "connection"] {
        assert!(line[field].is_string(), "{line}");
    }
    assert!(line["duration_ms"].is_u64());

    let refused =
        exchange(gateway.address(), b"GET /no?x=y HTTP/1.1\r\nHost: a\r\n\r\n", Ending::Open);
    assert_eq!(Reply::parse(&refused).status, 421);
    let line = &lines_of(&path, 2)[1];
    assert_eq!((&line["status"], &line["code"]), (&Value::from(421), &Value::Null));
    assert_eq!(line["reason"], "Misdirected Request");
}

/// Opens connections, each with one message, until the file has been rotated often enough; how many.
fn load(address: SocketAddr, is_over: &AtomicBool) -> usize {
    let mut count = 0;
    while !is_over.load(Ordering::Relaxed) {
        let mut socket = Socket::open(address);
        socket.assert_echoes(b"hello");
        socket.close();
        count += 1;
    }
    count
}

#[test]
fn a_file_that_is_rotated_under_load_loses_and_tears_no_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let rotated = |number: usize| -> PathBuf { folder.path().join(format!("access.log.{number}")) };
    let gateway = gateway(&path);
    let (address, is_over) = (gateway.address(), AtomicBool::new(false));
    let count = thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(|| load(address, &is_over))).collect();
        let ends_them = SetAtEnd(&is_over);
        for number in 0..ROTATIONS {
            // As logrotate does with `create` left out: the file is renamed, and the gateway told.
            lines_of(&path, 50);
            fs::rename(&path, rotated(number)).unwrap();
            gateway.signal(Signal::HUP);
            until("the file is there again", || path.exists().then_some(()));
        }
        drop(ends_them);
        clients.into_iter().map(|client| client.join().unwrap()).sum::<usize>()
    });
    let all = || -> Vec<Value> {
        let files = (0..ROTATIONS).map(&rotated).chain([path.clone()]);
        files.flat_map(|path| lines(&path)).collect()
    };
    let lines = until("all lines are there", || Some(all()).filter(|lines| lines.len() >= count));
    let connections: BTreeSet<&str> =
        lines.iter().map(|line| line["connection"].as_str().unwrap()).collect();
    assert_eq!((lines.len(), connections.len()), (count, count));
    assert!(lines.iter().all(|line| line["code"] == 1000 && line["messages_in"] == 1));
    assert_eq!(gateway.counter("access_lines_dropped"), 0);
}

#[test]
fn a_file_that_cannot_be_opened_again_is_said_and_written_on() {
    let folder = tempfile::tempdir().unwrap();
    let (logs, moved) = (folder.path().join("logs"), folder.path().join("moved"));
    fs::create_dir(&logs).unwrap();
    let gateway = gateway(&logs.join("access.log"));
    fs::rename(&logs, &moved).unwrap();
    gateway.signal(Signal::HUP);
    let line = gateway.logged("the access log cannot be opened again");
    assert!(line.contains("\"level\":\"error\"") && line.contains("No such file"), "{line}");
    Socket::open(gateway.address()).close();
    assert_eq!(lines_of(&moved.join("access.log"), 1)[0]["route"], "/echo");
}

#[test]
fn a_drain_writes_the_lines_of_all_connections() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let mut gateway = gateway(&path);
    let sockets: Vec<Socket> = (0..20).map(|_| Socket::open(gateway.address())).collect();
    gateway.signal(Signal::TERM);
    for mut socket in sockets {
        assert_eq!(socket.receive_frame().first, crate::frames::CLOSE);
    }
    assert_eq!(gateway.exit_status().code(), Some(0));
    let lines = lines(&path);
    assert_eq!(lines.len(), 20);
    assert!(lines.iter().all(|line| line["code"] == 1001 && line["reason"] == "drained"));
}

/// A gateway whose access log goes to this pipe, with its address and its log.
fn start_writing_to(stdout: io::PipeWriter) -> (Child, SocketAddr, Log) {
    let config = config_file(&format!("loops = 1\n[log]\naccess = \"stdout\"\n{ROUTES}"));
    let mut command = Command::new(PROGRAM);
    command.args(["--listen", "127.0.0.1:0", "--config"]).arg(config.path());
    command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let log = Log::follow(child.stderr.take().unwrap());
    let address = until("the gateway listens", || {
        log.lines()
            .iter()
            .find_map(|line| line.split_once("listening on ")?.1.split_once(": ")?.0.parse().ok())
    });
    (child, address, log)
}

#[test]
fn lines_go_to_standard_output() {
    let (reader, writer) = io::pipe().unwrap();
    let (mut child, address, _) = start_writing_to(writer);
    let output = Log::follow(reader);
    Socket::open(address).close();
    let line = until("the line is there", || output.lines().first().cloned());
    assert!(line.starts_with("127.0.0.1 0.") && line.contains(" - ["), "{line}");
    assert!(line.contains("] \"/echo\" 1000 0 \"closed by the peer (1000)\" "), "{line}");
    assert!(line.ends_with("ms in=0/0 out=0/0"), "{line}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_standard_output_that_is_closed_ends_nothing() {
    let (reader, writer) = io::pipe().unwrap();
    let (mut child, address, log) = start_writing_to(writer);
    drop(reader);
    for _ in 0..3 {
        Socket::open(address).close();
    }
    let said =
        |text: &str| until(text, || log.lines().into_iter().find(|line| line.contains(text)));
    said("the access log cannot be written: standard output: Broken pipe");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(until("the gateway ends", || child.try_wait().unwrap()).code(), Some(0));
    let counters = said("access_lines_dropped=");
    assert!(counters.contains("access_lines_dropped=3"), "{counters}");
}

#[test]
fn a_file_in_no_folder_is_an_error_at_start() {
    let config = config_file("[log]\naccess = \"/nonexistent/access.log\"");
    let path = config.path().to_str().unwrap();
    let output = run_to_end(&["--listen", "127.0.0.1:0", "--config", path]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    let line = "tidegate: cannot open log.access = \"/nonexistent/access.log\": No such file";
    assert!(error.contains(line), "{error}");
}

const ROTATIONS: usize = 10;
const ROUTES: &str = "[[route]]\npath = \"/echo\"\nservice = \"echo\"\n\
                      [[route]]\npath = \"/room\"\nservice = \"room\"\nname = \"query\"\nline = \"named\"\n";
