//! Logins with a token: configured tokens, and tokens that a [`TokenLookup`] checks.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use tidegate::services::identity::{TokenIdentity, TokenIn, Tokens};
use tidegate::services::{
    Peer, TokenAnswer, TokenInquiry, TokenLookup, TokenVerdict, TooManyLookups,
};

use super::*;

/// A look-up that answers when the test calls [`SlowLookup::answer`].
#[derive(Clone, Default)]
pub(super) struct SlowLookup(Arc<Mutex<Asked>>);

#[derive(Default)]
struct Asked {
    inquiries: Vec<TokenInquiry>,
    cancelled: Vec<Peer>,
    is_full: bool,
}

impl SlowLookup {
    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.0.lock().unwrap()
    }

    /// Answers the oldest inquiry.
    pub(super) fn answer(&self, verdict: TokenVerdict) {
        let inquiry = self.asked().inquiries.remove(0);
        post(&inquiry, verdict);
    }
}

fn post(inquiry: &TokenInquiry, verdict: TokenVerdict) {
    let answer = TokenAnswer { peer: inquiry.peer, verdict };
    inquiry.answer_to.post(Box::new(answer));
}

impl TokenLookup for SlowLookup {
    fn ask(&self, inquiry: TokenInquiry) -> Result<(), TooManyLookups> {
        if self.asked().is_full {
            return Err(TooManyLookups);
        }
        self.asked().inquiries.push(inquiry);
        Ok(())
    }

    fn cancel(&self, peer: Peer) {
        self.asked().cancelled.push(peer);
    }
}

/// Rooms whose members have the name that their token proves.
pub(super) fn proven() -> RoomSettings {
    RoomSettings { name: NameSource::Identity { segment: Some(1) }, ..one_login() }
}

pub(super) fn by_path(tokens: Tokens) -> Identities {
    Identities::new(vec![Arc::new(TokenIdentity::new("logins", TokenIn::Path, tokens))], false)
}

/// A server whose rooms ask for tokens.
fn world(loops: usize, tokens: Tokens) -> World {
    let mut setup = Setup::default();
    setup.server.loops = loops;
    world_asking(&setup, proven(), by_path(tokens))
}

/// A server with two loops, and the look-up that its rooms use.
pub(super) fn looked() -> (World, SlowLookup) {
    let lookup = SlowLookup::default();
    (world(2, Tokens::Looked(Arc::new(lookup.clone()))), lookup)
}

pub(super) fn waiting(world: &mut World, loop_index: usize) -> Client {
    let client = asking(world, loop_index, "/chat/bob/s3cret", ClientFormat::Lines);
    world.settle();
    client
}

fn status(world: &mut World, client: &mut Client) -> Option<u16> {
    world.exchange(client);
    client.received.status
}

#[test]
fn configured_tokens_are_checked_at_once() {
    let tokens = HashMap::from([("bob".to_owned(), "s3/cret".to_owned())]);
    let mut world = world(2, Tokens::Configured(Arc::new(tokens)));
    for (target, expected) in [
        ("/chat/bob/s3%2Fcret", 101),
        ("/chat/bob/s3%2Fcre", 403),
        ("/chat/bob/%ff", 403),
        ("/chat/bob", 404),
        ("/chat/eve/s3%2Fcret", 403),
        ("/chat/%20/s3%2Fcret", 400),
        ("/chat/%ff/s3%2Fcret", 400),
    ] {
        let mut client = asking(&world, 1, target, ClientFormat::Lines);
        assert_eq!(status(&mut world, &mut client), Some(expected), "{target}");
    }
}

#[test]
fn a_line_client_is_refused_where_a_token_is_required() {
    let mut world = world(1, Tokens::Configured(Arc::default()));
    let line = world.connect_line(0);
    assert!(line.received().contains("token"));
    assert!(line.ended_well());
}

#[test]
fn the_verdict_decides_the_status() {
    for (verdict, expected) in
        [(TokenVerdict::Right, 101), (TokenVerdict::Wrong, 403), (TokenVerdict::Unavailable, 500)]
    {
        let (mut world, lookup) = looked();
        let mut client = waiting(&mut world, 1);
        assert_eq!(client.received.status, None);
        let (name, token) = {
            let asked = lookup.asked();
            (asked.inquiries[0].name.clone(), asked.inquiries[0].token.clone())
        };
        assert_eq!((&*name, &*token), ("bob", "s3cret"));
        lookup.answer(verdict);
        assert_eq!(status(&mut world, &mut client), Some(expected));
        assert!(lookup.asked().cancelled.is_empty());
        if verdict == TokenVerdict::Right {
            send_text(&client, ClientFormat::Lines, "hi");
            assert_eq!(texts(&mut world, &mut client), ["bob: hi"]);
        }
    }
}

