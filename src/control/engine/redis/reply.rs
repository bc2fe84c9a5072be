//! What the scripts answer, judged: a publication that has expired, or that is not proven to be the next, is not
//! given.

use std::ops::RangeInclusive;

use redis::Value;

use super::message::{parse_number, parse_position};
use crate::channels::remote::{Batch, Span};
use crate::channels::{Position, RECOVERED_MAX};

/// A reply that is none of what the command has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a reply that does not answer the request")]
pub(super) struct Malformed;

/// The answer of `publish.lua`.
pub(super) fn published(value: &Value) -> Result<Option<Position>, Malformed> {
    match text(value)? {
        b"-" => Ok(None),
        position => parse_position(position).map(Some).ok_or(Malformed),
    }
}

/// The answer of `positions.lua`.
pub(super) fn positions(value: Value) -> Result<Vec<Position>, Malformed> {
    let items = array(value)?;
    items.iter().map(|item| parse_position(text(item)?).ok_or(Malformed)).collect()
}

/// The answer of `read.lua`, for this part and with this many publications to keep.
pub(super) fn batch(value: Value, span: Span, size: usize) -> Result<Batch, Malformed> {
    let [position, now, entries]: [Value; 3] = array(value)?.try_into().map_err(|_| Malformed)?;
    let position = parse_position(text(&position)?).ok_or(Malformed)?;
    let now = parse_number(text(&now)?).ok_or(Malformed)?;
    let mut entries = array(entries)?.into_iter().map(entry).collect::<Result<Vec<_>, _>>()?;
    // The last is first in a stream, and last in a list.
    if entries.first().map(|entry| entry.offset) < entries.last().map(|entry| entry.offset) {
        entries.reverse();
    }
    let kept = kept(entries, position.offset, now);
    Ok(cut(kept, position, span, size))
}

/// A publication as it is stored.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    offset: u64,
    expires_at: u64,
    payload: Vec<u8>,
}

/// What is still kept of entries from the last to the first, in this order: from the last publication downwards,
/// until one is missing, or has expired.
fn kept(entries: Vec<Entry>, top: u64, now: u64) -> Vec<(u64, Vec<u8>)> {
    let expected = (1..=top).rev();
    let still = entries.into_iter().zip(expected);
    still
        .take_while(|(entry, offset)| entry.offset == *offset && entry.expires_at > now)
        .map(|(entry, offset)| (offset, entry.payload))
        .collect()
}

/// The part that was asked for, in the order of the offsets.
fn cut(mut latest: Vec<(u64, Vec<u8>)>, position: Position, span: Span, size: usize) -> Batch {
    let (count, is_whole) = match span {
        Span::Nothing => (0, true),
        Span::Latest => (1, true),
        Span::All => (size, true),
        Span::After(offset) => match position.offset.checked_sub(offset) {
            Some(missed) => {
                let missed = usize::try_from(missed).unwrap_or(usize::MAX);
                let is_whole = missed <= latest.len() && missed <= RECOVERED_MAX;
                (if is_whole { missed } else { 0 }, is_whole)
            }
            None => (0, false),
        },
    };
    latest.truncate(count);
    latest.reverse();
    Batch { position, entries: latest, is_whole }
}

/// An entry of a list, or of a stream.
fn entry(value: Value) -> Result<Entry, Malformed> {
    if let Value::BulkString(bytes) = value {
        return list_entry(bytes).ok_or(Malformed);
    }
    let [id, fields]: [Value; 2] = array(value)?.try_into().map_err(|_| Malformed)?;
    let offset = text(&id)?.strip_suffix(b"-0").and_then(parse_number).ok_or(Malformed)?;
    let [_, expiry, _, payload]: [Value; 4] = array(fields)?.try_into().map_err(|_| Malformed)?;
    let expires_at = parse_number(text(&expiry)?).ok_or(Malformed)?;
    Ok(Entry { offset, expires_at, payload: bytes(payload)? })
}

/// OFFSET `:` EXPIRY `:` PAYLOAD.
fn list_entry(mut bytes: Vec<u8>) -> Option<Entry> {
    let first = memchr::memchr(b':', &bytes)?;
    let second = first + 1 + memchr::memchr(b':', &bytes[first + 1..])?;
    let offset = parse_number(&bytes[..first])?;
    let expires_at = parse_number(&bytes[first + 1..second])?;
    bytes.drain(..=second);
    Some(Entry { offset, expires_at, payload: bytes })
}

