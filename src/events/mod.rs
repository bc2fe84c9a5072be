//! WebSocket-over-HTTP: what a backend that speaks plain HTTP is told of a connection, and what it
//! answers, as functions of bytes and numbers.
//!
//! A connection's events travel in bodies of type `application/websocket-events`, in requests to the
//! backend and in its replies. A [`Conversation`] is what goes on about one connection: which events
//! wait, which are under way, and what a reply leads to. It knows no client of HTTP, no socket and no
//! clock: what sends the requests asks for them, and gives the replies back. The format is that of
//! the protocol WebSocket-Over-HTTP by Fanout (pushpin.org/docs/protocols/websocket-over-http), and
//! [`grip`] what its libraries add.
//!
//! | file | what it is |
//! |---|---|
//! | `event` | one event, and bodies of several |
//! | `conversation` | what goes on about one connection |
//! | `reply` | what the headers of a reply say |
//! | `reply_reader` | what its body says |
//! | `action` | what a reply leads to, in parts |
//! | `request_head` | the request of a client as its backend gets it, again and again |
//! | `filter` | which publications a member of a channel gets |
//! | `sequencer` | the order of publications, and those that come twice |
//! | `api_gateway` | events each in a request of its own, as functions behind API Gateway get them |
//! | `webhook` | events of connections that wait for a webhook |
//! | `publish` | what backends publish to channels |
//! | `grip` | messages of a backend to the gateway itself |

mod action;
pub mod api_gateway;
mod client_event;
mod conversation;
mod event;
pub mod filter;
pub mod grip;
pub mod publish;
mod reply;
mod reply_reader;
mod request_head;
mod sequencer;
pub mod webhook;

pub use action::{Action, ActionParts};
pub use client_event::ClientEvent;
pub use conversation::{About, Conversation, ConversationLimits, End, EventRequest};
pub use event::{CLOSE_REASON_BYTES_MAX, Event, EventError, EventKind, Events, encode_event};
pub use reply::{ReplyFacts, is_passed_on};
pub use reply_reader::{Broken, ReplyReader, ReplyTerms};
pub use request_head::{ClientLine, EventHead};
pub use sequencer::{Sequenced, Sequencer};

/// The type of bodies with events.
pub const CONTENT_TYPE: &str = "application/websocket-events";
