//! What a server says, read from its bytes: nothing here waits, and nothing panics whatever the bytes are.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

/// The headers of a message, by name.
pub(super) trait Headers {
    /// The header of this name, if it has one.
    fn text(&self, name: &str) -> Option<&str>;

    /// The same, as a number.
    fn number(&self, name: &str) -> Option<u64> {
        let text = self.text(name)?;
        // `parse` takes a sign as well.
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse().ok()).flatten()
    }
}

/// The answer of a stream to a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PublishAnswer {
    /// It is kept there, now or since it came first.
    Kept(u64),
    /// It is not kept, as another sequence was expected; this is the last one.
    LastIs(u64),
    /// It is not kept, as there is no room.
    Full(String),
    /// It is not kept.
    Refused(String),
}

impl PublishAnswer {
    /// `None` if it is not an answer.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Answer {
            error: Option<ApiError>,
            seq: Option<u64>,
        }
        let answer: Answer = serde_json::from_slice(body).ok()?;
        let Some(error) = answer.error else {
            return answer.seq.filter(|seq| *seq > 0).map(Self::Kept);
        };
        if error.err_code == WRONG_LAST_SEQUENCE
            && let Some((_, last)) = error.description.rsplit_once(": ")
            && let Ok(last) = last.parse()
        {
            return Some(Self::LastIs(last));
        }
        Some(match error.err_code {
            NO_RESOURCES | NO_MEMORY | NO_STORAGE => Self::Full(error.description),
            _ => Self::Refused(error.description),
        })
    }
}

/// Why the API of JetStream does not do something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct ApiError {
    /// As in HTTP.
    #[serde(default)]
    pub(super) code: u64,
    /// Of JetStream itself.
    #[serde(default)]
    pub(super) err_code: u64,
    /// In words.
    #[serde(default)]
    pub(super) description: String,
}

/// A message that a stream keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeptMessage {
    /// Its sequence.
    pub(super) sequence: u64,
    /// The offset of a channel that ends here: the sequence, or for a mark what it bears.
    pub(super) offset: u64,
    /// Whether it is no publication: it stands where nothing is kept, so that the channel has a position.
    pub(super) is_mark: bool,
    /// When it was kept, in milliseconds since 1970.
    pub(super) at_ms: u64,
    /// What was published.
    pub(super) payload: Vec<u8>,
}

/// One message of the answer to a direct question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DirectAnswer {
    /// A message of the stream.
    Message(KeptMessage),
    /// There is none, and no other comes.
    Nothing,
    /// All have come that fit into one answer.
    End {
        /// Messages that did not fit.
        pending: u64,
        /// How far the replica was, where it tells.
        up_to: Option<u64>,
    },
    /// Nothing answers for the stream, or not now.
    Unavailable,
}

impl DirectAnswer {
    /// Reads a status, which a message of a stream has not, and headers.
    pub(super) fn read(status: Option<u16>, headers: Option<&impl Headers>, body: &[u8]) -> Self {
        match (status, headers) {
            (None, Some(headers)) => {
                kept_message(headers, body).map_or(Self::Unavailable, Self::Message)
            }
            (Some(204), Some(headers)) => Self::End {
                pending: headers.number("Nats-Num-Pending").unwrap_or(0),
                up_to: headers.number("Nats-UpTo-Sequence"),
            },
            (Some(404), _) => Self::Nothing,
            (_, _) => Self::Unavailable,
        }
    }
}

/// The place of a copy that a stream has made: its sequence, and that of the one before it.
pub(super) fn copied_place(headers: &impl Headers) -> Option<(u64, u64)> {
    let sequence = headers.number("Nats-Sequence").filter(|sequence| *sequence > 0)?;
    let previous = headers.number("Nats-Last-Sequence")?;
    (previous < sequence).then_some((sequence, previous))
}

/// The last message of a subject, from the leader of its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LeaderAnswer {
    /// This one.
    Message(KeptMessage),
    /// There is none.
    Nothing,
    /// It cannot tell now.
    Unavailable,
}

impl LeaderAnswer {
    /// Reads the answer to `STREAM.MSG.GET`.
    pub(super) fn read(body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Answer {
            error: Option<ApiError>,
            message: Option<Message>,
        }
        #[derive(Deserialize)]
        struct Message {
            seq: u64,
            #[serde(default)]
            data: String,
            #[serde(default)]
            hdrs: String,
            time: String,
        }
        let Ok(answer) = serde_json::from_slice::<Answer>(body) else { return Self::Unavailable };
        if answer.error.is_some_and(|error| error.err_code == NO_MESSAGE) {
            return Self::Nothing;
        }
        let kept = answer.message.and_then(|message| {
            let payload = STANDARD.decode(message.data).ok()?;
            let headers = String::from_utf8(STANDARD.decode(message.hdrs).ok()?).ok()?;
            KeptMessage::new(message.seq, time_ms(&message.time)?, &Lines(&headers), payload)
        });
        kept.map_or(Self::Unavailable, Self::Message)
    }
}

