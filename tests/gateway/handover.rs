//! SIGUSR2: the program at the same path is started anew and takes over, without a connection that is
//! refused or reset; or it does not, and the old one serves on.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::gateway::{Gateway, PROGRAM, Successor, write_config};
use crate::reconnecting_clients::ReconnectingClients;
use crate::socket::Socket;
use crate::wait::{NEVER_MS, TIMEOUT, until};

/// A place where the program and its configuration lie, so that both can be replaced.
pub(crate) struct Installation {
    pub(crate) folder: TempDir,
}

impl Installation {
    pub(crate) fn new(config: &str) -> Self {
        let own = Self { folder: tempfile::tempdir().unwrap() };
        copy_program(Path::new(PROGRAM), &own.program());
        own.configure(config);
        own
    }

    fn program(&self) -> PathBuf {
        self.folder.path().join("tidegate")
    }

    pub(crate) fn configure(&self, text: &str) {
        let listener = "[[listener]]\naddress = \"127.0.0.1:0\"\n";
        // Many run at once, and there is one default address.
        let admin = if text.contains("[admin]") { "" } else { "[admin]\naddress = \"off\"\n" };
        let text = format!("{text}\n{listener}{admin}");
        write_config(&self.folder.path().join("tidegate.toml"), &text);
    }

    /// Puts a shell script where the program is.
    fn replace_by_script(&self, script: &str) {
        let (text, new) = (self.folder.path().join("script"), self.folder.path().join("new"));
        fs::write(&text, format!("#!/bin/sh\n{script}\n")).unwrap();
        copy_program(&text, &new);
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(new, self.program()).unwrap();
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.program());
        command.arg("--config").arg(self.folder.path().join("tidegate.toml"));
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn start(&self) -> Gateway {
        Gateway::spawn(&mut self.command())
    }
}

/// Copies what is to be executed. Another process does that: one that another test forks meanwhile would hold what
/// this one writes to for a moment, and a file that is written to cannot be executed (execve(2), ETXTBSY).
fn copy_program(from: &Path, to: &Path) {
    let status = Command::new("cp").arg(from).arg(to).status().unwrap();
    assert!(status.success(), "{status}");
}

fn assert_serves(address: SocketAddr) {
    let mut socket = Socket::open(address);
    socket.assert_echoes(b"hello");
    socket.close();
}

/// As many clients as are asked for, or as the descriptors allow.
fn clients_max(wanted: usize) -> usize {
    let granted = tidegate::os::raise_descriptor_limit().granted;
    wanted.min(usize::try_from(granted / 2).unwrap())
}

#[test]
fn a_new_process_takes_over_under_load_and_no_connection_fails() {
    let count = clients_max(2_000);
    let installation = Installation::new("loops = 2\n[timeouts]\ndrain_ms = 5000");
    let mut gateway = installation.start();
    let address = gateway.address();
    let clients = ReconnectingClients::start(address, count);
    clients.wait_until_all_were_open();
    gateway.signal(Signal::USR2);
    let successor = gateway.successor();
    assert_eq!(gateway.exit_status().code(), Some(0));
    let old = gateway.logged(" drain_told=");
    assert!(!old.contains("refused_draining="), "{old}");
    clients.wait_until_all_were_open();
    clients.wait_until_all_were_open();
    let result = clients.stop();
    assert_eq!(result.failures, Vec::<String>::new());
    assert_eq!(result.opened, result.left + result.closed_with_1001, "none was dropped");
    assert!(result.closed_with_1001 > count as u64 / 2, "{result:?}");
    assert_serves(address);
    successor.signal(Signal::TERM);
    until("the new process ends", || (!successor.is_running()).then_some(()));
}

#[test]
fn any_number_of_loops_takes_over_from_any_other() {
    let installation = Installation::new("loops = 4");
    let mut gateway = installation.start();
    let address = gateway.address();
    let clients = ReconnectingClients::start(address, 80);
    let mut processes: Vec<Successor> = Vec::new();
    for (number, loops) in [1, 3, 2].into_iter().enumerate() {
        clients.wait_until_all_were_open();
        installation.configure(&format!("loops = {loops}\n[timeouts]\ndrain_ms = 1000"));
        match processes.last() {
            None => gateway.signal(Signal::USR2),
            Some(last) => last.signal(Signal::USR2),
        }
        let next = gateway.nth_successor(number);
        match processes.last() {
            None => assert_eq!(gateway.exit_status().code(), Some(0)),
            Some(last) => until("the last one ends", || (!last.is_running()).then_some(())),
        }
        processes.push(next);
    }
    clients.wait_until_all_were_open();
    assert_eq!(clients.stop().failures, Vec::<String>::new());
    assert_serves(address);
}

