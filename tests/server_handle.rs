//! A real server by its handle: its beginning, commands, new settings, and both ways to end.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panic")]

use std::env;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};
use tidegate::cli;
use tidegate::config::{Config, MachineLimits, ResolvedConfig};
use tidegate::conn::ConnSettings;
use tidegate::http::RequestHead;
use tidegate::inspect::{ConnectionFilter, Query};
use tidegate::mail::{LoopEvent, LoopEventKind, NoReply, Reply};
use tidegate::reactor::LoopCommand;
use tidegate::server::{DrainStage, DrainTerms, Handle, LoopFailure, Signals, StartError};
use tidegate::services::{
    BuiltInPage, Handler, Message, Page, PageReply, Route, RouteOptions, Service,
};

/// So generous that only a fault reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Panics when it is asked for, and takes its time to let its thread end.
struct Faulty;

impl Page for Faulty {
    fn reply(&mut self, _: &RequestHead<'_>) -> PageReply {
        SLOW_END.with(|_| ());
        panic!("a bug")
    }
}

/// Dropped after everything else on its thread.
struct SlowEnd;

impl Drop for SlowEnd {
    #[expect(clippy::disallowed_methods, reason = "a thread that takes long to end is the point")]
    fn drop(&mut self) {
        std::thread::sleep(Duration::from_millis(100));
    }
}

thread_local! {
    static SLOW_END: SlowEnd = const { SlowEnd };
}

/// Says nothing.
struct Silent;

impl Service for Silent {
    fn on_message(
        &mut self,
        _: tidegate::services::Peer,
        _: Message<'_>,
        _: &mut tidegate::services::Effects<'_>,
    ) {
    }
}

fn settings(loops: usize) -> ResolvedConfig {
    let mut config = Config::default();
    config.process.loops = loops;
    config.listeners[0].address = SocketAddr::from(([127, 0, 0, 1], 0));
    config.resolve(MachineLimits { descriptors: 1024, cores: 1 })
}

/// A page at `/`, a silent service at `/ws`, and a page with a bug.
fn start(loops: usize) -> Handle {
    Handle::start(&settings(loops), routes()).unwrap()
}

fn routes() -> Vec<Route> {
    let silent = Arc::new(|_| Box::new(Silent) as Box<dyn Service>);
    vec![
        Route::new("/", Handler::Page(Arc::new(|| Box::new(BuiltInPage::chat())))),
        Route::new("/ws", Handler::Socket(silent, RouteOptions::default())),
        Route::new("/bug", Handler::Page(Arc::new(|| Box::new(Faulty)))),
    ]
}

fn ask(address: SocketAddr, path: &str) -> TcpStream {
    let mut client = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.write_all(request.as_bytes()).unwrap();
    client
}

/// A WebSocket whose upgrade was answered.
fn open(address: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(address).unwrap();
    let request = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
                   Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    client.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        answer.extend(byte);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"));
    client
}

fn end_at_once() -> LoopCommand {
    let terms = DrainTerms::within_ms(0).at_once();
    LoopCommand::Drain { terms, progress: Arc::default() }
}

fn next_end(server: &Handle) -> LoopEvent {
    loop {
        let event = server.events().next_within(PATIENCE).unwrap();
        if event.kind != LoopEventKind::Started {
            return event;
        }
    }
}

#[test]
fn it_starts_serves_drains_and_ends() {
    let server = start(2);
    let address = server.addresses()[0];
    assert_ne!(address.port(), 0);
    let mut started: Vec<LoopEvent> =
        (0..2).map(|_| server.events().next_within(PATIENCE).unwrap()).collect();
    started.sort_by_key(|event| event.loop_index);
    let expected = [0, 1].map(|loop_index| LoopEvent { loop_index, kind: LoopEventKind::Started });
    assert_eq!(started, expected);

    let mut page = String::new();
    ask(address, "/").take(15).read_to_string(&mut page).unwrap();
    assert_eq!(page, "HTTP/1.1 200 OK");
    let _socket = open(address);
    let states = server.inspect(PATIENCE);
    assert_eq!(states.len(), 2);
    assert_eq!(states.iter().map(|state| state.unwrap().open).sum::<usize>(), 1);

    server.drain(DrainTerms::within_ms(1_000).at_once());
    for _ in 0..2 {
        assert_eq!(next_end(&server).kind, LoopEventKind::Drained);
    }
    assert_eq!(server.events().next(), None, "nothing is left to be told");
    assert_eq!(server.inspect(PATIENCE), [Err(NoReply::Ended), Err(NoReply::Ended)]);
    server.join().unwrap();
}