#[test]
fn further_answers_to_the_same_inquiry_are_ignored() {
    let (mut world, lookup) = looked();
    let mut client = waiting(&mut world, 1);
    let inquiry = lookup.asked().inquiries[0].clone();
    for verdict in [TokenVerdict::Right, TokenVerdict::Wrong, TokenVerdict::Unavailable] {
        post(&inquiry, verdict);
    }
    assert_eq!(status(&mut world, &mut client), Some(101));
    post(&inquiry, TokenVerdict::Wrong);
    world.settle();
    send_text(&client, ClientFormat::Lines, "hi");
    assert_eq!(texts(&mut world, &mut client), ["bob: hi"]);
}

/// Fifty answers at once to a loop whose mailbox holds one message, before it takes a turn.
#[test]
fn answers_find_room_in_a_full_mailbox() {
    let lookup = SlowLookup::default();
    let mut setup = Setup::default();
    setup.server.loops = 2;
    setup.server.items_max = 1;
    let identities = by_path(Tokens::Looked(Arc::new(lookup.clone())));
    let settings = RoomSettings { logins: Logins::Many, ..proven() };
    let mut world = world_asking(&setup, settings, identities);
    let mut clients: Vec<Client> = (0..50).map(|_| waiting(&mut world, 1)).collect();
    for _ in 0..25 {
        lookup.answer(TokenVerdict::Right);
    }
    // A control thread that failed answers all that are open.
    for _ in 25..50 {
        lookup.answer(TokenVerdict::Unavailable);
    }
    for (number, client) in clients.iter_mut().enumerate() {
        let expected = if number < 25 { 101 } else { 500 };
        assert_eq!(status(&mut world, client), Some(expected), "client {number}");
    }
    assert_eq!(world.now(), 0, "none of them waited");
    let mut next = waiting(&mut world, 1);
    lookup.answer(TokenVerdict::Right);
    assert_eq!(status(&mut world, &mut next), Some(101));
}

#[test]
fn a_full_lookup_is_answered_with_503() {
    let (mut world, lookup) = looked();
    lookup.asked().is_full = true;
    let mut client = waiting(&mut world, 0);
    assert_eq!(status(&mut world, &mut client), Some(503));
    assert_eq!(client.received.header("Retry-After"), Some("1"));
}

#[test]
fn a_lookup_is_cancelled_when_its_client_leaves() {
    let (mut world, lookup) = looked();
    let gone = waiting(&mut world, 0);
    let late = waiting(&mut world, 0);
    gone.connection.reset();
    world.settle();
    let inquiries = std::mem::take(&mut lookup.asked().inquiries);
    assert_eq!(lookup.asked().cancelled, [inquiries[0].peer]);
    // The deadline of the handshake.
    world.pass(10_000);
    assert!(late.is_gone());
    assert_eq!(lookup.asked().cancelled.len(), 2);
    // Late answers reach no connection, also none that took the slot since.
    let mut next = waiting(&mut world, 0);
    for inquiry in &inquiries {
        post(inquiry, TokenVerdict::Right);
    }
    assert_eq!(status(&mut world, &mut next), None);
    lookup.answer(TokenVerdict::Right);
    assert_eq!(status(&mut world, &mut next), Some(101));
    assert_eq!(world.journal.open_count(), 1);
}

#[test]
fn an_answer_in_the_turn_in_which_the_client_leaves_is_ignored() {
    let (mut world, lookup) = looked();
    let gone = waiting(&mut world, 1);
    lookup.answer(TokenVerdict::Right);
    gone.connection.reset();
    world.settle();
    assert_eq!(world.journal.open_count(), 0);
    let mut next = waiting(&mut world, 1);
    lookup.answer(TokenVerdict::Right);
    assert_eq!(status(&mut world, &mut next), Some(101));
    assert_eq!(close_of(&mut world, &mut next), None);
}

#[test]
fn a_wrong_token_replaces_no_login() {
    let (mut world, lookup) = looked();
    let mut bob = waiting(&mut world, 0);
    lookup.answer(TokenVerdict::Right);
    assert_eq!(status(&mut world, &mut bob), Some(101));
    let mut eve = waiting(&mut world, 1);
    assert_eq!(close_of(&mut world, &mut bob), None, "not by asking alone");
    lookup.answer(TokenVerdict::Wrong);
    assert_eq!(status(&mut world, &mut eve), Some(403));
    assert_eq!(close_of(&mut world, &mut bob), None);
    let mut second = waiting(&mut world, 1);
    lookup.answer(TokenVerdict::Right);
    assert_eq!(status(&mut world, &mut second), Some(101));
    assert_eq!(close_of(&mut world, &mut bob), replaced());
}