/// What is told of a stream.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct StreamInfo {
    /// What it was made with.
    pub(super) config: Value,
    /// When it was made, as text.
    pub(super) created: String,
    /// The time there, in milliseconds since 1970.
    pub(super) now_ms: u64,
}

impl StreamInfo {
    /// Reads the answer to `STREAM.INFO` and `STREAM.CREATE`.
    ///
    /// # Errors
    /// The error in it, or one without a number if it is no answer.
    pub(super) fn read(body: &[u8]) -> Result<Self, ApiError> {
        #[derive(Deserialize)]
        struct Answer {
            error: Option<ApiError>,
            #[serde(default)]
            config: Value,
            created: Option<String>,
            ts: Option<String>,
        }
        let strange = |what: &str| ApiError { description: what.to_owned(), ..ApiError::default() };
        let answer: Answer =
            serde_json::from_slice(body).map_err(|_| strange("the answer is not understood"))?;
        if let Some(error) = answer.error {
            return Err(error);
        }
        let (Some(created), Some(now)) = (answer.created, answer.ts) else {
            return Err(strange("the answer has no time"));
        };
        let now_ms = time_ms(&now).ok_or_else(|| strange("the answer has no valid time"))?;
        Ok(Self { config: answer.config, created, now_ms })
    }
}

/// Major and minor number of a server's version.
pub(super) fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(['.', '-']).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn kept_message(headers: &impl Headers, body: &[u8]) -> Option<KeptMessage> {
    let sequence = headers.number("Nats-Sequence")?;
    let at_ms = time_ms(headers.text("Nats-Time-Stamp")?)?;
    KeptMessage::new(sequence, at_ms, headers, body.to_vec())
}

impl KeptMessage {
    fn new(sequence: u64, at_ms: u64, headers: &impl Headers, payload: Vec<u8>) -> Option<Self> {
        let is_mark = headers.text(KIND) == Some(MARK);
        let borne = headers.number(OFFSET).filter(|offset| is_mark && *offset < sequence);
        let offset = borne.unwrap_or(sequence);
        (sequence > 0).then_some(Self { sequence, offset, is_mark, at_ms, payload })
    }
}

/// Headers as the lines that they are sent in.
struct Lines<'l>(&'l str);

impl Headers for Lines<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        let pairs = self.0.lines().filter_map(|line| line.split_once(':'));
        pairs.filter(|(own, _)| *own == name).map(|(_, text)| text.trim()).next()
    }
}

/// An RFC 3339 time in milliseconds since 1970.
fn time_ms(text: &str) -> Option<u64> {
    let time = humantime::parse_rfc3339(text).ok()?;
    let since: Duration = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}

/// The header of ours that tells what a message is that is no publication.
pub(super) const KIND: &str = "Tidegate-Kind";
/// A note.
pub(super) const NOTE: &str = "note";
/// A mark.
pub(super) const MARK: &str = "mark";
/// The header with the offset that a mark bears.
pub(super) const OFFSET: &str = "Tidegate-Offset";
/// Another last sequence was expected.
const WRONG_LAST_SEQUENCE: u64 = 10_071;
/// The limits of the server or the account are reached.
const NO_RESOURCES: u64 = 10_023;
const NO_MEMORY: u64 = 10_028;
const NO_STORAGE: u64 = 10_047;
/// A subject has no message.
const NO_MESSAGE: u64 = 10_037;
/// There is no such stream.
pub(super) const NO_STREAM: u64 = 10_059;

/// Runs all that reads bytes of servers on any bytes, for the fuzzer and for tests: none of it may panic, and
/// what is read holds together.
pub fn read_any(status: Option<u16>, names: &[(&str, &str)], body: &[u8]) {
    let headers = Pairs(names);
    if let Some((sequence, previous)) = copied_place(&headers) {
        assert!(previous < sequence, "a copy stands behind the one before it");
    }
    let direct = DirectAnswer::read(status, Some(&headers), body);
    if let DirectAnswer::Message(message) = direct {
        assert!(message.sequence > 0 && message.payload == body, "a message is as it came");
        assert!(message.offset <= message.sequence, "a mark bears what was before it");
    }
    let _ = PublishAnswer::parse(body);
    let _ = LeaderAnswer::read(body);
    let _ = StreamInfo::read(body);
    if let Ok(text) = std::str::from_utf8(body) {
        let _ = version(text);
        let found = super::subjects::with_channel_of(text, str::len);
        assert!(found.is_none_or(|count| count <= crate::channels::NAME_BYTES_MAX));
    }
}