#[test]
fn new_settings_hold_for_connections_that_are_open() {
    let server = start(2);
    let mut socket = open(server.addresses()[0]);
    let settings = ConnSettings { ping_idle_ms: 50, ..ConnSettings::default() };
    server.set_conn_settings(&Arc::new(settings), PATIENCE).unwrap();
    let mut ping = [0; 2];
    socket.read_exact(&mut ping).unwrap();
    assert_eq!(ping, [0x89, 0]);
    server.drain(DrainTerms::within_ms(0).at_once());
    server.join().unwrap();
}

#[test]
fn a_command_goes_to_one_loop() {
    let server = start(2);
    server.command(0, end_at_once()).unwrap();
    let event = next_end(&server);
    assert_eq!(event, LoopEvent { loop_index: 0, kind: LoopEventKind::Drained });
    let (reply, receiver) = Reply::channel();
    server.command(1, LoopCommand::Inspect { reply }).unwrap();
    assert!(!receiver.wait(PATIENCE).unwrap().is_draining);
    for (index, expected) in [(0, Err(NoReply::Ended)), (1, Ok(())), (2, Err(NoReply::Ended))] {
        let command = end_at_once();
        assert_eq!(server.command(index, command), expected);
    }
    server.join().unwrap();
}

#[test]
fn a_list_of_connections_names_the_addresses_of_their_sockets() {
    let server = start(1);
    let sockets = [open(server.addresses()[0]), open(server.addresses()[0])];
    let (reply, receiver) = Reply::channel();
    let filter = Arc::new(ConnectionFilter::default());
    server.query(0, Query::List { filter, from: 0, count_max: 10, reply }).unwrap();
    let listed = receiver.wait(PATIENCE).unwrap();
    assert_eq!(listed.next, None);
    let mut addresses: Vec<_> = listed.connections.iter().map(|row| row.address).collect();
    addresses.sort_unstable();
    let mut expected = sockets.map(|socket| Some(socket.local_addr().unwrap()));
    expected.sort_unstable();
    assert_eq!(addresses, expected);
    server.drain(DrainTerms::within_ms(0).at_once());
    server.join().unwrap();
}

/// A caller that receives the event of a failed loop must get its failure, however long its thread
/// still takes to end.
#[test]
fn a_loop_that_failed_is_found_by_who_was_told() {
    let server = start(1);
    let _client = ask(server.addresses()[0], "/bug");
    let kind = LoopEventKind::Failed("an event loop panicked: a bug".to_owned());
    assert_eq!(next_end(&server), LoopEvent { loop_index: 0, kind });
    let failure = server.join_ended();
    assert!(matches!(failure, Err(LoopFailure::Panic(text)) if text == "a bug"));
}

#[test]
fn the_other_loops_go_on_without_the_one_that_failed() {
    let server = start(2);
    let mut sockets: Vec<TcpStream> = (0..20).map(|_| open(server.addresses()[0])).collect();
    let _client = ask(server.addresses()[0], "/bug");
    let failed = next_end(&server).loop_index;
    let states = server.inspect(PATIENCE);
    assert_eq!(states[failed], Err(NoReply::Ended));
    let left = states[1 - failed].unwrap().open;
    assert!(left < sockets.len());
    server.drain(DrainTerms::within_ms(0).at_once());
    assert_eq!(next_end(&server).kind, LoopEventKind::Drained);
    assert!(matches!(server.join(), Err(LoopFailure::Panic(_))));
    for socket in &mut sockets {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut rest = Vec::new();
        // Ended by one loop or the other.
        let _ = socket.read_to_end(&mut rest);
    }
}

