//! Compressed messages, valid and damaged, through a whole server. A naive model gives the expected
//! answer: it has all frames at once, and inflates each message with flate2 in one call.

use std::cell::Cell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use proptest::prelude::*;
use proptest::sample::Index;
use tidegate::services::{DeflateOptions, Echo, RouteOptions};

use crate::wire::{
    BINARY, CLOSE, CONTINUATION, FIN, Frame, PING, PONG, RSV1, TEXT, client_frame,
    upgrade_request_offering_deflate,
};
use crate::world::{Setup, World, socket};

/// A frame of the client.
#[derive(Clone, Debug)]
struct Sent {
    first: u8,
    payload: Vec<u8>,
}

/// How the payload of a message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The stream goes on; of the empty block behind it only the first byte is sent.
    Flush,
    /// After a last block the first byte of an empty one (RFC 7692 §7.2.3.4).
    EmptyBlock,
    /// With the last block.
    LastBlock,
}

/// A change to the frames before they are sent.
#[derive(Clone, Debug)]
enum Change {
    CutPayload(Index, Index),
    DropFrame(Index),
    /// A bit of the first byte: FIN, a reserved bit, or one of the opcode.
    FlipHeaderBit(Index, u8),
    FlipPayloadBit(Index, Index, u8),
    Insert(Index, Index, Vec<u8>),
    RepeatFrame(Index, Index),
}

/// What the client must receive.
#[derive(Debug, Default, PartialEq, Eq)]
struct Answer {
    frames: Vec<Frame>,
    /// The code of the close frame, if there must be one.
    close_code: Option<u16>,
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(Vec::new()),
        "([a-d]{1,9}|the same again, é張😀 ){0,60}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..1500),
        // Up to twice the limit, in a few compressed bytes.
        (any::<u8>(), 0..2 * MESSAGE_BYTES_MAX).prop_map(|(byte, len)| vec![byte; len]),
        (MESSAGE_BYTES_MAX - 2..MESSAGE_BYTES_MAX + 3).prop_map(|len| vec![b'a'; len]),
    ]
}

/// The payload of a compressed message, in one of the ways that RFC 7692 §7.2.3 shows.
fn deflated(message: &[u8], level: u32, end: End, window_bits: u8) -> Vec<u8> {
    let mut stream = Compress::new_with_window_bits(Compression::new(level), false, window_bits);
    let mut output = Vec::with_capacity(2 * message.len() + 100);
    if end == End::Flush {
        stream.compress_vec(message, &mut output, FlushCompress::Sync).unwrap();
        output.truncate(output.len() - END.len());
        return output;
    }
    stream.compress_vec(message, &mut output, FlushCompress::Finish).unwrap();
    if end == End::EmptyBlock {
        output.push(0);
    }
    output
}

/// A message in frames, perhaps with a ping between two of them.
fn message() -> impl Strategy<Value = Vec<Sent>> {
    let end = prop::sample::select(vec![End::Flush, End::EmptyBlock, End::LastBlock]);
    let form = prop::option::weighted(0.9, (0..=9_u32, end, 9..=15_u8));
    let ping = prop::option::of((any::<Index>(), prop::collection::vec(any::<u8>(), 0..=125)));
    let kind = prop::sample::select(vec![TEXT, BINARY]);
    let cuts = prop::collection::vec(any::<Index>(), 0..3);
    (kind, content(), form, cuts, ping).prop_map(|(kind, content, form, cuts, ping)| {
        let (kind, payload) = match form {
            None => (kind, content),
            Some((level, end, window_bits)) => {
                (kind | RSV1, deflated(&content, level, end, window_bits))
            }
        };
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(payload.len() + 1)).collect();
        cuts.extend([0, payload.len()]);
        cuts.sort_unstable();
        let count = cuts.len() - 1;
        let piece = |number: usize| {
            let opcode = if number == 0 { kind } else { CONTINUATION };
            let fin = if number + 1 == count { FIN } else { 0 };
            Sent { first: fin | opcode, payload: payload[cuts[number]..cuts[number + 1]].to_vec() }
        };
        let mut frames: Vec<Sent> = (0..count).map(piece).collect();
        if let Some((at, payload)) = ping {
            frames.insert(at.index(count + 1), Sent { first: FIN | PING, payload });
        }
        frames
    })
}

