//! The attacks: a table of them, and a file for each family.

mod bursts;
mod compression;
mod credentials;
mod empty_blocks;
mod fan_out;
mod floods;
mod reconnecting;
mod slow_reading;
mod tls_handshakes;
mod unfinished;

use std::fmt::Write as _;

use super::attackers::Attackers;
use crate::error::CommandError;

/// An attack, and the server that it is meant for.
#[derive(Debug)]
pub(super) struct Attack {
    pub(super) name: &'static str,
    help: &'static str,
    /// Connections of the attackers, if the command line does not say otherwise.
    pub(super) connections: usize,
    /// Messages, in the attacks that send a certain number.
    pub(super) messages: usize,
    /// The number of addresses that the attackers come from, if that is to be so: one after the other.
    pub(super) addresses: Option<usize>,
    /// The server has a backend that never answers, whose address replaces [`BACKEND`] in the routes.
    pub(super) needs_backend: bool,
    /// It is an attack on TLS.
    pub(super) needs_tls: bool,
    /// Attackers agree with the server on permessage-deflate.
    pub(super) is_deflated: bool,
    /// Bystanders send their messages and requests in two parts.
    pub(super) are_messages_split: bool,
    /// Event loops of the server.
    pub(super) loops: u16,
    /// Further lines of the table `limits`.
    pub(super) limits: &'static str,
    pub(super) routes: &'static str,
    /// Prepares the attack, calls [`Attackers::begin`] and attacks.
    pub(super) run: fn(&mut Attackers<'_>) -> Result<(), CommandError>,
}

/// All attacks.
pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "inflate",
        help: "compressed messages of empty DEFLATE blocks, which inflate to nothing",
        connections: 10,
        is_deflated: true,
        run: compression::inflate,
        ..PLAIN
    },
    Attack {
        name: "compress",
        help: "echoes whose compression at level 9 is slow",
        connections: 10,
        is_deflated: true,
        routes: "\n[[route]]\npath = \"/echo\"\nservice = \"echo\"\ndeflate_level = 9\n",
        run: compression::compress,
        ..PLAIN
    },
    Attack {
        name: "fanout",
        help: "one member sends 140 KiB of 1-byte messages at once into a room of 1,000",
        connections: 1_000,
        messages: fan_out::MESSAGES,
        routes: "\n[[route]]\npath = \"/echo\"\nservice = \"echo\"\n\
                 \n[[route]]\npath = \"/room\"\nservice = \"room\"\nname = \"address\"\n",
        run: fan_out::room,
        ..PLAIN
    },
    Attack {
        name: "broadcast",
        help: "the same to 1,000 subscribers of a broadcast",
        connections: 1_000,
        messages: fan_out::MESSAGES,
        routes: ECHO_AND_BROADCAST,
        run: fan_out::broadcast,
        ..PLAIN
    },
    Attack {
        name: "unfinished",
        help: "256 messages of 1 MiB that are begun, half sent, and never ended",
        connections: 256,
        are_messages_split: true,
        run: unfinished::messages,
        ..PLAIN
    },
    Attack {
        name: "trickle",
        help: "300 readers that read the echo of a large message a little at a time, and come again",
        connections: 300,
        are_messages_split: true,
        run: slow_reading::trickle,
        ..PLAIN
    },
    Attack {
        name: "slow-readers",
        help: "40,000 messages to 10 readers that do not read, 10,000 of which may wait for each",
        connections: 10,
        messages: 40_000,
        routes: "\n[[route]]\npath = \"/echo\"\nservice = \"echo\"\n\
                 \n[[route]]\npath = \"/broadcast\"\nservice = \"broadcast\"\n\
                 backlog_messages_max = 10000\nslow_policy = \"drop_newest\"\n",
        run: slow_reading::slow_readers,
        ..PLAIN
    },
    Attack {
        name: "bursts",
        help: "two bursts of publications by 20 clients, with two event loops",
        connections: 20,
        loops: 2,
        // Who is closed as too slow takes no part in the second burst.
        routes: "\n[[route]]\npath = \"/echo\"\nservice = \"echo\"\n\
                 \n[[route]]\npath = \"/broadcast\"\nservice = \"broadcast\"\n\
                 slow_policy = \"drop_newest\"\n",
        run: bursts::publications,
        ..PLAIN
    },
    Attack {
        name: "frame-flood",
        help: "100 connections that send messages of one byte as fast as they are taken",
        connections: 100,
        routes: "\n[[route]]\npath = \"/echo\"\nservice = \"echo\"\nmessages_per_s = 1000\n",
        run: floods::messages,
        ..PLAIN
    },
    Attack {
        name: "ping-flood",
        help: "100 connections that send pings as fast as they are taken",
        connections: 100,
        run: floods::pings,
        ..PLAIN
    },
    Attack {
        name: "fragment-flood",
        help: "100 connections that send empty fragments of a message that never ends",
        connections: 100,
        run: floods::fragments,
        ..PLAIN
    },
    Attack {
        name: "half-open",
        help: "500 connections that send their request byte by byte, or nothing, and come again",
        connections: 500,
        limits: "connections_max = 1000\n",
        run: unfinished::requests,
        ..PLAIN
    },
    Attack {
        name: "flood",
        help: "one address connects as fast as it can, and holds what it gets",
        connections: 5_000,
        addresses: Some(1),
        routes: WITH_LIMITS_BY_ADDRESS,
        run: reconnecting::hold,
        ..PLAIN
    },
    Attack {
        name: "flood-many",
        help: "10,000 addresses connect as fast as they can, and leave when they are let in",
        connections: 1_000,
        addresses: Some(10_000),
        routes: WITH_LIMITS_BY_ADDRESS,
        run: reconnecting::leave,
        ..PLAIN
    },
    Attack {
        name: "failing",
        help: "100 addresses send requests that cannot be granted, as fast as they can",
        connections: 1_000,
        addresses: Some(100),
        routes: WITH_LIMITS_BY_ADDRESS,
        run: reconnecting::fail,
        ..PLAIN
    },
    Attack {
        name: "reconnect-loop",
        help: "50 pages behind one address that reconnect as soon as they are closed or refused",
        connections: 50,
        addresses: Some(1),
        routes: WITH_LIMITS_BY_ADDRESS,
        run: reconnecting::leave,
        ..PLAIN
    },
    Attack {
        name: "forged-tokens",
        help: "clients that show JWTs of 3 KiB with wrong signatures, as fast as they can",
        connections: 1_000,
        routes: "\n[[route]]\npath = \"/echo\"\nservice = \"echo\"\n\
                 \n[[route]]\npath = \"/by-token\"\nservice = \"echo\"\nidentity = [\"tokens\"]\n\
                 \n[[identity]]\nname = \"tokens\"\nkind = \"jwt\"\ntoken_query = \"token\"\n\
                 \n[[identity.keys]]\nalgorithm = \"HS256\"\n\
                 secret = \"a secret that no attacker has, ever\"\n",
        run: credentials::forged_tokens,
        ..PLAIN
    },
    Attack {
        name: "hung-callback",
        help: "clients about whom the server asks a backend that never answers",
        connections: 2_000,
        needs_backend: true,
        routes: "\n[[route]]\npath = \"/echo\"\nservice = \"echo\"\n\
                 \n[[route]]\npath = \"/by-callback\"\nservice = \"echo\"\nidentity = [\"app\"]\n\
                 \n[[identity]]\nname = \"app\"\nkind = \"callback\"\n\
                 callback_url = \"http://BACKEND/who\"\n",
        run: credentials::unanswered,
        ..PLAIN
    },
    Attack {
        name: "handshakes",
        help: "10,000 connections that begin their TLS handshakes at once, and upgrade",
        connections: 10_000,
        needs_tls: true,
        run: tls_handshakes::complete,
        ..PLAIN
    },
    Attack {
        name: "half-hello",
        help: "5,000 TLS handshakes that end in the middle of the ClientHello",
        connections: 5_000,
        needs_tls: true,
        run: tls_handshakes::half_hello,
        ..PLAIN
    },
    Attack {
        name: "whole-hello",
        help: "5,000 TLS handshakes that end after the ClientHello",
        connections: 5_000,
        needs_tls: true,
        run: tls_handshakes::whole_hello,
        ..PLAIN
    },
];

