//! Who is let in by what they present, for how long, and what becomes of those who wait for an answer.

use tidegate::http::Rejection;
use tidegate::services::{
    Accept, Admission, ConnectRequest, Echo, Effects, Identities, LoopSite, Message, Peer,
    RouteOptions, Service, ServiceMessage,
};
use tidegate::timer::WallTime;

use super::{LATE_MS, server};
use crate::client::Client;
use crate::identity::QueryCheck;
use crate::wire::{CLOSE, TEXT};
use crate::world::{Setup, World, socket};

/// A service that moves the expiry of its peer to the date that a message says.
struct Refresher;

impl Service for Refresher {
    fn on_message(&mut self, peer: Peer, message: Message<'_>, effects: &mut Effects<'_>) {
        let date = message.text().unwrap().parse().unwrap();
        effects.refresh_identity(peer, WallTime(date));
    }
}

/// A service that admits everyone after a moment, if it sees an identity.
struct Late(LoopSite);

impl Service for Late {
    fn admit(
        &mut self,
        connect: &ConnectRequest<'_>,
        peer: Peer,
        effects: &mut Effects<'_>,
    ) -> Result<Admission, Rejection> {
        let user = connect.identity().map(|own| own.user().to_string());
        effects.tell(self.0.index, Box::new((peer, user)));
        Ok(Admission::Later)
    }

    fn on_message(&mut self, _: Peer, message: Message<'_>, effects: &mut Effects<'_>) {
        effects.reply_in_place(message);
    }

    fn on_service_message(&mut self, _: u16, message: ServiceMessage, effects: &mut Effects<'_>) {
        let (peer, user) = *message.downcast::<(Peer, Option<String>)>().unwrap();
        let is_known = user.as_deref() == Some("ann");
        let decision = if is_known { Ok(Accept::default()) } else { Err(Rejection::not_found()) };
        effects.decide(peer, decision);
    }
}

/// A server whose `/echo`, `/late` and `/refresh` ask for identities; lines go to `/echo`.
fn guarded(setup: &Setup, identities: &Identities) -> World {
    let mut setup = setup.clone();
    setup.server.line_route = Some("/echo");
    World::serving(&setup, |journal| {
        let options = RouteOptions { identities: identities.clone(), ..RouteOptions::default() };
        vec![
            socket("/echo", &options, journal, |_, _| Echo),
            socket("/late", &options, journal, |_, site| Late(site)),
            socket("/refresh", &options, journal, |_, _| Refresher),
        ]
    })
}

fn asking(world: &mut World, target: &str) -> Client {
    let mut client = world.connect(0);
    client.ask(target);
    world.exchange(&mut client);
    client
}

fn entered(world: &mut World, target: &str) -> Client {
    let client = asking(world, target);
    assert_eq!(client.received.status, Some(101), "{target}");
    client
}

/// The date in `ms`.
fn after(world: &World, ms: u64) -> u64 {
    world.wall_ms() + ms
}

#[test]
fn the_first_credential_that_is_found_decides() {
    let (staff, guests) = (QueryCheck::new("staff"), QueryCheck::new("guests"));
    for is_optional in [false, true] {
        let identities = QueryCheck::list(&[&staff, &guests], is_optional);
        let mut world = guarded(&Setup::default(), &identities);
        let alone = if is_optional { 101 } else { 401 };
        for (query, status) in [
            ("staff=yes", 101),
            ("guests=yes", 101),
            ("guests=no&staff=yes", 101),
            ("guests=yes&staff=no", 403),
            ("guests=no", 403),
            ("other=yes", alone),
        ] {
            let client = asking(&mut world, &format!("/echo?{query}"));
            assert_eq!(client.received.status, Some(status), "{query}");
            if status == 401 {
                let challenge = client.received.header("WWW-Authenticate");
                assert_eq!(challenge, Some("Query realm=\"tests\""));
            }
        }
        assert_eq!(world.counter("identified"), 3);
        assert_eq!(world.counter("refused_identity"), 2);
        assert_eq!(world.counter("refused_without_identity"), u64::from(!is_optional));
    }
}