/// What `INFO replication` says of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Replication {
    /// Whether it is no copy of another one.
    pub(super) is_master: bool,
    /// The name of the history of its data: a server that is started, or that becomes a master, has a new one.
    pub(super) id: Box<str>,
}

/// The answer of `INFO replication`.
pub(super) fn replication(value: &Value) -> Result<Replication, Malformed> {
    let info = if let Value::VerbatimString { text, .. } = value {
        text
    } else {
        str::from_utf8(text(value)?).map_err(|_| Malformed)?
    };
    let field = |name: &str| {
        let mut lines = info.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).ok_or(Malformed)
    };
    Ok(Replication { is_master: field("role")? == "master", id: field("master_replid")?.into() })
}

/// An array of a host and a port.
pub(super) fn address(value: Value) -> Result<(String, u16), Malformed> {
    let [host, port]: [Value; 2] = array(value)?.try_into().map_err(|_| Malformed)?;
    let host = str::from_utf8(text(&host)?).map_err(|_| Malformed)?.to_owned();
    let port = str::from_utf8(text(&port)?).map_err(|_| Malformed)?;
    Ok((host, port.parse().map_err(|_| Malformed)?))
}

/// Slots of a Cluster that one master has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SlotRange {
    pub(super) slots: RangeInclusive<u16>,
    /// `None` if it is where it was asked.
    pub(super) host: Option<String>,
    pub(super) port: u16,
}

/// The answer of `CLUSTER SLOTS`: of each range its bounds, its master, and others.
pub(super) fn slots(value: Value) -> Result<Vec<SlotRange>, Malformed> {
    array(value)?.into_iter().map(slot_range).collect()
}

fn slot_range(value: Value) -> Result<SlotRange, Malformed> {
    let mut items = array(value)?.into_iter();
    let mut next = || items.next().ok_or(Malformed);
    let (first, last, master) = (number(&next()?)?, number(&next()?)?, next()?);
    let mut items = array(master)?.into_iter();
    let mut next = || items.next().ok_or(Malformed);
    let (host, port) = (next()?, number(&next()?)?);
    let host = match text(&host) {
        Ok(b"") | Err(Malformed) => None,
        Ok(host) => Some(String::from_utf8(host.to_vec()).map_err(|_| Malformed)?),
    };
    Ok(SlotRange { slots: first..=last, host, port })
}

fn number(value: &Value) -> Result<u16, Malformed> {
    let Value::Int(number) = value else { return Err(Malformed) };
    u16::try_from(*number).map_err(|_| Malformed)
}

/// The elements of an array.
pub(super) fn array(value: Value) -> Result<Vec<Value>, Malformed> {
    if let Value::Array(items) = value { Ok(items) } else { Err(Malformed) }
}

/// The bytes of a string, as its own.
pub(super) fn bytes(value: Value) -> Result<Vec<u8>, Malformed> {
    if let Value::BulkString(bytes) = value { Ok(bytes) } else { Err(Malformed) }
}

