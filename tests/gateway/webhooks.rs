//! Webhooks: what happens to connections is told at least once and in order, whatever becomes of who is told.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use rustix::process::Signal;
use serde_json::Value;

use crate::events_backend::{EventsBackend, Told, reply};
use crate::frames::{CLOSE, client_frame, close_payload};
use crate::gateway::Gateway;
use crate::socket::Socket;

/// A gateway that tells this URL of `/echo`, by these lines of `[webhooks]`.
fn told_to(url: &str, options: &str) -> Gateway {
    Gateway::with_config(&format!(
        "loops = 2\n[webhooks]\n{options}[[route]]\npath = \"/echo\"\nservice = \"echo\"\n\
         webhook = \"{url}\"\n"
    ))
}

fn open(gateway: &Gateway) -> Socket {
    let mut socket = Socket::connect(gateway.address());
    socket.send(&crate::messages::Request::upgrade("/echo").bytes());
    assert_eq!(socket.receive_head().status, 101);
    socket
}

/// The events of a request.
fn events_of(told: &Told) -> Vec<Value> {
    assert_eq!(told.header("Content-Type"), Some("application/json"));
    let mut body: Value = serde_json::from_slice(&told.body).unwrap();
    assert_eq!(body["route"], "/echo");
    std::mem::take(body["events"].as_array_mut().unwrap())
}

fn sequences(events: &[Value]) -> Vec<u64> {
    events.iter().map(|own| own["sequence"].as_u64().unwrap()).collect()
}

#[test]
fn a_webhook_is_told_of_connections_and_their_ends() {
    let hook = EventsBackend::start(|_| reply("204 No Content", "", ""));
    let gateway = told_to(&format!("http://{}/hook?key=1", hook.address), "delay_ms = 0\n");
    let mut socket = open(&gateway);
    let told = hook.told();
    assert_eq!(told.line, "POST /hook?key=1 HTTP/1.1");
    let connected = events_of(&told).remove(0);
    assert_eq!((&connected["event"], &connected["sequence"]), (&"connected".into(), &1.into()));
    assert_eq!(connected["address"], "127.0.0.1");
    socket.assert_echoes(b"hello");
    socket.send(&client_frame(CLOSE, &close_payload(4001, "bye")));
    socket.assert_close_answered(4001);
    let ended = events_of(&hook.told()).remove(0);
    assert_eq!((&ended["event"], &ended["sequence"]), (&"disconnected".into(), &2.into()));
    assert_eq!((&ended["connection"], &ended["code"]), (&connected["connection"], &4001.into()));
    crate::wait::until("both are counted", || {
        (gateway.counter("webhook_events") == 2).then_some(())
    });
}

/// Fails, ends connections, hangs and comes back: each event is told at least once, in order.
#[test]
fn a_webhook_that_fails_hangs_and_comes_back_is_told_everything() {
    let (_keep, hang) = channel::<()>();
    let (asked, hang) = (Mutex::new(0), Mutex::new(hang));
    let hook = EventsBackend::start(move |_| {
        let number = {
            let mut asked = asked.lock().unwrap();
            *asked += 1;
            *asked
        };
        match number {
            1 => reply("500 Internal Server Error", "", ""),
            2 => None,
            3 => {
                // Until the test has ended; the gateway gives up before.
                let _ = hang.lock().unwrap().recv();
                None
            }
            _ => reply("200 OK", "", "ok"),
        }
    });
    let gateway =
        told_to(&format!("http://{}/", hook.address), "request_ms = 1000\nbatch_events_max = 3\n");
    for _ in 0..5 {
        drop(open(&gateway));
    }
    // The backend reports the third request only when it has ended.
    let failed = [(); 2].map(|()| events_of(&hook.told()));
    let mut taken: Vec<Value> = Vec::new();
    let mut last: Vec<Value> = Vec::new();
    while taken.len() < 10 {
        let events = events_of(&hook.told());
        assert!(events.len() <= 3);
        // What was answered too late, on a busy machine, is told again.
        if events != last {
            taken.extend_from_slice(&events);
        }
        last = events;
    }
    assert_eq!(failed, [&taken[..failed[0].len()]; 2], "what is told again is the same");
    assert_eq!(sequences(&taken), (1..=10).collect::<Vec<_>>());
    let mut before: HashMap<&str, &str> = HashMap::new();
    for event in &taken {
        let (id, what) = (event["connection"].as_str(), event["event"].as_str().unwrap());
        let expected = (what == "disconnected").then_some("connected");
        assert_eq!(before.insert(id.unwrap(), what), expected);
    }
    assert!(gateway.counter("webhook_failures") >= 3);
}

#[test]
fn events_that_find_no_room_are_counted_and_leave_a_hole() {
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let hook = EventsBackend::start(move |_| {
        let _ = wait.lock().unwrap().recv();
        reply("200 OK", "", "")
    });
    // An event takes more than 100 bytes.
    let gateway = told_to(&format!("http://{}/", hook.address), "waiting_bytes_max = 1024\n");
    let sockets: Vec<Socket> = (0..20).map(|_| open(&gateway)).collect();
    crate::wait::until("there is no room for half of them", || {
        (gateway.counter("webhook_lost") >= 10).then_some(())
    });
    drop(go);
    // Ends that come while others wait would have no room either.
    let lost = crate::wait::until("the others are told", || {
        let lost = gateway.counter("webhook_lost");
        (gateway.counter("webhook_events") == 20 - lost).then_some(lost)
    });
    assert!(lost < 20, "{lost}");
    drop(sockets);
    let mut next = sequences(&events_of(&hook.told()));
    assert_eq!(next[0], 1);
    while next.last() <= Some(&20) {
        next.extend(sequences(&events_of(&hook.told())));
    }
    assert!(next.is_sorted());
    assert!(next.len() < 21, "the hole is there: {next:?}");
}

#[test]
fn what_waits_at_the_end_of_the_process_is_told() {
    let hook = EventsBackend::start(|_| reply("204 No Content", "", ""));
    let mut gateway = told_to(&format!("http://{}/", hook.address), "delay_ms = 60000\n");
    let sockets: Vec<Socket> = (0..3).map(|_| open(&gateway)).collect();
    gateway.signal(Signal::TERM);
    drop(sockets);
    assert!(gateway.exit_status().success());
    let events = events_of(&hook.told());
    assert_eq!(sequences(&events), [1, 2, 3, 4, 5, 6]);
    assert!(events[3..].iter().all(|own| own["event"] == "disconnected"), "{events:?}");
}
