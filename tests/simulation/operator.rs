//! Questions and orders to loops, as the control plane asks and gives them.

use std::sync::Arc;
use std::time::Duration;

use tidegate::inspect::{
    ClosedSlice, ConnectionDetail, ConnectionFilter, ConnectionSlice, ConnectionSummary, Query,
    SentSlice,
};
use tidegate::key::ConnKey;
use tidegate::mail::{Reply, ReplyReceiver};
use tidegate::reactor::LoopCommand;
use tidegate::ws::{CloseCode, CloseRequest};

use crate::world::World;

/// Sends a question to a loop, which has not come to it yet.
pub(crate) fn send<T: Send + 'static>(
    world: &World,
    loop_index: usize,
    query: impl FnOnce(Reply<T>) -> Query,
) -> ReplyReceiver<T> {
    let (reply, receiver) = Reply::channel();
    world.server.command(loop_index, LoopCommand::Query(query(reply)));
    receiver
}

/// The answer of a loop. Nothing waits in virtual time: an answer is there or it is not.
pub(crate) fn ask<T: Send + 'static>(
    world: &mut World,
    loop_index: usize,
    query: impl FnOnce(Reply<T>) -> Query,
) -> T {
    let receiver = send(world, loop_index, query);
    world.settle();
    receiver.wait(Duration::ZERO).unwrap()
}

/// Every connection that fits.
pub(crate) fn all() -> ConnectionFilter {
    ConnectionFilter::default()
}

/// One slice of a list.
pub(crate) fn slice(
    world: &mut World,
    loop_index: usize,
    filter: &ConnectionFilter,
    from: u32,
    count_max: usize,
) -> ConnectionSlice {
    let filter = Arc::new(filter.clone());
    ask(world, loop_index, |reply| Query::List { filter, from, count_max, reply })
}

/// The connections of a loop that fit.
pub(crate) fn list(
    world: &mut World,
    loop_index: usize,
    filter: &ConnectionFilter,
) -> Vec<ConnectionSummary> {
    let (mut found, mut from) = (Vec::new(), Some(0));
    while let Some(at) = from {
        let ConnectionSlice { connections, next } =
            slice(world, loop_index, filter, at, usize::MAX);
        found.extend(connections);
        from = next;
    }
    found
}

pub(crate) fn show(world: &mut World, loop_index: usize, key: ConnKey) -> Option<ConnectionDetail> {
    ask(world, loop_index, |reply| Query::Show { key, reply })
}

pub(crate) fn close_request(code: u16, reason: &str) -> CloseRequest {
    CloseRequest { code: CloseCode::from_wire(code).unwrap(), reason: reason.to_owned().into() }
}

pub(crate) fn close_one(world: &mut World, loop_index: usize, key: ConnKey) -> bool {
    let request = close_request(4321, "by an operator");
    ask(world, loop_index, |reply| Query::CloseOne { key, request, reply })
}

/// Closes the connections of a loop that fit. Gives how many.
pub(crate) fn close(world: &mut World, loop_index: usize, filter: &ConnectionFilter) -> usize {
    let (mut closed_by_now, mut from) = (0, Some(0));
    while let Some(at) = from {
        let filter = Arc::new(filter.clone());
        let request = close_request(4321, "by an operator");
        let ClosedSlice { closed, next } =
            ask(world, loop_index, |reply| Query::Close { filter, from: at, request, reply });
        closed_by_now += closed;
        from = next;
    }
    closed_by_now
}

pub(crate) fn send_one(world: &mut World, loop_index: usize, key: ConnKey, text: &str) -> bool {
    ask(world, loop_index, |reply| Query::SendOne { key, text: text.into(), reply })
}

/// Sends a text to the connections of a loop that fit. Gives to how many.
pub(crate) fn send_text(
    world: &mut World,
    loop_index: usize,
    filter: &ConnectionFilter,
    text: &str,
) -> usize {
    let (mut sent_by_now, mut from) = (0, Some(0));
    while let Some(at) = from {
        let filter = Arc::new(filter.clone());
        let text = text.into();
        let query = |reply| Query::Send { filter, from: at, text, reply };
        let SentSlice { sent, next } = ask(world, loop_index, query);
        sent_by_now += sent;
        from = next;
    }
    sent_by_now
}