/// The bytes of a string.
pub(super) fn text(value: &Value) -> Result<&[u8], Malformed> {
    if let Value::BulkString(bytes) = value {
        return Ok(bytes);
    }
    if let Value::SimpleString(text) = value { Ok(text.as_bytes()) } else { Err(Malformed) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::channels::Epoch;

    #[expect(clippy::needless_pass_by_value, reason = "it is called with texts and numbers")]
    fn string(text: impl ToString) -> Value {
        Value::BulkString(text.to_string().into_bytes())
    }

    /// Entries with the times at which they expire; the part asked for; what is given.
    type Case<'c> = (&'c [(u64, u64)], Span, RangeInclusive<u64>, bool);

    fn read(top: u64, now: u64, entries: Vec<Value>) -> Value {
        Value::Array(vec![string(format!("0000000a:{top}")), string(now), Value::Array(entries)])
    }

    fn in_list(entries: &[(u64, u64)]) -> Vec<Value> {
        let entry = |(offset, expiry): &(u64, u64)| string(format!("{offset}:{expiry}:p:{offset}"));
        entries.iter().map(entry).collect()
    }

    fn in_stream(entries: &[(u64, u64)]) -> Vec<Value> {
        let entry = |(offset, expiry): &(u64, u64)| {
            let fields =
                vec![string("e"), string(expiry), string("d"), string(format!("p:{offset}"))];
            Value::Array(vec![string(format!("{offset}-0")), Value::Array(fields)])
        };
        entries.iter().rev().map(entry).collect()
    }

    fn wanted(top: u64, offsets: RangeInclusive<u64>, is_whole: bool) -> Batch {
        let entries = offsets.map(|offset| (offset, format!("p:{offset}").into_bytes())).collect();
        Batch { position: Position { offset: top, epoch: Epoch(10) }, entries, is_whole }
    }

    #[expect(clippy::reversed_empty_ranges, reason = "no offset is wanted")]
    #[test]
    fn only_what_is_proven_to_be_kept_is_given() {
        let nothing = 1..=0;
        let cases: Vec<Case<'_>> = vec![
            (&[(3, 9), (4, 9), (5, 9)], Span::All, 3..=5, true),
            (&[(3, 9), (4, 9), (5, 9)], Span::Latest, 5..=5, true),
            (&[(3, 9), (4, 9), (5, 9)], Span::Nothing, nothing.clone(), true),
            (&[(3, 9), (4, 9), (5, 9)], Span::After(2), 3..=5, true),
            (&[(3, 9), (4, 9), (5, 9)], Span::After(4), 5..=5, true),
            (&[(3, 9), (4, 9), (5, 9)], Span::After(5), nothing.clone(), true),
            (&[(3, 9), (4, 9), (5, 9)], Span::After(1), nothing.clone(), false),
            (&[(3, 9), (4, 9), (5, 9)], Span::After(6), nothing.clone(), false),
            // The middle one has expired, so the first is behind a gap.
            (&[(3, 9), (4, 7), (5, 9)], Span::All, 5..=5, true),
            (&[(3, 9), (4, 7), (5, 9)], Span::After(3), nothing.clone(), false),
            // The last is missing, or of another count.
            (&[(3, 9), (4, 9)], Span::All, nothing.clone(), true),
            (&[(3, 9), (5, 9)], Span::After(3), nothing.clone(), false),
            (&[(3, 9), (5, 9)], Span::After(4), 5..=5, true),
            (&[(4, 9), (5, 9), (6, 9)], Span::Latest, nothing.clone(), true),
            (&[], Span::After(5), nothing.clone(), true),
            (&[], Span::After(4), nothing, false),
        ];
        for (entries, span, offsets, is_whole) in cases {
            for form in [in_list(entries), in_stream(entries)] {
                let given = batch(read(5, 7, form), span, 100).unwrap();
                assert_eq!(given, wanted(5, offsets.clone(), is_whole), "{entries:?} {span:?}");
            }
        }
    }

    #[test]
    fn ranges_of_slots_have_their_master() {
        let node = |host: Value, port| {
            Value::Array(vec![host, Value::Int(port), string("id"), Value::Array(vec![])])
        };
        let range = |first, last, master| {
            let replica = node(string("192.0.2.9"), 1);
            Value::Array(vec![Value::Int(first), Value::Int(last), master, replica])
        };
        let found = slots(Value::Array(vec![
            range(0, 9, node(string("192.0.2.1"), 7)),
            range(10, 16_383, node(Value::Nil, 8)),
            range(3, 3, node(string(""), 9)),
        ]));
        let wanted = |slots, host: Option<&str>, port| SlotRange {
            slots,
            host: host.map(str::to_owned),
            port,
        };
        let wanted = vec![
            wanted(0..=9, Some("192.0.2.1"), 7),
            wanted(10..=16_383, None, 8),
            wanted(3..=3, None, 9),
        ];
        assert_eq!(found, Ok(wanted));
        let outside = Value::Array(vec![range(0, 70_000, node(Value::Nil, 8))]);
        assert_eq!(slots(outside), Err(Malformed));
    }

    proptest! {
        #[test]
        fn what_is_no_answer_is_refused(text in "[0-9a:-]{0,14}", texts in prop::collection::vec("[0-9:]{0,4}", 0..4)) {
            let _ = published(&string(&text));
            let _ = positions(Value::Array(vec![string(&text)]));
            let entries: Vec<Value> = texts.into_iter().map(string).collect();
            let _ = batch(read(5, 7, entries.clone()), Span::All, 3);
            prop_assert_eq!(batch(Value::Array(entries), Span::All, 3), Err(Malformed));
            prop_assert_eq!(published(&Value::Nil), Err(Malformed));
        }
    }
}
