//! The configuration is reloaded on SIGHUP: what changes, what stays, and what is refused.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::Signal;
use rustls::version::TLS12;
use tempfile::NamedTempFile;

use crate::certificates::CertificateFolder;
use crate::chat_client::ChatClient;
use crate::frames::{BINARY, CLOSE, client_frame, close_payload};
use crate::gateway::{Gateway, Launch, config_file, write_config};
use crate::messages::Request;
use crate::redis_server::RedisServer;
use crate::socket::Socket;
use crate::tls_client::TlsClient;
use crate::wait::{NEVER_MS, SetAtEnd, until};

/// A gateway with a configuration file that changes.
pub(crate) struct Reloaded {
    pub(crate) gateway: Gateway,
    file: NamedTempFile,
    /// Reloads so far, and those of them that were refused.
    asked: usize,
}

const DONE: &str = "the configuration is reloaded";
const REFUSED: &str = "the configuration is not reloaded, and nothing has changed: ";

impl Reloaded {
    pub(crate) fn start(toml: &str) -> Self {
        Self::launch(&Launch::default(), toml)
    }

    /// The addresses are those of the file.
    fn with_listeners(toml: &str) -> Self {
        Self::launch(&Launch { listen: None, ..Launch::default() }, toml)
    }

    fn launch(launch: &Launch<'_>, toml: &str) -> Self {
        let file = config_file(toml);
        let gateway = Gateway::launch_with(launch, Some(file.path()));
        Self { gateway, file, asked: 0 }
    }

    /// Lines of the log that end a reload, one way or the other.
    fn ends(&self) -> Vec<String> {
        let lines = self.gateway.log_lines().into_iter();
        lines.filter(|line| line.contains(DONE) || line.contains(REFUSED)).collect()
    }

    /// Has this file taken over; gives the last line that is logged about that.
    pub(crate) fn try_reload(&mut self, toml: &str) -> String {
        // In place, so that no reader sees half of it: the gateway reads it only when it is asked.
        write_config(self.file.path(), toml);
        self.gateway.signal(Signal::HUP);
        self.asked += 1;
        until("the reload ends", || self.ends().get(self.asked - 1).cloned())
    }

    pub(crate) fn reload(&mut self, toml: &str) {
        let line = self.try_reload(toml);
        assert!(line.contains(DONE), "{line}");
    }

    fn refused(&mut self, toml: &str) -> String {
        let line = self.try_reload(toml);
        line.split_once(REFUSED).unwrap_or_else(|| panic!("{line}")).1.to_owned()
    }
}

fn status(address: SocketAddr, path: &str) -> u16 {
    Socket::reply_to(address, &Request::upgrade(path)).status
}

fn echo(path: &str, more: &str) -> String {
    format!("[[route]]\npath = \"{path}\"\nservice = \"echo\"\n{more}")
}

#[test]
fn limits_and_routes_change_under_open_connections() {
    let base = |more: &str| format!("loops = 2\n{more}");
    let mut own = Reloaded::start(&base(&(echo("/echo", "") + &echo("/old", ""))));
    let address = own.gateway.address();
    let mut socket = Socket::open(address);
    let mut of_old = Socket::connect(address);
    of_old.send(&Request::upgrade("/old").bytes());
    assert_eq!(of_old.receive_head().status, 101);
    assert_eq!(status(address, "/new"), 404);
    socket.assert_echoes(&[b'x'; 3_000]);

    let limited = echo("/echo", "message_bytes_max = 2000\n") + &echo("/new", "");
    own.reload(&base(&limited));
    own.gateway.logged("reload: route[0].message_bytes_max is added: 2000");
    own.gateway.logged("reload: route[1] is added: echo /new");
    own.gateway.logged("reload: route[1] is removed: echo /old");
    assert_eq!(status(address, "/new"), 101);
    assert_eq!(status(address, "/old"), 404);
    of_old.assert_echoes(&[b'x'; 3_000]);
    socket.assert_echoes(&[b'x'; 2_000]);
    socket.send(&client_frame(BINARY, &[b'x'; 2_001]));
    socket.assert_closed_with(1009);
    own.gateway.assert_counter("reloads", 1);
    assert!(own.gateway.counter("reloaded_at_s") > 1_700_000_000);
}