#[test]
fn a_line_client_has_no_credential_here() {
    let check = QueryCheck::new("staff");
    let mut world = guarded(&Setup::default(), &QueryCheck::list(&[&check], false));
    let line = world.connect_line(0);
    assert!(line.received().contains("credential"), "{}", line.received());
    assert!(line.ended_well());
    let mut world = guarded(&Setup::default(), &QueryCheck::list(&[&check], true));
    assert!(!world.connect_line(0).ended_well());
}

#[test]
fn an_answer_that_comes_later_decides_as_well() {
    let check = QueryCheck::new("staff");
    let mut world = guarded(&Setup::default(), &QueryCheck::list(&[&check], false));
    for (target, is_admitted, status) in [
        ("/echo?staff=later", true, 101),
        ("/echo?staff=later", false, 403),
        // The service is asked next, and takes its time too.
        ("/late?staff=later", true, 101),
    ] {
        let mut client = asking(&mut world, target);
        // What follows the request waits with it.
        client.send_frame(TEXT, b"yes");
        world.exchange(&mut client);
        assert_eq!(client.received.status, None);
        if is_admitted {
            check.admit()
        } else {
            check.refuse()
        }
        world.exchange(&mut client);
        assert_eq!(client.received.status, Some(status), "{target}");
        if status == 101 {
            client.assert_received(&[b"yes"]);
        }
    }
    assert!(check.asked().cancelled.is_empty());
    let dropped = asking(&mut world, "/echo?staff=later");
    check.asked().replies.clear();
    let mut dropped = dropped;
    world.exchange(&mut dropped);
    assert_eq!(dropped.received.status, Some(503), "a reply that is dropped");
    assert_eq!(world.counter("refused_identity_unchecked"), 1);
}

#[test]
fn who_leaves_or_waits_too_long_is_cancelled_and_late_answers_reach_no_client() {
    let check = QueryCheck::new("staff");
    let mut world = guarded(&Setup::default(), &QueryCheck::list(&[&check], false));
    let gone = asking(&mut world, "/echo?staff=later");
    let late = asking(&mut world, "/late?staff=later");
    gone.connection.reset();
    world.settle();
    let cancelled = check.asked().cancelled.clone();
    assert_eq!(cancelled.len(), 1);
    world.pass(10_000);
    assert!(late.is_gone());
    assert_eq!(check.asked().cancelled.len(), 2);
    assert!(world.journal.entries().cancelled.is_empty(), "the service knew of neither");
    let mut next = asking(&mut world, "/echo?staff=later");
    check.admit();
    check.admit();
    world.exchange(&mut next);
    assert_eq!(next.received.status, None, "the answers were for others");
    check.admit();
    world.exchange(&mut next);
    assert_eq!(next.received.status, Some(101));
}

#[test]
fn an_answer_after_the_beginning_of_a_drain_is_too_late() {
    let check = QueryCheck::new("staff");
    let mut world = guarded(&Setup::default(), &QueryCheck::list(&[&check], false));
    let mut client = asking(&mut world, "/echo?staff=later");
    world.drain(10_000, true);
    check.admit();
    world.exchange(&mut client);
    assert_eq!(client.received.status, Some(503));
}

