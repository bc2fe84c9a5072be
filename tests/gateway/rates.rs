//! Clients that send more than their route allows.

use std::time::Duration;

use crate::frames::{CLOSE, CONTINUATION, PING, PONG, TEXT, client_frame, close_payload};
use crate::gateway::Gateway;
use crate::messages::Request;
use crate::socket::{Frame, Socket};
use crate::wait::now;

/// A gateway with one route with these lines.
fn gateway(keys: &str) -> Gateway {
    let route = format!("[[route]]\npath = \"/echo\"\nservice = \"echo\"\n{keys}");
    Gateway::with_config(&format!("loops = 1\n{route}"))
}

fn close(reason: &str) -> Frame {
    Frame { first: CLOSE, payload: close_payload(1008, reason) }
}

#[test]
fn a_client_above_its_rate_is_slowed_down_and_loses_nothing() {
    let gateway = gateway("messages_per_s = 100\nmessages_burst = 50\n");
    let mut socket = Socket::open(gateway.address());
    let begun = now();
    let frames = (0..150_u32).flat_map(|number| client_frame(TEXT, number.to_string().as_bytes()));
    socket.send(&frames.collect::<Vec<u8>>());
    for number in 0..150 {
        let payload = number.to_string().into_bytes();
        assert_eq!(socket.receive_frame(), Frame { first: TEXT, payload });
    }
    // 50 at once, and the others within a second.
    assert!(now().duration_since(begun) >= Duration::from_millis(990));
    assert!(gateway.counter("rate_pauses") > 0);
    gateway.assert_counter("messages_in", 150);
    socket.close();
}

#[test]
fn the_connections_of_a_user_share_a_rate_on_all_loops() {
    let gateway = Gateway::with_config(
        "loops = 2\n[[identity]]\nname = \"users\"\nkind = \"query\"\n\
         [[route]]\npath = \"/echo\"\nservice = \"echo\"\nidentity = [\"users\"]\n\
         user_messages_per_s = 1\nuser_messages_burst = 50\nrate_policy = \"close\"\n",
    );
    let open = |user| {
        let mut socket = Socket::connect(gateway.address());
        socket.send(&Request::upgrade(&format!("/echo?user={user}")).bytes());
        assert_eq!(socket.receive_head().status, 101);
        socket
    };
    let mut tabs: Vec<Socket> = (0..5).map(|_| open("ann")).collect();
    let mut bob = open("bob");
    let begun = now();
    // Within the burst, wherever they are.
    for round in 0..8 {
        tabs.iter_mut().for_each(|tab| tab.assert_echoes(format!("round {round}").as_bytes()));
    }
    // The rest of the burst and what the seconds since have added, which is less than one connection of its own
    // would have. Far more is sent than comes back while the gateway waits for a core.
    tabs[0].send(&client_frame(TEXT, b"x").repeat(1000));
    let mut echoes = 0;
    while tabs[0].receive_frame() != close("more than the rate allows") {
        echoes += 1;
    }
    let seconds = begun.elapsed().as_secs() + 1;
    assert!((10..=10 + seconds).contains(&echoes), "{echoes} after {seconds} s");
    bob.assert_echoes(b"a user of another name");
    gateway.assert_counter("closed_over_rate", 1);
}

#[test]
fn a_flood_of_pings_is_slowed_down_by_default_and_others_notice_nothing() {
    let gateway = gateway("");
    let (mut flood, mut other) = (Socket::open(gateway.address()), Socket::open(gateway.address()));
    let begun = now();
    flood.send(&client_frame(PING, b"flood").repeat(300));
    other.assert_echoes(b"meanwhile");
    for _ in 0..300 {
        assert_eq!(flood.receive_frame(), Frame { first: PONG, payload: b"flood".to_vec() });
    }
    // 200 at once, and 100 a second.
    assert!(now().duration_since(begun) >= Duration::from_millis(990));
    assert!(gateway.counter("rate_pauses") > 0);
    flood.close();
}

#[test]
fn more_than_the_rate_closes_where_the_route_says_so() {
    let keys = "bytes_per_s = 1\nbytes_burst = 1000\nrate_policy = \"close\"\n";
    let gateway = gateway(keys);
    let mut socket = Socket::open(gateway.address());
    socket.assert_echoes(&[b'x'; 4000]);
    socket.send(&client_frame(TEXT, b"one more"));
    assert_eq!(socket.receive_frame(), close("more than the rate allows"));
    socket.assert_ended();
    gateway.assert_counter("closed_over_rate", 1);
    gateway.logged("closed with 1008: clients that sent more than their rate");
}

#[test]
fn a_message_of_too_many_fragments_closes() {
    let gateway = gateway("fragments_max = 1000\n");
    let mut socket = Socket::open(gateway.address());
    let mut fragments = client_frame(0x01, b"begun");
    fragments.extend(client_frame(CONTINUATION, b"").repeat(5_000));
    socket.send(&fragments);
    assert_eq!(socket.receive_frame(), close("message of too many fragments"));
    socket.assert_ended();
    gateway.assert_counter("closed_fragments", 1);
}
