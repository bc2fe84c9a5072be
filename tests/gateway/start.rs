//! Start-up: command line, configuration, listeners, log lines, and every error on the way.

use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use rustix::process::{Resource, Signal, getrlimit};

use crate::gateway::{Gateway, Launch, PROGRAM, config_file, run_to_end};
use crate::messages::{Ending, Reply, Request, exchange};
use crate::port::reserved_address;
use crate::socket::Socket;
use crate::wait::until;

/// The one error line on standard error, without the log lines before it.
fn error_of(output: &Output) -> String {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    // Logged lines begin with the time in brackets.
    let lines: Vec<&str> = stderr.lines().filter(|line| !line.starts_with('[')).collect();
    assert_eq!(lines.len(), 1, "one line tells what is wrong: {stderr}");
    lines[0].to_owned()
}

fn page_status(gateway: &Gateway) -> u16 {
    let reply = exchange(gateway.address(), &Request::get("/").bytes(), Ending::Open);
    Reply::parse(&reply).status
}

#[test]
fn without_configuration_it_serves_echo_and_a_page() {
    let gateway = Gateway::launch(&Launch::default());
    assert_eq!(page_status(&gateway), 200);
    let mut socket = Socket::open(gateway.address());
    socket.assert_echoes(b"hello");
    socket.close();
}

#[test]
fn the_log_names_addresses_and_limits() {
    let gateway = Gateway::with_config("loops = 3\n[limits]\nconnections_max = 77\n");
    let address = gateway.address();
    let line = gateway.logged("listening on");
    for part in [&format!(": http://{address}/, "), "WebSocket at /echo /"] {
        assert!(line.contains(part), "`{part}` in: {line}");
    }
    let line = gateway.logged("connections_max = ");
    let version = concat!("tidegate ", env!("CARGO_PKG_VERSION"), ": ");
    for part in [version, "loops = 3", "connections_max = 77 ("] {
        assert!(line.contains(part), "`{part}` in: {line}");
    }
    let (_, origin) = line.split_once("connections_max = 77 (").unwrap();
    assert!(origin.ends_with(')') && origin.len() > "()".len(), "{line}");

    let derived = Gateway::start().logged("connections_max = ");
    assert!(derived.contains("descriptor"), "where the derived limit comes from: {derived}");
}

#[test]
fn a_listener_on_all_addresses_is_logged_with_one_that_can_be_opened() {
    let gateway = Gateway::launch(&Launch { listen: Some("0.0.0.0:0"), ..Launch::default() });
    let port = gateway.address().port();
    let line = gateway.logged("listening on");
    assert!(line.contains(&format!("0.0.0.0:{port}: http://127.0.0.1:{port}/")), "{line}");
}

#[test]
fn the_log_names_the_route_of_a_line_listener() {
    let line = "[[listener]]\naddress = \"127.0.0.1:0\"\nkind = \"line\"\nroute = \"/ws\"\n";
    let gateway = Gateway::with_config(line);
    let line = gateway.logged(": lines for /ws");
    let (_, address) = line.split_once("listening on ").unwrap();
    assert_ne!(address.split_once(": ").unwrap().0, gateway.address().to_string());
}

#[test]
fn a_taken_port_is_one_line_and_exit_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run_to_end(&["--listen", "127.0.0.1:0", "--listen", &address]);
    assert_eq!(output.status.code(), Some(1));
    let line = error_of(&output);
    assert!(line.starts_with("tidegate: "), "{line}");
    assert!(line.contains(&address) && line.contains("in use"), "{line}");
    assert!(line.contains("share_port = true"), "what would help: {line}");
}