#[test]
fn a_bad_file_is_refused_with_its_line_and_changes_nothing() {
    let good = "loops = 2\n[limits]\nmessage_bytes_max = 2000\n";
    let mut own = Reloaded::start(good);
    let address = own.gateway.address();
    let mut socket = Socket::open(address);
    for (bad, reason) in [
        (
            "loops = 2\n[limits]\nmessage_bytes_max = 1\n",
            ":3: limits.message_bytes_max = 1: must be",
        ),
        ("loops = 2\n[limits\n", ":2:"),
        ("[limits]\nmesage_bytes_max = 1\n", ":2: limits.mesage_bytes_max = 1: unknown key"),
        // Right by itself, and wrong with the receive buffer that stays.
        (
            "loops = 2\n[turn]\nreceive_buffer_bytes = 16384\n[limits]\nmessage_bytes_max = 400000\n\
             pool_bytes_max = 534000\n",
            "reload: limits.pool_bytes_max = 534000: must be at least",
        ),
    ] {
        let line = own.refused(bad);
        assert!(line.contains(reason), "{line}");
        socket.assert_echoes(&[b'x'; 2_000]);
    }
    fs::remove_file(own.file.path()).unwrap();
    own.gateway.signal(Signal::HUP);
    own.asked += 1;
    let line = until("the reload ends", || own.ends().get(own.asked - 1).cloned());
    assert!(line.contains("cannot be read"), "{line}");
    own.gateway.assert_counter("reloads_failed", 5);
    own.reload(good);
    own.gateway.logged("nothing in it has changed");
    socket.assert_echoes(b"here");
}

#[test]
fn what_needs_a_restart_is_named_at_each_reload() {
    let mut own = Reloaded::start("loops = 1\n");
    let changed = "loops = 2\n[socket]\nno_delay = false\n[timeouts]\nping_idle_ms = 30000\n";
    for left in [1, 0] {
        let line = own.try_reload(changed);
        let expected = match left {
            1 => "changes: 1, waiting for a restart: 2",
            _ => "changes: 0, waiting for a restart: 2",
        };
        assert!(line.contains(expected), "{line}");
    }
    let lines = own.gateway.log_lines();
    let named = lines.iter().filter(|line| line.contains("loops changes from 1 to 2: this needs"));
    assert_eq!(named.count(), 2);
    assert_eq!(own.gateway.log_lines().iter().filter(|line| line.contains("loop 1:")).count(), 0);
}

#[test]
fn rooms_keep_their_members() {
    let room = |line: &str| {
        format!("loops = 3\n[[route]]\npath = \"/chat\"\nservice = \"room\"\nline = \"{line}\"\n")
    };
    let mut own = Reloaded::start(&room("named"));
    let address = own.gateway.address();
    let mut members: Vec<ChatClient> =
        (0..6).map(|at| ChatClient::join(address, &format!("/chat?user=user{at}"))).collect();
    for (line, said) in [("named", "user0: 1"), ("from", "2 -- FROM user0"), ("bare", "3")] {
        own.reload(&room(line));
        let text = &said.matches(|digit: char| digit.is_ascii_digit() && digit != '0').next();
        members[0].send_text(text.unwrap());
        for member in &mut members {
            assert_eq!(member.receive_text(), said);
        }
    }
    let mut events = ChatClient::join_with_events(address, "/chat?user=late");
    assert_eq!(events.receive_event()["count"], 7, "all are there");
}

#[test]
fn tokens_of_the_file_change_for_who_comes_next() {
    let config = |token: &str| {
        format!(
            "loops = 2\n[[identity]]\nname = \"users\"\nkind = \"tokens\"\n\
             tokens = [{{ name = \"bob\", token = \"{token}\" }}]\n\
             [[route]]\npath = \"/:name/:token\"\nservice = \"room\"\nname = \"token\"\n"
        )
    };
    let mut own = Reloaded::start(&config("old-one"));
    let address = own.gateway.address();
    let mut bob = ChatClient::join(address, "/bob/old-one");
    own.reload(&config("new-one"));
    assert_eq!(status(address, "/bob/old-one"), 403);
    let _again = ChatClient::join(address, "/bob/new-one");
    bob.send_text("still in");
    assert_eq!(bob.receive_text(), "bob: still in");
    let lines = own.gateway.log_lines().join("\n");
    assert!(lines.contains("identity[0].tokens[0].token has changed"), "{lines}");
    assert!(!lines.contains("old-one") && !lines.contains("new-one"), "{lines}");
}

#[test]
fn tokens_may_move_from_the_file_to_redis() {
    let Some(redis) = RedisServer::start() else { return };
    let mut set = redis::cmd("SET");
    set.arg("ChatroomTokenbob").arg("in-redis").exec(&mut redis.connection()).unwrap();
    let route = "[[route]]\npath = \"/:name/:token\"\nservice = \"room\"\nname = \"token\"\n\
                 identity = [\"users\"]\n";
    let in_file = "[[identity]]\nname = \"users\"\nkind = \"tokens\"\n\
                   tokens = [{ name = \"bob\", token = \"in-file\" }]\n";
    let url = redis.url();
    let in_redis = format!("[[identity]]\nname = \"users\"\nkind = \"redis\"\nurl = \"{url}\"\n");
    let mut own = Reloaded::start(&format!("loops = 2\n{in_file}{route}"));
    let address = own.gateway.address();
    for _ in 0..3 {
        own.reload(&format!("loops = 2\n{in_redis}{route}"));
        ChatClient::join(address, "/bob/in-redis").leave();
        assert!(
            ChatClient::try_join(address, "/bob/in-file", None).unwrap_err().starts_with("403 ")
        );
        own.reload(&format!("loops = 2\n{in_file}{route}"));
        ChatClient::join(address, "/bob/in-file").leave();
        assert_eq!(status(address, "/bob/in-redis"), 403);
    }
}