#[test]
fn a_new_process_that_dies_changes_nothing() {
    let installation = Installation::new("loops = 2");
    let gateway = installation.start();
    let mut socket = Socket::open(gateway.address());
    installation.configure("loops = \"two\"");
    gateway.signal(Signal::USR2);
    let line = gateway.logged("the new process did not take over: ");
    assert!(line.contains("ERROR") && line.ends_with("; this one serves on"), "{line}");
    gateway.logged("must be a whole number");
    gateway.assert_counter("handovers_failed", 1);
    socket.assert_echoes(b"still here");
    assert_serves(gateway.address());

    installation.replace_by_script("exit 3");
    gateway.signal(Signal::USR2);
    gateway.logged("did not take over: exit status: 3; this one serves on");
    fs::remove_file(installation.program()).unwrap();
    gateway.signal(Signal::USR2);
    gateway.logged("did not take over: it cannot be started: No such file");
    socket.assert_echoes(b"still here");
    assert_serves(gateway.address());
    gateway.assert_counter("handovers_failed", 3);
}

#[test]
fn a_new_process_that_hangs_is_killed_and_the_old_one_serves_on() {
    let installation = Installation::new("loops = 2\n[timeouts]\nhandover_ms = 300");
    let gateway = installation.start();
    let mut socket = Socket::open(gateway.address());
    installation.replace_by_script("exec sleep 1000");
    gateway.signal(Signal::USR2);
    gateway.logged("did not take over: it was not ready within handover_ms; this one serves on");
    assert_eq!(gateway.children(), "", "it is killed and gone");
    socket.assert_echoes(b"still here");
    assert_serves(gateway.address());
}

/// A gateway whose new process hangs.
fn handing_over() -> (Installation, Gateway) {
    let times = format!("handover_ms = {NEVER_MS}\ndrain_ms = {NEVER_MS}\nclose_ms = {NEVER_MS}");
    let installation = Installation::new(&format!("loops = 2\n[timeouts]\n{times}"));
    let gateway = installation.start();
    let pid_file = installation.folder.path().join("pid");
    installation.replace_by_script(&format!("echo $$ > {}; exec sleep 1000", pid_file.display()));
    gateway.signal(Signal::USR2);
    until("the new process is started", || {
        fs::read_to_string(&pid_file).ok().filter(|text| text.ends_with('\n'))
    });
    (installation, gateway)
}

#[test]
fn while_a_new_process_starts_another_usr2_is_ignored_and_hup_reloads() {
    let (_installation, gateway) = handing_over();
    let mut socket = Socket::open(gateway.address());
    gateway.signal(Signal::USR2);
    gateway.logged("SIGUSR2 is ignored: a new process was started and is not ready yet");
    gateway.signal(Signal::HUP);
    gateway.logged("the configuration is reloaded");
    socket.assert_echoes(b"still here");
    gateway.signal(Signal::TERM);
    socket.assert_close_answered(1001);
}

#[test]
fn a_stop_while_a_new_process_starts_ends_both() {
    let (installation, mut gateway) = handing_over();
    let pid = fs::read_to_string(installation.folder.path().join("pid")).unwrap();
    let mut socket = Socket::open(gateway.address());
    gateway.signal(Signal::TERM);
    socket.assert_close_answered(1001);
    drop(socket);
    assert_eq!(gateway.exit_status().code(), Some(0));
    assert!(!PathBuf::from(format!("/proc/{}", pid.trim())).exists(), "it is killed and gone");
}

#[test]
fn in_a_drain_usr2_and_hup_are_ignored_and_a_stop_ends() {
    let times = format!("drain_ms = {NEVER_MS}\nclose_ms = {NEVER_MS}");
    let installation = Installation::new(&format!("loops = 2\n[timeouts]\n{times}"));
    let mut gateway = installation.start();
    let mut socket = Socket::open(gateway.address());
    gateway.signal(Signal::TERM);
    assert_eq!(socket.receive_frame().payload[..2], 1001_u16.to_be_bytes());
    for (signal, name) in [(Signal::USR2, "SIGUSR2"), (Signal::HUP, "SIGHUP")] {
        gateway.signal(signal);
        gateway.logged(&format!("{name} is ignored: the gateway is shutting down"));
    }
    gateway.assert_counter("draining_now", 2);
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.exit_status().code(), Some(143));
}

