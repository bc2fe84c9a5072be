//! Third-party clients: curl, nc, Python's `websockets`, Node's `ws`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::gateway::Gateway;
use crate::messages::{Ending, Reply, Request, exchange};
use crate::skip::skip_without;

/// The configuration that the scripts expect.
const CONFIG: &str = r#"
    loops = 2
    [[route]]
    path = "/echo"
    service = "echo"
    subprotocols = ["v2.echo", "v1.echo"]
    [[route]]
    path = "/takeover"
    service = "echo"
    deflate_bytes_min = 1
    deflate_context_takeover = true
    deflate_window_bits_max = 11
"#;

/// A path in the repository.
pub(crate) fn below_root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Whether the program runs; if not, logs that the test is skipped.
pub(crate) fn has(program: &str, argument: &str) -> bool {
    let mut command = Command::new(program);
    command.arg(argument).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let is_there = command.status().is_ok_and(|status| status.success());
    if !is_there {
        skip_without(&format!("{program}, which scripts/install-clients installs"));
    }
    is_there
}

/// Runs a program that must succeed.
pub(crate) fn run(mut command: Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    output
}

/// Runs curl, which must succeed.
pub(crate) fn curl(arguments: &[&str]) -> Output {
    let mut command = Command::new("curl");
    // Without the user's configuration and without a proxy.
    command.args(["--disable", "--noproxy", "*", "--silent", "--show-error"]);
    // Without progress for a minute; the transfer as a whole may take longer.
    command.args(["--connect-timeout", "60", "--speed-limit", "1", "--speed-time", "60"]);
    command.args(arguments);
    run(command)
}

#[test]
fn curl_gets_pages_and_refusals() {
    if !has("curl", "--version") {
        return;
    }
    let gateway = Gateway::start();
    let address = gateway.address();
    let page = exchange(address, &Request::get("/").bytes(), Ending::Open);
    let page = Reply::parse(&page);

    let url = format!("http://{address}/");
    assert_eq!(curl(&["--fail", &url]).stdout, page.body);
    // A head and a body: curl fails (18, 56) where the length or the end is not in order.
    let head = String::from_utf8(curl(&["--fail", "--head", &url]).stdout).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}\r\n", page.body.len())), "{head}");
    assert_eq!(curl(&["--fail", "--http1.0", &url]).stdout, page.body);
    assert_eq!(curl(&["--fail", "--http2", &url]).stdout, page.body);

    let url = format!("http://{address}/echo");
    let refusal = Reply::parse(&curl(&["--include", &url]).stdout);
    assert_eq!(refusal.status, 426);
    refusal.assert_is_last(false);
    let refusal = Reply::parse(&curl(&["--include", "--data", "some body", &url]).stdout);
    assert_eq!((refusal.status, refusal.header("Allow")), (405, Some("GET")));
}

#[test]
fn nc_gets_a_page() {
    if !has("nc", "-h") {
        return;
    }
    let gateway = Gateway::start();
    let address = gateway.address();
    let mut nc = Command::new("nc");
    nc.args(["-w", "60", &address.ip().to_string(), &address.port().to_string()]);
    let mut nc = nc.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    nc.stdin.as_mut().unwrap().write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let output = nc.wait_with_output().unwrap();
    let reply = Reply::parse(&output.stdout);
    assert_eq!(reply.status, 200);
    reply.assert_is_last(false);
}

#[test]
fn python_websockets_passes_its_battery() {
    let python = below_root("target/clients/python/bin/python");
    if !python.exists() {
        return skip_without("Python websockets, which scripts/install-clients installs");
    }
    let gateway = Gateway::with_config(CONFIG);
    let mut command = Command::new(python);
    command.arg(below_root("tests/clients/battery.py"));
    run({
        command.arg(format!("ws://{}/echo", gateway.address()));
        command
    });
}

#[test]
fn node_ws_passes_its_battery() {
    let clients = below_root("target/clients");
    if !clients.join("node_modules/ws").exists() {
        return skip_without("Node ws, which scripts/install-clients installs");
    }
    let gateway = Gateway::with_config(CONFIG);
    let mut command = Command::new("node");
    command.arg(below_root("tests/clients/battery.mjs"));
    command.arg(format!("ws://{}/echo", gateway.address())).arg(clients);
    run(command);
}
