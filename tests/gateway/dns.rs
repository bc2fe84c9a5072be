//! Names of servers and what a name server says of them, asked by the library of the system: in a network
//! namespace of its own, where this test is the name server.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::gateway::{Gateway, Launch, config_file};
use crate::messages::{Ending, Reply, Request, exchange};
use crate::relay_backend::relay_config;
use crate::skip::say;
use crate::wait::until;

const NAME: &str = "dns::names_are_asked_for_again";

/// Starts the test below as its own process, in a network whose name server is at 127.0.0.1. What makes
/// such a network is no package that a script could install, so that a machine which forbids it runs
/// without this test, also under `CI`.
#[test]
fn a_name_server_is_believed_and_missed() {
    let folder = TempDir::new().unwrap();
    let servers = folder.path().join("resolv.conf");
    fs::write(&servers, "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n").unwrap();
    let inside = |command: &str| {
        let set_up = "ip link set lo up && mount --bind \"$1\" /etc/resolv.conf && ";
        let mut own = Command::new("unshare");
        own.args(["--user", "--map-root-user", "--net", "--mount", "sh", "-c"]);
        own.arg(format!("{set_up}{command}")).arg("sh").arg(&servers);
        own.arg(std::env::current_exe().unwrap()).stdin(Stdio::null());
        own
    };
    let probe = inside("true").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        return say("!! SKIPPED: this machine forbids network namespaces");
    }
    let command = format!("exec \"$2\" --exact {NAME} --ignored --nocapture");
    let output = inside(&command).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}\n{}", {
        String::from_utf8_lossy(&output.stderr)
    });
}

#[test]
#[ignore = "its network has to be made first, which the test above does"]
fn names_are_asked_for_again() {
    let answer = name_server();
    let says = |addresses: Option<&[Ipv4Addr]>| {
        *answer.lock().unwrap() = addresses.map(<[Ipv4Addr]>::to_vec);
    };
    let [two, three] = [2, 3].map(|number| Ipv4Addr::new(127, 0, 0, number));
    let port = server(two, 0);
    assert_eq!(server(three, port), port);
    says(Some(&[two]));
    let file = config_file(&relay_config(&format!("\"app.test:{port}\""), "http = true"));
    let gateway = Gateway::launch_with(&Launch::default(), Some(file.path()));
    let asked = || {
        let got = exchange(gateway.address(), &Request::get("/app/who").bytes(), Ending::HalfClose);
        Reply::parse(&got).text().to_owned()
    };
    assert_eq!(asked(), two.to_string());
    says(Some(&[three]));
    until("the other address is known", || (asked() == three.to_string()).then_some(()));
    says(None);
    gateway.logged("app.test keeps its addresses");
    assert_eq!(asked(), three.to_string());
    // A reload asks as well, and knows no less when there is no answer.
    gateway.signal(Signal::HUP);
    gateway.logged("the configuration is reloaded");
    assert_eq!(asked(), three.to_string());
}

/// A server that answers each request with its own address, and its port.
fn server(address: Ipv4Addr, port: u16) -> u16 {
    let listener = TcpListener::bind((address, port)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let lines = BufReader::new(socket.try_clone().unwrap()).lines();
            let head: Vec<String> =
                lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            let text = address.to_string();
            let length = text.len();
            if !head.is_empty() {
                let reply = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}"
                );
                let _ = socket.write_all(reply.as_bytes());
            }
        }
    });
    port
}

/// What the name server answers: the addresses of every name, or that it fails.
type Answer = Arc<Mutex<Option<Vec<Ipv4Addr>>>>;

/// A name server at 127.0.0.1 (RFC 1035 §4): one question in a message, and addresses of IPv4 for any name.
fn name_server() -> Answer {
    let answer = Answer::default();
    let said = Arc::clone(&answer);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 53)).unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 512];
        loop {
            let (length, peer) = socket.recv_from(&mut buffer).unwrap();
            let reply = reply_to(&buffer[..length], said.lock().unwrap().as_deref());
            socket.send_to(&reply, peer).unwrap();
        }
    });
    answer
}

fn reply_to(query: &[u8], addresses: Option<&[Ipv4Addr]>) -> Vec<u8> {
    const HEAD_BYTES: usize = 12;
    const SERVER_FAILURE: u8 = 2;
    const A: u16 = 1;
    let name_bytes = query[HEAD_BYTES..].iter().position(|&byte| byte == 0).unwrap() + 1;
    let question = &query[HEAD_BYTES..HEAD_BYTES + name_bytes + 4];
    let kind = u16::from_be_bytes([question[name_bytes], question[name_bytes + 1]]);
    let answers = addresses.unwrap_or_default();
    let answers = if kind == A { answers } else { &[] };
    let code = if addresses.is_some() { 0 } else { SERVER_FAILURE };
    // A response, recursion desired and available.
    let mut reply = [&query[..2], &[0x81, 0x80 | code]].concat();
    for count in [1, answers.len(), 0, 0] {
        reply.extend(u16::try_from(count).unwrap().to_be_bytes());
    }
    reply.extend(question);
    for address in answers {
        // The name of the question; type A, class IN, for no time at all, four bytes.
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        reply.extend(address.octets());
    }
    reply
}
