//! Sockets passed by a supervisor, by the protocol of sd_listen_fds(3), and what the supervisor is told, by
//! that of sd_notify(3).

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::process::Signal;
use tempfile::{NamedTempFile, TempDir};

use crate::gateway::{Gateway, PROGRAM, config_file, write_config};
use crate::reconnecting_clients::ReconnectingClients;
use crate::socket::Socket;
use crate::wait::{TIMEOUT, until};

/// Runs the program with a listening socket as descriptor 3, as systemd does.
fn activated(listener: &TcpListener, config: &NamedTempFile, name: &str) -> Command {
    let mut shell = Command::new("sh");
    // The shell's number is that of the program which it becomes.
    let script = "export LISTEN_PID=$$; exec \"$0\" \"$@\" 3<&0 0</dev/null";
    shell.arg("-c").arg(script).arg(PROGRAM).arg("--config").arg(config.path());
    shell.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", name);
    shell.stdin(OwnedFd::from(listener.try_clone().unwrap()));
    shell
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn config(address: SocketAddr, more: &str) -> NamedTempFile {
    config_file(&format!("loops = 3\n{more}\n[[listener]]\naddress = \"{address}\"\n"))
}

/// A place to which a process sends how it is doing.
struct Supervisor {
    socket: UnixDatagram,
    path: PathBuf,
    _folder: TempDir,
}

impl Supervisor {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(TIMEOUT)).unwrap();
        Self { socket, path, _folder: folder }
    }

    fn path(&self) -> &Path {
        &self.path
    }

    /// The next message that is about more than life.
    fn next(&self) -> String {
        loop {
            let text = self.next_of_all();
            if !text.starts_with("WATCHDOG=1") {
                return text;
            }
        }
    }

    fn next_of_all(&self) -> String {
        let mut buffer = [0; 1000];
        let count = self.socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..count].to_vec()).unwrap()
    }
}

#[test]
fn a_passed_socket_is_served_by_all_loops() {
    let (listener, address) = listener();
    let mut gateway = Gateway::spawn(&mut activated(&listener, &config(address, ""), "x.socket"));
    assert_eq!(gateway.address(), address);
    let mut sockets: Vec<Socket> = (0..30).map(|_| Socket::open(address)).collect();
    sockets.iter_mut().for_each(|socket| socket.assert_echoes(b"hello"));
    gateway.signal(Signal::TERM);
    for socket in &mut sockets {
        socket.assert_close_answered(1001);
    }
    drop(sockets);
    assert_eq!(gateway.exit_status().code(), Some(0));
}

#[test]
fn a_socket_is_for_the_listener_that_its_name_says() {
    let (listener, address) = listener();
    let config = config("127.0.0.1:0".parse().unwrap(), "");
    let gateway = Gateway::spawn(&mut activated(&listener, &config, "listener-0"));
    assert_eq!(gateway.address(), address);
    Socket::open(address).close();
}

#[test]
fn a_socket_that_fits_no_listener_is_an_error_of_one_line() {
    let (listener, address) = listener();
    let config = config("127.0.0.1:0".parse().unwrap(), "");
    let output = |command: &mut Command| -> Output {
        command.env_remove("RUST_LOG").stderr(Stdio::piped()).output().unwrap()
    };
    let refused = output(&mut activated(&listener, &config, "web"));
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    let line = format!(
        "tidegate: no listener has the address {address} of the socket that was passed as \"web\""
    );
    assert_eq!(said.lines().last().unwrap(), line);

    let refused = output(activated(&listener, &config, "web").env("LISTEN_FDS", "two"));
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    let line = "tidegate: the environment has LISTEN_FDS = \"two\", which is not a number\n";
    assert_eq!(said, line);
}

#[test]
fn variables_for_another_process_are_ignored() {
    let config = config("127.0.0.1:0".parse().unwrap(), "");
    let mut command = Command::new(PROGRAM);
    command.arg("--config").arg(config.path()).stdin(Stdio::null());
    let gateway = Gateway::spawn(command.env("LISTEN_PID", "1").env("LISTEN_FDS", "2"));
    Socket::open(gateway.address()).close();
}

#[test]
fn the_supervisor_hears_of_the_start_of_a_reload_of_life_and_of_the_end() {
    let supervisor = Supervisor::start();
    let config = config("127.0.0.1:0".parse().unwrap(), "");
    let mut command = Command::new(PROGRAM);
    command.arg("--config").arg(config.path()).stdin(Stdio::null());
    command.env("NOTIFY_SOCKET", supervisor.path()).env("WATCHDOG_USEC", "200000");
    let mut gateway = Gateway::spawn(&mut command);
    let ready = format!("READY=1\nSTATUS=serving {}", gateway.address());
    assert_eq!(supervisor.next_of_all(), ready);
    for _ in 0..3 {
        assert_eq!(supervisor.next_of_all(), "WATCHDOG=1\nSTATUS=0 connections");
    }
    // The file now has a second listener: who hears of the end of the reload finds it there.
    write_config(
        config.path(),
        "loops = 3\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
             [[listener]]\naddress = \"127.0.0.2:0\"\n",
    );
    gateway.signal(Signal::HUP);
    assert!(supervisor.next().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    let serves_both = format!("{ready}, 127.0.0.2:");
    let reloaded = supervisor.next();
    assert!(reloaded.starts_with(&serves_both), "{reloaded}");
    let mut socket = Socket::open(gateway.address());
    gateway.signal(Signal::TERM);
    assert!(supervisor.next().starts_with("STOPPING=1\n"));
    socket.assert_close_answered(1001);
    drop(socket);
    assert_eq!(gateway.exit_status().code(), Some(0));
}

/// What `systemctl restart` of a socket-activated service does: the socket stays, one process ends, and the
/// next one begins.
#[test]
fn a_restart_on_a_socket_that_stays_loses_no_connection() {
    let (listener, address) = listener();
    let config = config(address, "[timeouts]\ndrain_ms = 3000");
    let mut gateway = Gateway::spawn(&mut activated(&listener, &config, "x.socket"));
    let clients = ReconnectingClients::start(address, 400);
    clients.wait_until_all_were_open();
    for _ in 0..2 {
        gateway.signal(Signal::TERM);
        assert_eq!(gateway.exit_status().code(), Some(0));
        let counters = gateway.logged(" turns=");
        assert!(!counters.contains("refused_draining="), "{counters}");
        gateway = Gateway::spawn(&mut activated(&listener, &config, "x.socket"));
        clients.wait_until_all_were_open();
    }
    let result = clients.stop();
    assert_eq!(result.failures, Vec::<String>::new());
    assert_eq!(result.opened, result.left + result.closed_with_1001, "none was dropped");
    assert!(result.closed_with_1001 > 400, "{result:?}");
    until("they are gone", || (gateway.counter("open_now") == 0).then_some(()));
}
