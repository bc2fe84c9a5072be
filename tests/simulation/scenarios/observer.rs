//! What an observer of a route is told: each connection that opens, once, and then its end, whatever serves
//! it and however it ends. Who is not let in is not told of.

use std::sync::{Arc, Mutex};

use tidegate::services::{
    CloseReason, Echo, ObservedClient, RelayMode, RouteObserver, RouteOptions, SharedRouteObserver,
};
use tidegate::sim::OnConnect;
use tidegate::ws::CloseCode;

use super::backend::{address, ask, assert_bare, open, routes_in, upstream};
use crate::identity::QueryCheck;
use crate::services::Gatekeeper;
use crate::world::{Setup, World, socket};

/// Keeps what it hears.
#[derive(Debug, Default)]
struct Recorder(Mutex<Vec<(String, Option<CloseReason>)>>);

impl Recorder {
    /// What it was told since the last call: who, and for an end why.
    fn take(&self) -> Vec<(String, Option<CloseReason>)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn note(&self, client: &ObservedClient<'_>, reason: Option<CloseReason>) {
        let address = client.address.expect("there is memory for it");
        let who = format!("{} {address}", client.user.unwrap_or("-"));
        self.0.lock().unwrap().push((who, reason));
    }
}

impl RouteObserver for Recorder {
    fn connected(&self, client: &ObservedClient<'_>) {
        self.note(client, None);
    }

    fn disconnected(&self, client: &ObservedClient<'_>, reason: CloseReason) {
        self.note(client, Some(reason));
    }
}

fn observed() -> (Arc<Recorder>, RouteOptions) {
    let recorder = Arc::new(Recorder::default());
    let observer = Some(Arc::clone(&recorder) as SharedRouteObserver);
    (recorder, RouteOptions { observer, ..RouteOptions::default() })
}

#[test]
fn each_connection_is_told_with_its_user_and_address_and_then_its_end() {
    let (recorder, options) = observed();
    let check = QueryCheck::new("staff");
    let identities = QueryCheck::list(&[&check], true);
    let options = RouteOptions { identities, ..options };
    let mut world =
        World::serving(&Setup::default(), |own| vec![socket("/", &options, own, |_, _| Echo)]);
    let mut client = world.connect_from(0, [192, 0, 2, 7].into());
    client.ask("/?staff=yes");
    world.exchange(&mut client);
    assert_eq!(recorder.take(), [("ann 192.0.2.7".to_owned(), None)]);
    client.send_close(1000);
    world.exchange(&mut client);
    let end = Some(CloseReason::Peer(Some(CloseCode::NORMAL)));
    assert_eq!(recorder.take(), [("ann 192.0.2.7".to_owned(), end)]);
    world.pass(60_000);
    assert_eq!(recorder.take(), []);
}

#[test]
fn a_client_that_is_not_let_in_is_not_told_of() {
    let (recorder, options) = observed();
    let mut world = World::serving(&Setup::default(), |own| {
        vec![socket("/gate", &options, own, |_, site| Gatekeeper::new(site))]
    });
    let mut refused = world.connect(0);
    refused.ask("/gate?no");
    world.exchange(&mut refused);
    assert_eq!(refused.received.status, Some(403));
    let waiting = world.connect(0);
    waiting.ask("/gate?later");
    world.settle();
    waiting.shutdown();
    world.pass(60_000);
    assert_eq!(recorder.take(), []);
    let mut admitted = world.connect(0);
    admitted.ask("/gate?yes");
    world.exchange(&mut admitted);
    assert_eq!(recorder.take().len(), 1);
    world.drain(1_000, false);
    world.pass(1_000);
    let told = recorder.take();
    assert_eq!(told.iter().map(|own| own.1).collect::<Vec<_>>(), [Some(CloseReason::Drained)]);
}

#[test]
fn relayed_clients_are_told_once_their_backend_has_let_them_in() {
    for mode in [RelayMode::Bytes, RelayMode::Frames] {
        let (recorder, options) = observed();
        let upstream = upstream(1);
        let mut world = World::serving(&Setup::default(), |journal| {
            routes_in(mode, &options, journal, &upstream)
        });
        world.network.set_backend(&address(1), OnConnect::Accepts);
        let refused = ask(&world);
        world.settle();
        let backend = world.network.accept_at(&address(1)).unwrap();
        backend.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
        world.settle();
        assert!(refused.unread_bytes() > 0);
        assert_eq!(recorder.take(), [], "{mode:?}");

        let (client, _backend) = open(&mut world);
        let [(_, None)] = recorder.take()[..] else { panic!("{mode:?}") };
        client.reset();
        world.pass(60_000);
        let [(_, Some(_))] = recorder.take()[..] else { panic!("{mode:?}") };

        let (client, backend) = open(&mut world);
        backend.reset();
        world.pass(60_000);
        let [(_, None), (_, Some(CloseReason::Backend))] = recorder.take()[..] else {
            panic!("{mode:?}")
        };
        client.reset();
        refused.reset();
        assert_bare(&mut world, &upstream);
    }
}