#[test]
fn a_taken_address_is_an_error_and_nothing_is_served() {
    let server = start(1);
    let mut config = Config::default();
    config.process.loops = 1;
    config.listeners[0].address = server.addresses()[0];
    let settings = config.resolve(MachineLimits { descriptors: 1024, cores: 1 });
    assert!(matches!(Handle::start(&settings, routes()), Err(StartError::Bind(_))));
    server.drain(DrainTerms::within_ms(0).at_once());
    server.join().unwrap();
}

#[test]
fn a_drain_tells_how_far_it_is_and_can_be_cancelled_in_its_grace() {
    let server = start(2);
    let mut socket = open(server.addresses()[0]);
    let state = server.drain_state();
    assert_eq!((state.stage, state.seconds_left), (DrainStage::Serving, None));
    assert!(server.is_ready() && server.cancel_drain(), "nothing to cancel");

    let hour = DrainTerms { grace_ms: 3_600_000, ..DrainTerms::within_ms(10_000) };
    server.drain(hour);
    let state = server.drain_state();
    assert_eq!((state.stage, state.connections, state.told), (DrainStage::Grace, 1, 0));
    assert!((3_600..=3_610).contains(&state.seconds_left.unwrap()), "{state:?}");
    assert!(!server.is_ready());
    drop(open(server.addresses()[0]));
    assert!(server.cancel_drain());
    assert_eq!(server.drain_state().stage, DrainStage::Serving);
    assert!(server.is_ready());

    server.drain(DrainTerms::within_ms(3_600_000));
    let mut close = [0; 4];
    socket.read_exact(&mut close).unwrap();
    assert_eq!(close[0], 0x88);
    assert!(!server.cancel_drain(), "too late");
    // The frame may arrive before its loop has noted it, which it has once it answers.
    drop(server.inspect(Duration::from_secs(60)));
    let state = server.drain_state();
    assert_eq!(state.stage, DrainStage::Draining);
    assert!(state.told >= 1 && state.seconds_left.unwrap() > 3_000, "{state:?}");
    drop(socket);
    for _ in 0..2 {
        assert_eq!(next_end(&server).kind, LoopEventKind::Drained);
    }
    let state = server.drain_state();
    assert_eq!((state.stage, state.connections), (DrainStage::Ended, 0));
    server.join().unwrap();
}

/// A program that was told to end while it started must end by a drain, and not by the signal.
#[test]
fn a_signal_before_the_server_starts_drains_it() {
    let signals = Signals::listen().unwrap();
    kill_process(getpid(), Signal::TERM).unwrap();
    let server = start(2);
    let _socket = open(server.addresses()[0]);
    let exit_code = server.serve_until_signal(signals, DrainTerms::within_ms(1_000)).unwrap();
    assert_eq!(exit_code, ExitCode::SUCCESS);
}

/// The name of the test below, and of the variable that makes it the program under test.
const PROGRAM: &str = "a_panic_ends_the_program_at_once_with_one_line_and_exit_code_1";

#[test]
fn a_panic_ends_the_program_at_once_with_one_line_and_exit_code_1() {
    if env::var_os(PROGRAM).is_some() {
        cli::end_with_failing_loops();
        let server = start(2);
        let _client = ask(server.addresses()[0], "/bug");
        let _ = server.join();
        unreachable!("the process has ended");
    }
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", PROGRAM, "--nocapture"]);
    let output = command.env(PROGRAM, "1").env_remove("RUST_BACKTRACE").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<&str> = stderr.lines().collect();
    assert_eq!(lines.len(), 1, "{stderr}");
    assert!(lines[0].starts_with("tidegate: event loop "), "{stderr}");
    let (_, rest) = lines[0].split_once(" panicked at tests/server_handle.rs:").unwrap();
    assert!(rest.ends_with(": a bug"), "{stderr}");
}

#[test]
fn a_drain_does_not_wait_for_a_loop_that_has_failed() {
    let server = start(2);
    let _client = ask(server.addresses()[0], "/bug");
    assert!(matches!(next_end(&server).kind, LoopEventKind::Failed(_)));
    server.drain(DrainTerms::within_ms(3_600_000).at_once());
    assert_eq!(next_end(&server).kind, LoopEventKind::Drained);
    assert!(matches!(server.join(), Err(LoopFailure::Panic(_))));
}