#[test]
fn in_the_grace_connections_are_served_and_a_second_stop_ends() {
    let installation =
        Installation::new(&format!("loops = 2\n[timeouts]\ndrain_grace_ms = {NEVER_MS}"));
    let mut gateway = installation.start();
    gateway.signal(Signal::TERM);
    gateway.logged("in which connections are still accepted; a second signal stops at once");
    let mut socket = Socket::open(gateway.address());
    gateway.signal(Signal::USR2);
    gateway.logged("SIGUSR2 is ignored: the gateway is shutting down");
    socket.assert_echoes(b"still served");
    gateway.signal(Signal::INT);
    assert_eq!(gateway.exit_status().code(), Some(130));
}

#[test]
fn after_a_handover_the_old_process_ends_by_a_stop_and_the_new_one_goes_on() {
    let times = format!("drain_ms = {NEVER_MS}\nclose_ms = {NEVER_MS}");
    let installation = Installation::new(&format!("loops = 2\n[timeouts]\n{times}"));
    let mut gateway = installation.start();
    let mut socket = Socket::open(gateway.address());
    gateway.signal(Signal::USR2);
    let successor = gateway.successor();
    assert_eq!(socket.receive_frame().payload[..2], 1001_u16.to_be_bytes());
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.exit_status().code(), Some(143));
    assert!(successor.is_running());
    assert_serves(gateway.address());
}

/// The process that answers operators.
fn answering_pid(admin: SocketAddr) -> serde_json::Value {
    crate::admin_client::get(admin, "/api/v1/version").json()["pid"].clone()
}

#[test]
fn the_admin_listener_goes_along_and_is_never_away() {
    let installation = Installation::new(&format!("loops = 1\n{}", crate::admin_client::CONFIG));
    let mut gateway = installation.start();
    let admin = gateway.admin_address();
    let old = answering_pid(admin);
    gateway.signal(Signal::USR2);
    let successor = gateway.successor();
    // Each of these requests is answered, by one or the other.
    until("the new process answers", || (answering_pid(admin) != old).then_some(()));
    assert_eq!(gateway.exit_status().code(), Some(0));
    assert_ne!(answering_pid(admin), old);
    successor.signal(Signal::TERM);
    until("the new process ends", || (!successor.is_running()).then_some(()));
}

#[test]
fn a_unix_socket_of_the_admin_listener_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let config = format!("loops = 1\n[admin]\naddress = \"{}\"\n", path.display());
    let installation = Installation::new(&config);
    let mut gateway = installation.start();
    gateway.signal(Signal::USR2);
    let successor = gateway.successor();
    assert_eq!(gateway.exit_status().code(), Some(0));
    assert!(std::os::unix::net::UnixStream::connect(&path).is_ok(), "the new one's is still there");
    successor.signal(Signal::TERM);
    until("the new process ends", || (!successor.is_running()).then_some(()));
    assert!(!path.exists());
}

#[test]
fn the_supervisor_hears_which_process_takes_over() {
    let installation = Installation::new("loops = 2");
    let path = installation.folder.path().join("notify");
    let supervisor = UnixDatagram::bind(&path).unwrap();
    supervisor.set_read_timeout(Some(TIMEOUT)).unwrap();
    let mut buffer = [0; 1000];
    let mut next = || {
        let count = supervisor.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..count].to_vec()).unwrap()
    };
    let mut gateway = Gateway::spawn(installation.command().env("NOTIFY_SOCKET", &path));
    assert!(next().starts_with("READY=1\n"));
    gateway.signal(Signal::USR2);
    assert!(next().starts_with("RELOADING=1\n"));
    // The new process says that it is ready to both.
    let mut said = [next(), next()];
    let successor = gateway.successor();
    said.sort();
    assert!(said[0].starts_with(&format!("READY=1\nMAINPID={}\n", successor.pid())), "{said:?}");
    assert!(said[1].starts_with("READY=1\nSTATUS=serving "), "{said:?}");
    assert_eq!(gateway.exit_status().code(), Some(0));
}