struct Pairs<'p>(&'p [(&'p str, &'p str)]);

impl Headers for Pairs<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| *own == name).map(|(_, text)| *text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 7] = [
        KIND,
        OFFSET,
        "Nats-Sequence",
        "Nats-Last-Sequence",
        "Nats-Time-Stamp",
        "Nats-Num-Pending",
        "Nats-UpTo-Sequence",
    ];

    proptest! {
        #[test]
        fn any_bytes_are_read(
            status in proptest::option::of(prop_oneof![Just(204_u16), Just(404), any::<u16>()]),
            texts in proptest::collection::vec(
                "mark|[0-9]{1,22}|[+-][0-9]|2026-11-26T23:11:22[.0-9]{0,12}Z|\\PC{0,9}", 7),
            body in "\\PC{0,60}|\\{\"error\":\\{\"err_code\":10071,\"description\":\": [0-9]{0,22}\"\\}\\}",
        ) {
            let pairs: Vec<_> = NAMES.iter().copied().zip(texts.iter().map(|text| &**text)).collect();
            read_any(status, &pairs, body.as_bytes());
        }
    }

    #[test]
    fn the_answers_of_a_stream_are_told_apart() {
        let read = |body: &str| PublishAnswer::parse(body.as_bytes());
        assert_eq!(read(r#"{"stream":"tg_a_0","seq":2}"#), Some(PublishAnswer::Kept(2)));
        let duplicate = r#"{"stream":"tg_a_0","seq":2,"duplicate": true}"#;
        assert_eq!(read(duplicate), Some(PublishAnswer::Kept(2)));
        let behind = r#"{"error":{"code":400,"err_code":10071,
            "description":"wrong last sequence: 5"},"stream":"tg_a_0","seq":0}"#;
        assert_eq!(read(behind), Some(PublishAnswer::LastIs(5)));
        let full = r#"{"error":{"code":503,"err_code":10077,
            "description":"maximum messages exceeded"},"stream":"tg_a_0","seq":0}"#;
        let refused = PublishAnswer::Refused("maximum messages exceeded".to_owned());
        assert_eq!(read(full), Some(refused));
        assert_eq!((read("{}"), read("[]"), read("")), (None, None, None));
    }

    #[test]
    fn messages_and_ends_are_told_apart() {
        let read =
            |status, pairs: &[(&str, &str)]| DirectAnswer::read(status, Some(&Pairs(pairs)), b"m");
        let pairs = [("Nats-Sequence", "5"), ("Nats-Time-Stamp", "1970-01-01T00:00:01.234567891Z")];
        let message = KeptMessage {
            sequence: 5,
            offset: 5,
            is_mark: false,
            at_ms: 1234,
            payload: b"m".to_vec(),
        };
        assert_eq!(read(None, &pairs), DirectAnswer::Message(message));
        assert_eq!(read(None, &pairs[..1]), DirectAnswer::Unavailable);
        let pairs = [("Nats-Num-Pending", "3"), ("Nats-UpTo-Sequence", "9")];
        assert_eq!(read(Some(204), &pairs), DirectAnswer::End { pending: 3, up_to: Some(9) });
        assert_eq!(read(Some(404), &pairs), DirectAnswer::Nothing);
        for status in [408, 413, 503] {
            assert_eq!(read(Some(status), &pairs), DirectAnswer::Unavailable);
        }
    }

    #[test]
    fn a_mark_bears_an_offset_or_has_its_own() {
        let mark = |lines: &str| {
            let kept = KeptMessage::new(5, 0, &Lines(lines), Vec::new()).unwrap();
            (kept.is_mark, kept.offset)
        };
        assert_eq!(mark("NATS/1.0\r\nTidegate-Kind: mark\r\n\r\n"), (true, 5));
        assert_eq!(mark("NATS/1.0\r\nTidegate-Kind: mark\r\nTidegate-Offset: 3\r\n"), (true, 3));
        assert_eq!(mark("NATS/1.0\r\nTidegate-Kind: mark\r\nTidegate-Offset: 6\r\n"), (true, 5));
        assert_eq!(mark("NATS/1.0\r\nTidegate-Offset: 3\r\n"), (false, 5));
        assert_eq!(mark(""), (false, 5));
    }

    #[test]
    fn versions_are_compared_by_two_numbers() {
        let versions = ["2.15.1", "2.9.10", "2.11.0-preview.1", "3.0", "x", ""].map(version);
        let known = |pair| Some(pair);
        assert_eq!(
            versions,
            [known((2, 15)), known((2, 9)), known((2, 11)), known((3, 0)), None, None]
        );
    }
}