#[test]
fn an_address_of_another_machine_is_one_line_and_exit_1() {
    // Reserved for documentation (RFC 5737): no machine has it.
    let output = run_to_end(&["--listen", "192.0.2.1:0"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(error_of(&output).contains("192.0.2.1"));
}

#[test]
fn a_second_gateway_on_the_same_port_is_exit_1() {
    let gateway = Gateway::start();
    let output = run_to_end(&["--listen", &gateway.address().to_string()]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(page_status(&gateway), 200);
}

#[test]
fn of_fifty_gateways_that_start_at_once_one_serves_the_port() {
    let address = reserved_address().to_string();
    let start = || {
        let mut command = Command::new(PROGRAM);
        command.args(["--loops", "2", "--listen", &address]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut gateways: Vec<_> = (0..50).map(|_| start()).collect();
    until("all but one have ended", || {
        gateways.retain_mut(|own| match own.try_wait().unwrap() {
            Some(status) => {
                assert_eq!(status.code(), Some(1));
                false
            }
            None => true,
        });
        (gateways.len() <= 1).then_some(())
    });
    Socket::open(address.parse().unwrap()).close();
    for mut gateway in gateways {
        assert!(gateway.try_wait().unwrap().is_none());
        gateway.kill().unwrap();
        gateway.wait().unwrap();
    }
}

#[test]
fn with_share_port_two_gateways_serve_one_port() {
    let toml = Some("loops = 1\nshare_port = true");
    let first = Gateway::launch(&Launch { toml, ..Launch::default() });
    let address = first.address().to_string();
    let mut second = Gateway::launch(&Launch { toml, listen: Some(&address), ..Launch::default() });
    assert_eq!(first.address(), second.address());
    // The kernel chooses the listener by a hash of the addresses (SO_REUSEPORT, socket(7)).
    until("both have served", || {
        Socket::open(first.address()).close();
        let served = [&first, &second].map(|gateway| gateway.counter("upgrades"));
        (!served.contains(&0)).then_some(())
    });
    second.signal(Signal::TERM);
    assert_eq!(second.exit_status().code(), Some(0));
    Socket::open(first.address()).close();
}

#[test]
fn a_wrong_configuration_is_one_line_and_exit_2() {
    for (toml, line, key, value, rule) in [
        ("[limits]\nconnections_max = 0", 2, "limits.connections_max", "0", "must be between"),
        ("[timeouts]\ndrain_ms = -1", 2, "timeouts.drain_ms", "-1", "must be between"),
        ("[timeouts]\nping_ms = 7", 2, "timeouts.ping_ms", "7", "unknown key, did you mean"),
        ("share_port = \"yes\"", 1, "share_port", "\"yes\"", "must be"),
        ("[[route]]\npath = \"echo\"\nservice = \"echo\"", 2, "route[0].path", "\"echo\"", "must"),
    ] {
        let file = config_file(toml);
        let path = file.path().to_str().unwrap();
        for arguments in [vec!["--config", path], vec!["--check", "--config", path]] {
            let output = run_to_end(&arguments);
            assert_eq!(output.status.code(), Some(2), "{toml}");
            assert!(output.stdout.is_empty());
            let error = error_of(&output);
            let said = format!("tidegate: {path}:{line}: {key} = {value}: ");
            assert!(error.starts_with(&said), "{error}");
            assert!(error[said.len()..].contains(rule), "{error}");
        }
    }
}

#[test]
fn a_configuration_that_is_not_toml_or_not_there_is_one_line_and_exit_2() {
    let file = config_file("loops = = 2\n");
    let path = file.path().to_str().unwrap();
    let output = run_to_end(&["--config", path]);
    assert_eq!(output.status.code(), Some(2));
    assert!(error_of(&output).starts_with(&format!("tidegate: {path}:1:")));

    let output = run_to_end(&["--config", "/nowhere/at/all.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(error_of(&output).contains("/nowhere/at/all.toml"));
}

#[test]
fn check_prints_a_configuration_and_exits_0() {
    let file = config_file("loops = 3\n[limits]\nmessage_bytes_max = 4096\n");
    let output = run_to_end(&["--check", "--config", file.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("\nmessage_bytes_max = 4096\n"), "{printed}");
    assert!(printed.contains("connections_max"), "{printed}");

    // The output is a valid configuration file with the same values.
    let again = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(again.path(), &printed).unwrap();
    let output = run_to_end(&["--check", "--config", again.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), printed);
}

#[test]
fn check_with_a_closed_standard_output_is_one_line_and_exit_1() {
    let (reader, pipe) = std::io::pipe().unwrap();
    drop(reader);
    let output =
        Command::new(PROGRAM).arg("--check").stdout(pipe).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(error_of(&output).contains("cannot print"));
}

#[test]
fn the_descriptor_limit_is_raised_to_what_is_allowed() {
    let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let gateway = Gateway::launch(&Launch { ulimit: Some("-S -n 300"), ..Launch::default() });
    assert_eq!(gateway.descriptor_limit(), hard);
    gateway.logged(&format!("descriptor limit raised from 300 to {hard}"));
}

#[test]
fn each_loop_logs_its_connections_and_turn_times() {
    let gateway = Gateway::with_config("loops = 2\npin_loops = true");
    let _open = Socket::open(gateway.address());
    gateway.counter("open_now");
    for index in 0..2 {
        let line = gateway.logged(&format!("loop {index}: "));
        assert!(line.contains(" connections, ") && line.contains(" us by 99 %"), "{line}");
    }
}

#[test]
fn listen_takes_what_people_type() {
    for listen in ["0", ":0", "localhost:0"] {
        let gateway = Gateway::launch(&Launch { listen: Some(listen), ..Launch::default() });
        assert!(gateway.address().ip().is_loopback(), "{listen}");
        Socket::open(gateway.address()).close();
    }
    for listen in ["localhost", "example.com:80", "http://127.0.0.1:80"] {
        let output = run_to_end(&["--listen", listen]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains("127.0.0.1:8080"), "{text}");
    }
}
