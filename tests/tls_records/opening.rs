//! Streams of records that both open.

use std::io::Read as _;

use rustls::ServerConnection;
use tidegate::sim::Random;
use tidegate::tls::{ExpandedKeys, Opened, Records, Version};

use crate::sealer::{ALERT, CHANGE_CIPHER_SPEC, DATA, HANDSHAKE, Sealer};
use crate::twins::{Twins, secret, suites};

/// A server of the library, our records of the same connection, and a sealer in place of the client.
struct Stream {
    theirs: ServerConnection,
    ours: Records,
    keys: ExpandedKeys,
    sealer: Sealer,
}

/// What a record came to.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Plaintext(Vec<u8>),
    Ended,
    Refused,
}

impl Stream {
    fn new(twins: Twins) -> Self {
        let (suite, theirs, client, server) = twins.without_client();
        let ours = Records::new(suite, secret(&client), secret(&server));
        let sealer = Sealer::new(suite, &client.1, client.0);
        Self { theirs, ours, keys: ExpandedKeys::default(), sealer }
    }

    /// Gives both the same record, and what they made of it.
    fn give(&mut self, record: &[u8], to: usize) -> (Outcome, Outcome, String) {
        let mut input = record;
        while !input.is_empty() {
            self.theirs.read_tls(&mut input).unwrap();
        }
        let processed = self.theirs.process_new_packets();
        let theirs = match &processed {
            Ok(state) if state.peer_has_closed() => Outcome::Ended,
            Ok(_) => {
                let mut plaintext = vec![0; 20_000];
                let count = self.theirs.reader().read(&mut plaintext).unwrap_or(0);
                plaintext.truncate(count);
                Outcome::Plaintext(plaintext)
            }
            Err(_) => Outcome::Refused,
        };
        // What it has to say in return.
        let _ = self.theirs.write_tls(&mut Vec::new());
        let mut buffer = vec![0xEE; to];
        buffer.extend_from_slice(record);
        let opened = self.ours.open(&mut self.keys, &mut buffer, 0, to..to + record.len());
        let ours = match opened {
            Ok(Opened::Data(count)) => Outcome::Plaintext(buffer[..count].to_vec()),
            Ok(Opened::Nothing | Opened::Updated | Opened::Declined) => {
                Outcome::Plaintext(Vec::new())
            }
            Ok(Opened::Tickets(_)) => unreachable!("clients send no tickets"),
            Ok(Opened::Ended) => Outcome::Ended,
            Err(_) => Outcome::Refused,
        };
        (theirs, ours, format!("{processed:?}, {opened:?}"))
    }
}

/// A record, and how it is called.
fn record(sealer: &mut Sealer, random: &mut Random) -> (&'static str, Vec<u8>) {
    let padding = [0, 0, 0, 1, random.below(300), 16_000][random.below(6)];
    let alert_kind = [0, 10, 20, 40, 80, 90, 100, 255][random.below(8)];
    let level = [1, 1, 1, 2, 0][random.below(5)];
    match random.below(26) {
        0 => ("the longest", {
            let content = vec![7; 1 << 14];
            sealer.seal(DATA, &content, 0)
        }),
        1 => ("too long by one", {
            let content = vec![7; (1 << 14) + 1];
            sealer.seal(DATA, &content, 0)
        }),
        2 => ("padded to the longest", {
            let bytes = random.below(1 << 14);
            let content = vec![7; bytes];
            sealer.seal(DATA, &content, (1 << 14) - bytes)
        }),
        3 => ("padded beyond the longest", {
            let bytes = random.below(1 << 14);
            let content = vec![7; bytes];
            sealer.seal(DATA, &content, (1 << 14) - bytes + 1)
        }),
        4 | 5 => ("empty", sealer.seal(DATA, b"", padding.min(1_000))),
        6 if alert_kind == 90 && level != 1 => {
            (CANCELED_AS_FATAL, sealer.seal(ALERT, &[level, alert_kind], padding))
        }
        6 => ("an alert", sealer.seal(ALERT, &[level, alert_kind], padding)),
        7 => ("half an alert", sealer.seal(ALERT, &[level], 0)),
        8 => ("alerts joined", sealer.seal(ALERT, &[1, 90, 1, 90], 0)),
        9 => ("the end", sealer.seal(ALERT, &[1 + u8::from(random.percent(50)), 0], padding)),
        10..=20 => of_handshake(sealer, random, padding),
        21 => ("damaged", {
            let mut record = sealer.seal(DATA, b"hello", 0);
            let at = 5 + random.below(record.len() - 5);
            record[at] ^= 1 << random.below(8);
            record
        }),
        22 => ("of another number", {
            sealer.sequence += 1 + random.below(3) as u64;
            sealer.seal(DATA, b"hello", 0)
        }),
        23 => ("shorter than its tag", {
            let bytes = random.below(30);
            let mut record = vec![DATA, 3, 3, 0, u8::try_from(bytes).unwrap()];
            record.extend(random.bytes(bytes));
            record
        }),
        24 => ("of an unknown type", sealer.seal(24 + byte(random, 3), b"hello", 0)),
        _ => ("data", {
            let bytes = 1 + random.below(300);
            let content = random.bytes(bytes);
            sealer.seal(DATA, &content, padding)
        }),
    }
}