/// The addresses of the listeners, as they were logged.
fn addresses(gateway: &Gateway) -> Vec<SocketAddr> {
    let lines = gateway.log_lines().into_iter();
    let addresses = lines.filter_map(|line| {
        let (address, _) = line.split_once("listening on ")?.1.split_once(": ")?;
        address.parse().ok()
    });
    addresses.collect()
}

#[test]
fn listeners_are_added_and_removed() {
    for loops in [1, 3] {
        let listener = |more: &str| format!("[[listener]]\naddress = \"127.0.0.1:0\"\n{more}");
        let first = format!("loops = {loops}\n{}", listener(""));
        let line = listener("kind = \"line\"\nroute = \"/broadcast\"\n");
        let mut own = Reloaded::with_listeners(&first);
        let mut of_first = Socket::open(own.gateway.address());
        own.reload(&format!("{first}{line}{}", listener("hosts = \"*\"\n")));
        let [http, lines, any] = addresses(&own.gateway)[..] else { panic!("three listeners") };
        assert_eq!(http, own.gateway.address());
        let mut of_any = Socket::open(any);
        of_any.assert_echoes(b"added");
        // Only a loopback address is for local names unless it says otherwise.
        let named = |address| {
            let request = Request::upgrade("/echo").set("Host", "a.example");
            Socket::reply_to(address, &request).status
        };
        assert_eq!((named(any), named(http)), (101, 421));
        let mut client = TcpStream::connect(lines).unwrap();
        client.write_all(b"a line\n").unwrap();
        assert_eq!(until_line(&client), "a line\n");

        // The same address with another purpose, and one that goes.
        own.reload(&format!("{first}{}", listener("hosts = [\"a.example\"]\n")));
        until("the listener is closed", || TcpStream::connect(any).err());
        assert_eq!(named(lines), 101);
        for socket in [&mut of_first, &mut of_any] {
            socket.assert_echoes(b"stays");
        }
        client.write_all(b"another\n").unwrap();
        assert_eq!(until_line(&client), "another\n");
        own.reload(&first);
        until("the listener is closed", || TcpStream::connect(lines).err());
        of_first.assert_echoes(b"to the end");
        for counter in ["closed_reset", "closed_drained", "closed_protocol"] {
            assert_eq!(own.gateway.counter(counter), 0, "{counter}");
        }
    }
}

fn until_line(client: &TcpStream) -> String {
    use std::io::{BufRead as _, BufReader};
    client.set_read_timeout(Some(crate::wait::TIMEOUT)).unwrap();
    let mut line = String::new();
    BufReader::new(client).read_line(&mut line).unwrap();
    line
}

#[test]
fn a_taken_port_changes_nothing() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listener = |address: &str| format!("[[listener]]\naddress = \"{address}\"\n");
    let first = format!("loops = 2\n{}", listener("127.0.0.1:0"));
    let mut own = Reloaded::with_listeners(&first);
    let address = own.gateway.address();
    // One that can be bound comes before it.
    let two = listener("127.0.0.1:0") + &listener(&taken.local_addr().unwrap().to_string());
    let at_first = own.gateway.descriptor_count();
    for _ in 0..10 {
        let line = own.refused(&format!("{first}{two}{}", echo("/new", "")));
        assert!(line.contains("is in use by another process"), "{line}");
        assert_eq!(status(address, "/new"), 404);
        until("what was bound is closed", || {
            (own.gateway.descriptor_count() <= at_first).then_some(())
        });
    }
    drop(taken);
    own.reload(&format!("{first}{two}{}", echo("/new", "")));
    assert_eq!(status(address, "/new"), 101);
}