/// The names of the attacks, one a line.
pub(super) fn list() -> String {
    let mut list = String::from("Attacks:\n");
    for Attack { name, help, .. } in ATTACKS {
        let _ = writeln!(list, "  {name:13}  {help}");
    }
    list
}

/// What stands in the routes for the address of the backend.
pub(super) const BACKEND: &str = "BACKEND";

/// What most attacks have in common.
const PLAIN: Attack = Attack {
    name: "",
    help: "",
    connections: 1,
    messages: 0,
    addresses: None,
    needs_backend: false,
    needs_tls: false,
    is_deflated: false,
    are_messages_split: false,
    loops: 1,
    limits: "",
    routes: "\n[[route]]\npath = \"/echo\"\nservice = \"echo\"\n",
    run: |_| Ok(()),
};
/// The limits of addresses are those by default, and hold for this machine as well.
const WITH_LIMITS_BY_ADDRESS: &str = "\n[addresses]\nexempt_local = false\n\
                                      \n[[route]]\npath = \"/echo\"\nservice = \"echo\"\n";
const ECHO_AND_BROADCAST: &str = "\n[[route]]\npath = \"/echo\"\nservice = \"echo\"\n\
                                  \n[[route]]\npath = \"/broadcast\"\nservice = \"broadcast\"\n";