fn change() -> impl Strategy<Value = Change> {
    let index = any::<Index>;
    prop_oneof![
        8 => (index(), index(), 0..8_u8).prop_map(|(frame, at, bit)| Change::FlipPayloadBit(frame, at, bit)),
        3 => (index(), index()).prop_map(|(frame, at)| Change::CutPayload(frame, at)),
        2 => (index(), index(), prop::collection::vec(any::<u8>(), 1..9))
            .prop_map(|(frame, at, bytes)| Change::Insert(frame, at, bytes)),
        2 => (index(), 0..8_u8).prop_map(|(frame, bit)| Change::FlipHeaderBit(frame, bit)),
        1 => index().prop_map(Change::DropFrame),
        1 => (index(), index()).prop_map(|(frame, to)| Change::RepeatFrame(frame, to)),
    ]
}

fn changed(mut frames: Vec<Sent>, changes: &[Change]) -> Vec<Sent> {
    for change in changes {
        let count = frames.len();
        if count == 0 {
            break;
        }
        match change {
            Change::CutPayload(frame, at) => {
                let payload = &mut frames[frame.index(count)].payload;
                payload.truncate(at.index(payload.len() + 1));
            }
            Change::DropFrame(frame) => drop(frames.remove(frame.index(count))),
            Change::FlipHeaderBit(frame, bit) => frames[frame.index(count)].first ^= 1 << bit,
            Change::FlipPayloadBit(frame, at, bit) => {
                let payload = &mut frames[frame.index(count)].payload;
                if !payload.is_empty() {
                    let at = at.index(payload.len());
                    payload[at] ^= 1 << bit;
                }
            }
            Change::Insert(frame, at, bytes) => {
                let payload = &mut frames[frame.index(count)].payload;
                let at = at.index(payload.len() + 1);
                payload.splice(at..at, bytes.iter().copied());
            }
            Change::RepeatFrame(frame, to) => {
                let again = frames[frame.index(count)].clone();
                frames.insert(to.index(count + 1), again);
            }
        }
    }
    frames
}

/// The naive model.
fn expected(frames: &[Sent]) -> Answer {
    let mut answer = Answer::default();
    let mut message: Option<Sent> = None;
    for frame in frames {
        match take(frame, &mut message) {
            Ok(None) => {}
            Ok(Some(reply)) if reply.opcode == CLOSE => {
                answer.close_code = Some(reply.close_code().unwrap_or(NO_CODE));
                return answer;
            }
            Ok(Some(reply)) => answer.frames.push(reply),
            Err(code) => {
                answer.close_code = Some(code);
                return answer;
            }
        }
    }
    answer
}

/// The reply to one frame, or the code of the rule that it breaks.
fn take(frame: &Sent, message: &mut Option<Sent>) -> Result<Option<Frame>, u16> {
    let Sent { first, payload } = frame;
    let (fin, opcode) = (first & FIN != 0, first & 0x0F);
    let may_be_compressed = matches!(opcode, TEXT | BINARY);
    let allowed = if may_be_compressed { FIN | RSV1 } else { FIN };
    if first & 0xF0 & !allowed != 0 {
        return Err(PROTOCOL_ERROR);
    }
    match opcode {
        CLOSE | PING | PONG if !fin || payload.len() > 125 => return Err(PROTOCOL_ERROR),
        CLOSE => return close(payload).map(Some),
        PING => return Ok(Some(Frame::new(PONG, payload))),
        PONG => return Ok(None),
        TEXT | BINARY if message.is_some() => return Err(PROTOCOL_ERROR),
        TEXT | BINARY => *message = Some(Sent { first: *first, payload: Vec::new() }),
        CONTINUATION if message.is_none() => return Err(PROTOCOL_ERROR),
        CONTINUATION => {}
        _ => return Err(PROTOCOL_ERROR),
    }
    let whole = message.as_mut().unwrap();
    if whole.payload.len() + payload.len() > MESSAGE_BYTES_MAX {
        return Err(TOO_BIG);
    }
    whole.payload.extend(payload);
    let (is_text, is_compressed) = (whole.first & 0x0F == TEXT, whole.first & RSV1 != 0);
    if is_text && !is_compressed {
        // An error is certain as soon as no further byte can complete the character.
        let broken = str::from_utf8(&whole.payload).err();
        if broken.is_some_and(|error| fin || error.error_len().is_some()) {
            return Err(NOT_CONSISTENT);
        }
    }
    if !fin {
        return Ok(None);
    }
    let Sent { first, payload } = message.take().unwrap();
    let payload = if is_compressed { naively_inflated(&payload)? } else { payload };
    if is_text && str::from_utf8(&payload).is_err() {
        return Err(NOT_CONSISTENT);
    }
    Ok(Some(Frame::new(first & 0x0F, &payload)))
}