/// A record of the kinds that are not meant for data.
fn of_handshake(
    sealer: &mut Sealer,
    random: &mut Random,
    padding: usize,
) -> (&'static str, Vec<u8>) {
    let is_13 = sealer.suite.version == Version::Tls13;
    match random.below(11) {
        0 => ("a protected CCS", sealer.seal(CHANGE_CIPHER_SPEC, &[1], 0)),
        1 => ("another handshake message", {
            let kind = [0, 2, 4, 11, 20][random.below(5)];
            sealer.seal(HANDSHAKE, &[kind, 0, 0, 1, 0], 0)
        }),
        2 => ("an empty handshake record", sealer.seal(HANDSHAKE, b"", 0)),
        3 if is_13 => ("a key update of another kind", {
            sealer.seal(HANDSHAKE, &[24, 0, 0, 1, 2 + byte(random, 254)], 0)
        }),
        4 if is_13 => ("a key update and more", {
            let mut content = vec![24, 0, 0, 1, 0];
            content.extend([24, 0, 0, 1, 0].iter().take(1 + random.below(5)));
            sealer.seal(HANDSHAKE, &content, 0)
        }),
        5 if is_13 => ("no type", {
            let bytes = random.below(100);
            sealer.seal_inner(DATA, &vec![0; bytes])
        }),
        6 if is_13 => ("another outer type", sealer.seal_inner(HANDSHAKE, &[24, 0, 0, 1, 0, 22])),
        7..=10 if is_13 => ("a key update", {
            let update = sealer.seal(HANDSHAKE, &[24, 0, 0, 1, byte(random, 2)], padding);
            sealer.update();
            update
        }),
        _ => ("data", sealer.seal(DATA, b"data", padding)),
    }
}

fn byte(random: &mut Random, bound: usize) -> u8 {
    u8::try_from(random.below(bound)).unwrap()
}

/// Whether the two may differ so.
fn is_explained(name: &str, theirs: &Outcome, ours: &Outcome) -> bool {
    match (ours, theirs) {
        // "Zero-length fragments of Handshake types" must not be sent (RFC 8446 §5.1, RFC 5246
        // §6.2.1). The library waits for more of the message.
        (Outcome::Refused, _) => name == "an empty handshake record",
        // A close_notify with the level of a fatal alert is the end all the same (RFC 5246 §7.2.1).
        (Outcome::Ended, Outcome::Refused) => name == "an alert" || name == "the end",
        // The level of an alert says nothing in TLS 1.3 (RFC 8446 §6), and this alert ends nothing.
        (Outcome::Plaintext(_), Outcome::Refused) => name == CANCELED_AS_FATAL,
        _ => false,
    }
}

const CANCELED_AS_FATAL: &str = "user_canceled, not as a warning";

fn compare(seed: u64) {
    let mut random = Random::new(seed);
    let suites = suites();
    let mut stream = Stream::new(Twins::new(suites[random.below(suites.len())]));
    let suite = stream.sealer.suite;
    let mut names = Vec::new();
    for _ in 0..random.below(40) {
        // Some kinds end a stream most of the time.
        let mut sealer = stream.sealer.clone();
        let (name, bytes) = record(&mut sealer, &mut random);
        stream.sealer = sealer;
        names.push(name);
        let to = random.below(3) * 50;
        let (theirs, ours, how) = stream.give(&bytes, to);
        if is_explained(name, &theirs, &ours) {
            return;
        }
        assert!(theirs == ours, "seed {seed}, {suite:?}, after {names:?}: {how}");
        if theirs != Outcome::Ended && theirs != Outcome::Refused {
            continue;
        }
        return;
    }
}

#[test]
fn records_are_taken_and_refused_as_the_library_does() {
    if let Some(seed) = number("TIDEGATE_TLS_SEED") {
        return compare(seed);
    }
    (0..number("TIDEGATE_TLS_STREAMS").unwrap_or(600)).for_each(compare);
}

/// What is allowed now and then and not for ever ends after as many.
#[test]
fn repetitions_end_after_as_many_as_with_the_library() {
    for suite in suites() {
        let is_13 = suite.tls13().is_some();
        let mut kinds: Vec<(&str, u8, &[u8])> =
            vec![("warnings", ALERT, &[1, 90]), ("empty records", DATA, &[])];
        match is_13 {
            true => kinds.push(("key updates", HANDSHAKE, &[24, 0, 0, 1, 0])),
            false => {
                kinds.push(("other warnings", ALERT, &[1, 100]));
                kinds.push(("requests to renegotiate", HANDSHAKE, &CLIENT_HELLO));
            }
        }
        for (name, kind, content) in kinds {
            for data_after in [usize::MAX, 20] {
                let mut stream = Stream::new(Twins::new(suite));
                for number in 0..100 {
                    let is_data = number % data_after == data_after - 1;
                    let bytes = match is_data {
                        true => stream.sealer.seal(DATA, b"data", 0),
                        false => stream.sealer.seal(kind, content, 0),
                    };
                    if !is_data && name == "key updates" {
                        stream.sealer.update();
                    }
                    let (theirs, ours, how) = stream.give(&bytes, 0);
                    assert!(theirs == ours, "{name}, number {number}, {suite:?}: {how}");
                    if theirs == Outcome::Refused {
                        break;
                    }
                }
            }
        }
    }
}

/// The smallest there is: no session, one suite, no extensions (RFC 5246 §7.4.1.2).
const CLIENT_HELLO: [u8; 45] = {
    let mut message = [7; 45];
    let (start, end) = ([1, 0, 0, 41, 3, 3], [0, 0, 2, 0, 0xFF, 1, 0]);
    let mut at = 0;
    while at < start.len() {
        message[at] = start[at];
        at += 1;
    }
    at = 0;
    while at < end.len() {
        message[message.len() - end.len() + at] = end[at];
        at += 1;
    }
    message
};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}