#[test]
fn certificates_and_versions_of_tls_change() {
    let folder = CertificateFolder::new();
    folder.write_pair("other", &folder.authority.server(&["localhost", "127.0.0.1"]));
    let config = |pair: &str, version: &str| {
        format!(
            "loops = 2\n[tls]\nversion_min = \"{version}\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
             tls = true\n{}",
            folder.table(pair)
        )
    };
    let mut own = Reloaded::with_listeners(&config("server", "1.2"));
    let address = own.gateway.address();
    let old = TlsClient::of_versions(&folder, &[&TLS12]);
    let new = TlsClient::new(&folder);
    let mut stays = old.open(address).unwrap();
    let mut first = new.open(address).unwrap();
    first.assert_echoes(b"tickets have come by then");
    own.reload(&config("other", "1.3"));
    assert!(old.open(address).is_err());
    stays.assert_echoes(b"as agreed");
    let mut resumed = new.open(address).unwrap();
    resumed.assert_echoes(b"with a ticket of before");
    assert!(resumed.is_resumed());
    let full = TlsClient::new(&folder).open(address).unwrap();
    assert_ne!(full.certificate(), first.certificate());

    let line = own.refused(&config("none", "1.2"));
    assert!(line.contains("certificate[0].certificate"), "{line}");
    assert!(old.open(address).is_err(), "nothing has changed");
    // Without TLS, and with it again.
    own.reload("loops = 2\n[[listener]]\naddress = \"127.0.0.1:0\"\n");
    Socket::open(address).assert_echoes(b"plain");
    stays.assert_echoes(b"sealed");
    own.reload(&config("server", "1.2"));
    old.open(address).unwrap().assert_echoes(b"sealed");
    stays.assert_echoes(b"sealed");
}

#[test]
fn sighup_while_draining_ends_nothing_and_is_ignored() {
    let config = format!("loops = 2\n[timeouts]\ndrain_ms = {NEVER_MS}\nclose_ms = {NEVER_MS}\n");
    let mut own = Reloaded::start(&config);
    let mut socket = Socket::open(own.gateway.address());
    own.gateway.signal(Signal::TERM);
    assert_eq!(socket.receive_frame().first, CLOSE);
    for _ in 0..3 {
        own.gateway.signal(Signal::HUP);
    }
    own.gateway.logged("SIGHUP is ignored: the gateway is shutting down");
    assert_eq!(own.gateway.counter("reloads"), 0);
    assert!(own.gateway.is_running());
    socket.send(&client_frame(CLOSE, &close_payload(1001, "")));
    socket.assert_ended();
    drop(socket);
    assert_eq!(own.gateway.exit_status().code(), Some(0));
}

#[test]
fn a_hundred_reloads_under_load_drop_no_connection_and_keep_no_memory() {
    const RELOADS: usize = 100;
    const CLIENTS: usize = 8;
    let config = |round: usize| {
        let extra = echo(&format!("/extra-{}", round % 3), "");
        let listener = "[[listener]]\naddress = \"127.0.0.1:0\"\n".repeat(1 + round % 2);
        format!(
            "loops = 2\n{listener}[limits]\nmessage_bytes_max = {}\n[timeouts]\nping_idle_ms = {}\n{}{extra}\
             [[route]]\npath = \"/chat\"\nservice = \"room\"\nhears_itself = true\n",
            20_000 + round,
            // No ping comes between the echoes, however long this takes.
            NEVER_MS + round as u64,
            echo("/echo", ""),
        )
    };
    let mut own = Reloaded::with_listeners(&config(0));
    let address = own.gateway.address();
    let is_over = AtomicBool::new(false);
    let mut idle: Vec<Socket> = (0..200).map(|_| Socket::open(address)).collect();
    let (early, late, echoed) = thread::scope(|scope| {
        let ends_them = SetAtEnd(&is_over);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|at| {
                let is_over = &is_over;
                scope.spawn(move || {
                    let mut socket = Socket::open(address);
                    let mut member =
                        ChatClient::join(address, &format!("/chat?user=u{at}&room=r{at}"));
                    let mut count = 0_usize;
                    while !is_over.load(Ordering::Relaxed) {
                        socket.assert_echoes(&vec![b'x'; 1 + count % 10_000]);
                        member.send_text("hello");
                        assert_eq!(member.receive_text(), format!("u{at}: hello"));
                        // New clients come in all the while.
                        if count.is_multiple_of(10) {
                            Socket::open(address).close();
                        }
                        count += 1;
                    }
                    socket.close();
                    member.leave();
                    count
                })
            })
            .collect();
        for round in 1..=RELOADS / 2 {
            own.reload(&config(round));
        }
        let early = own.gateway.anonymous_bytes();
        for round in RELOADS / 2 + 1..=RELOADS {
            own.reload(&config(round));
        }
        let late = own.gateway.anonymous_bytes();
        drop(ends_them);
        let echoed: usize = clients.into_iter().map(|client| client.join().unwrap()).sum();
        (early, late, echoed)
    });
    assert!(echoed > CLIENTS);
    for socket in &mut idle {
        socket.assert_echoes(b"open since before the first");
    }
    own.gateway.assert_counter("reloads", RELOADS as u64);
    for counter in ["closed_reset", "closed_gone", "closed_too_big", "accept_failures"] {
        assert_eq!(own.gateway.counter(counter), 0, "{counter}");
    }
    assert!(late < early + (512 << 10), "{early} bytes after half of them, {late} at the end");
}