/// The reply to a close frame, which a change may have made of another frame.
fn close(payload: &[u8]) -> Result<Frame, u16> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() { Ok(Frame::new(CLOSE, b"")) } else { Err(PROTOCOL_ERROR) };
    };
    let code = u16::from_be_bytes(*code);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(PROTOCOL_ERROR);
    }
    let is_text = str::from_utf8(reason).is_ok();
    if is_text { Ok(Frame::new(CLOSE, payload)) } else { Err(NOT_CONSISTENT) }
}

/// The message, or the code of the rule that it breaks. It is complete if its last block says so, or
/// if a final block that is appended to it can be decoded and yields nothing.
fn naively_inflated(payload: &[u8]) -> Result<Vec<u8>, u16> {
    // Some senders leave no byte of an empty message.
    let payload = if payload.is_empty() { &[0] } else { payload };
    let mut output = Vec::with_capacity(MOST_BYTES_OUT);
    let mut stream = Decompress::new(false);
    let mut rest = payload;
    let mut is_valid = true;
    let mut is_last = false;
    while is_valid && !rest.is_empty() {
        let before = stream.total_in();
        let status = stream.decompress_vec(rest, &mut output, FlushDecompress::Sync);
        rest = &rest[usize::try_from(stream.total_in() - before).unwrap()..];
        is_last = matches!(status, Ok(Status::StreamEnd));
        is_valid = status.is_ok();
        if is_last && !rest.is_empty() {
            // What follows a final block is a stream of its own.
            stream = Decompress::new(false);
        }
    }
    let len = output.len();
    let is_whole = is_last
        || is_valid && {
            let input = [&END[..], &EMPTY_LAST_BLOCK].concat();
            let before = stream.total_in();
            let status = stream.decompress_vec(&input, &mut output, FlushDecompress::Sync);
            let taken = usize::try_from(stream.total_in() - before).unwrap();
            // The first block completes one that is cut, or both are there.
            let is_end = taken == END.len() || taken == input.len();
            matches!(status, Ok(Status::StreamEnd)) && is_end && output.len() == len
        };
    match len {
        0..=MESSAGE_BYTES_MAX if is_whole => Ok(output),
        0..=MESSAGE_BYTES_MAX => Err(NOT_CONSISTENT),
        // The library may decode past the last byte that fits before it reports that there is no
        // room.
        0..=UNCLEAR_BYTES_MAX if !is_whole => Err(TOO_BIG_OR_NOT_CONSISTENT),
        _ => Err(TOO_BIG),
    }
}