#[test]
fn a_connection_is_closed_when_its_identity_expires() {
    let check = QueryCheck::new("staff");
    let mut world = guarded(&Setup::default(), &QueryCheck::list(&[&check], false));
    let past = after(&world, 0);
    let refused = asking(&mut world, &format!("/echo?staff=yes&until={past}"));
    assert_eq!(refused.received.status, Some(403), "it has expired already");
    for ms in [200, 10_000, 3_600_000] {
        let until = after(&world, ms);
        let mut client = entered(&mut world, &format!("/echo?staff=yes&until={until}"));
        world.answer_pings(&mut client, ms - 100);
        assert_eq!(client.received.close_code(), None, "{ms}");
        world.answer_pings(&mut client, 100 + LATE_MS);
        assert_eq!(client.received.close_code(), Some(4004), "{ms}");
        client.send_frame(CLOSE, &4004_u16.to_be_bytes());
        world.settle();
    }
    assert_eq!(world.counter("closed_expired"), 3);
    let mut forever = entered(&mut world, "/echo?staff=yes");
    world.answer_pings(&mut forever, 7_200_000);
    assert_eq!(forever.received.close_code(), None);
}

#[test]
fn a_look_at_the_clock_sends_no_ping_and_ends_no_connection() {
    let check = QueryCheck::new("staff");
    let mut setup = server(|server| server.connections.ping_idle_ms = 3_600_000);
    setup.seed = 1;
    let mut world = guarded(&setup, &QueryCheck::list(&[&check], false));
    let until = after(&world, 1_800_000);
    let mut client = entered(&mut world, &format!("/echo?staff=yes&until={until}"));
    world.pass(1_799_000);
    world.exchange(&mut client);
    assert_eq!((client.received.pings, client.received.close_code()), (0, None));
    world.pass(1_000 + LATE_MS);
    world.exchange(&mut client);
    assert_eq!(client.received.close_code(), Some(4004));
}

#[test]
fn the_clock_on_the_wall_decides_when_it_is_set() {
    let check = QueryCheck::new("staff");
    let mut world = guarded(&Setup::default(), &QueryCheck::list(&[&check], false));
    let until = after(&world, 3_600_000);
    let mut client = entered(&mut world, &format!("/echo?staff=yes&until={until}"));
    world.set_wall(7_200_000);
    world.answer_pings(&mut client, 32_000);
    assert_eq!(client.received.close_code(), Some(4004), "within half a minute");
}

#[test]
fn a_service_may_refresh_an_identity() {
    let check = QueryCheck::new("staff");
    let mut world = guarded(&Setup::default(), &QueryCheck::list(&[&check], false));
    let until = after(&world, 5_000);
    let mut client = entered(&mut world, &format!("/refresh?staff=yes&until={until}"));
    client.send_frame(TEXT, after(&world, 15_000).to_string().as_bytes());
    world.answer_pings(&mut client, 14_000);
    assert_eq!(client.received.close_code(), None);
    world.answer_pings(&mut client, 1_000 + LATE_MS);
    assert_eq!(client.received.close_code(), Some(4004));
    // Without an identity there is nothing to refresh.
    let mut world = guarded(&Setup::default(), &QueryCheck::list(&[&check], true));
    let mut client = entered(&mut world, "/refresh");
    client.send_frame(TEXT, b"1");
    world.exchange(&mut client);
    assert_eq!((client.received.close_code(), world.counter("effects_ignored")), (None, 1));
}

#[test]
fn no_client_is_let_in_where_the_pool_has_no_room_for_who_they_are() {
    let check = QueryCheck::new("staff");
    let mut has_refused = false;
    for pool_bytes_max in (2_000..12_000).step_by(250) {
        let setup = server(|server| server.pool_bytes_max = pool_bytes_max);
        let mut world = guarded(&setup, &QueryCheck::list(&[&check], false));
        for target in ["/echo?staff=yes", "/echo?staff=later"] {
            let mut clients: Vec<Client> = (0..40).map(|_| asking(&mut world, target)).collect();
            while !check.asked().replies.is_empty() {
                check.admit();
                world.settle();
            }
            for client in &mut clients {
                world.exchange(client);
                let status = client.received.status;
                assert!(matches!(status, Some(101 | 503)), "{status:?}, {pool_bytes_max}");
                has_refused |= status == Some(503);
            }
            clients.iter().for_each(|client| client.connection.reset());
            world.settle();
        }
    }
    assert!(has_refused);
}