/// Sends the frames to an echo in pieces, and returns what was received.
fn received(frames: &[Sent], pieces: &[usize], level: u8) -> (World, Answer) {
    let options = RouteOptions {
        message_bytes_max: MESSAGE_BYTES_MAX,
        deflate: Some(DeflateOptions { level, bytes_min: 20, context_bits: None }),
        ..RouteOptions::default()
    };
    let mut world = World::serving(&Setup::default(), |journal| {
        vec![socket("/echo", &options, journal, |_, _| Echo)]
    });
    let mut client = world.connect(0);
    client.send(&upgrade_request_offering_deflate("/echo", ""));
    world.exchange(&mut client);
    assert_eq!(client.received.status, Some(101));

    let mut bytes = Vec::new();
    for Sent { first, payload } in frames {
        bytes.extend(client_frame(*first, payload, [0x11, 0xA2, 0x33, 0xC4]));
    }
    let mut rest = &bytes[..];
    for piece in pieces.iter().copied().chain([usize::MAX]) {
        let (now, later) = rest.split_at(piece.min(rest.len()));
        if client.is_gone() {
            // A damaged frame was a close frame.
            break;
        }
        client.send(now);
        world.exchange(&mut client);
        rest = later;
    }
    let close_code = client.received.close().map(|close| close.close_code().unwrap_or(NO_CODE));
    let answer = Answer { frames: client.received.data().to_vec(), close_code };
    if close_code.is_none() {
        client.send_close(1000);
        world.exchange(&mut client);
        assert_eq!(client.received.close_code(), Some(1000));
    }
    assert!(client.ended_well());
    (world, answer)
}

fn check(frames: &[Sent], pieces: &[usize], level: u8) -> Result<Answer, TestCaseError> {
    let (mut world, answer) = received(frames, pieces, level);
    let mut expected = expected(frames);
    if expected.close_code == Some(TOO_BIG_OR_NOT_CONSISTENT) {
        let is_right = |code: &u16| [TOO_BIG, NOT_CONSISTENT].contains(code);
        expected.close_code = answer.close_code.filter(is_right).or(expected.close_code);
    }
    prop_assert_eq!(&answer, &expected);
    // Longer than `pool_idle_ms`.
    world.pass(30_000);
    prop_assert_eq!(world.server.connection_count(), 0);
    prop_assert_eq!(world.counter("pool_bytes_now"), 0);
    Ok(answer)
}

fn config(times: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = default.cases.saturating_mul(times);
    ProptestConfig { cases, failure_persistence: None, ..default }
}

fn pieces() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1..5_usize, 1..500_usize], 0..30)
}

#[test]
fn compressed_messages_come_back_or_are_too_big() {
    proptest!(config(1), |(
        messages in prop::collection::vec(message(), 1..5),
        pieces in pieces(),
        level in 1..=9_u8,
    )| {
        check(&messages.concat(), &pieces, level)?;
    });
}

#[test]
fn damaged_messages_decode_as_flate2_decodes_them_or_are_closed_with_the_right_code() {
    let seen: [Cell<usize>; 4] = Default::default();
    proptest!(config(8), |(
        messages in prop::collection::vec(message(), 1..4),
        changes in prop::collection::vec(change(), 1..4),
        pieces in pieces(),
        level in 1..=9_u8,
    )| {
        let answer = check(&changed(messages.concat(), &changes), &pieces, level)?;
        let kind = [None, Some(PROTOCOL_ERROR), Some(NOT_CONSISTENT), Some(TOO_BIG)];
        if let Some(kind) = kind.iter().position(|code| *code == answer.close_code) {
            seen[kind].set(seen[kind].get() + 1);
        }
    });
    assert!(seen.iter().all(|count| count.get() > 0), "{seen:?}");
}

const MESSAGE_BYTES_MAX: usize = 2000;
/// A message may end within a match, of at most 258 bytes (RFC 1951 §3.2.5).
const UNCLEAR_BYTES_MAX: usize = MESSAGE_BYTES_MAX + 258;
/// The longest output of a message of the largest size: DEFLATE expands at most 1,032 times.
const MOST_BYTES_OUT: usize = 1032 * (MESSAGE_BYTES_MAX + 100);
const PROTOCOL_ERROR: u16 = 1002;
const NOT_CONSISTENT: u16 = 1007;
const TOO_BIG: u16 = 1009;
/// Not a code: either of the two is accepted.
const TOO_BIG_OR_NOT_CONSISTENT: u16 = 0;
/// A close frame without a code.
const NO_CODE: u16 = 1005;
const END: [u8; 4] = [0, 0, 0xFF, 0xFF];
const EMPTY_LAST_BLOCK: [u8; 5] = [1, 0, 0, 0xFF, 0xFF];
