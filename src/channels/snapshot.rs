//! Streams as the bytes of a file, which the process that takes over reads.
//!
//! A header of fixed length comes first, with integers in little-endian order: the magic bytes, the version,
//! the key of the handover, the date, the length of what follows, and a CRC-64 (as xz computes it) of these three
//! and of what follows.
//! The streams follow, one behind the other, as `postcard` encodes them. A file that is not exactly that is
//! refused whole: a stream of which a part is missing would give offsets twice.

use std::collections::HashSet;
use std::sync::Arc;

use crc::{CRC_64_XZ, Crc, Digest, Table};
use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;

use super::history::{Publication, PublicationDetails};
use super::idempotency::{IDEMPOTENCY_KEY_BYTES_MAX, IDEMPOTENT_MAX};
use super::memory_engine::MemoryLimits;
use super::name::{ChannelName, NAME_BYTES_MAX};
use super::position::{Epoch, Position};
use super::presence::{ClientId, ClientInfo};
use super::stream_copy::{KeyCopy, StreamCopy};
use crate::timer::WallTime;

/// Bytes of the header.
pub const HEADER_BYTES: usize = MAGIC.len() + 4 + SNAPSHOT_KEY_BYTES + 8 + 8 + 8;
/// Bytes of the key by which a process finds the file of its own handover.
pub const SNAPSHOT_KEY_BYTES: usize = 16;

const MAGIC: &[u8; 8] = b"tidechan";
/// Another number for each change of what follows the header.
const VERSION: u32 = 1;
static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_XZ);

/// Bytes of the longest file that belongs to these limits.
#[must_use]
pub fn snapshot_bytes_max(limits: MemoryLimits) -> u64 {
    let of_streams = (limits.streams_max as u64).saturating_mul(STREAM_BYTES);
    (limits.bytes_max as u64).saturating_add(of_streams).saturating_add(HEADER_BYTES as u64)
}

/// Of each stream: its name, its numbers, and some keys. What is left over of some serves others.
const STREAM_BYTES: u64 = NAME_BYTES_MAX as u64 + 257;

/// Which file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotHeader {
    /// The key of the handover that it belongs to.
    pub key: [u8; SNAPSHOT_KEY_BYTES],
    /// When it was made.
    pub made_at: WallTime,
}

/// Why a file is not taken.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SnapshotError {
    /// It does not begin as one.
    #[error("it is no snapshot of channels")]
    Foreign,
    /// Its form is that of another version of the gateway.
    #[error("its version is {0}, and {VERSION} is expected")]
    Version(u32),
    /// It belongs to another handover.
    #[error("it is of another handover")]
    OtherHandover,
    /// It is shorter or longer than it says.
    #[error("its length is not the one that it states")]
    Length,
    /// Its checksum does not fit.
    #[error("its checksum is wrong")]
    Checksum,
    /// A stream in it makes no sense.
    #[error("a stream in it is invalid")]
    Stream,
}

#[derive(Deserialize, Serialize)]
struct StreamRecord<'a> {
    #[serde(borrow)]
    channel: &'a str,
    epoch: u32,
    offset: u64,
    kept_ms: u64,
    #[serde(borrow)]
    entries: Vec<EntryRecord<'a>>,
    #[serde(borrow)]
    keys: Vec<KeyRecord<'a>>,
}

#[derive(Deserialize, Serialize)]
struct KeyRecord<'a> {
    #[serde(borrow)]
    key: &'a str,
    /// Epoch and offset.
    result: Option<(u32, u64)>,
    kept_ms: u64,
}

#[derive(Deserialize, Serialize)]
struct EntryRecord<'a> {
    kept_ms: u64,
    #[serde(borrow)]
    data: Bytes<'a>,
    #[serde(borrow)]
    details: Option<DetailsRecord<'a>>,
}

#[derive(Deserialize, Serialize)]
struct DetailsRecord<'a> {
    #[serde(borrow)]
    info: Option<InfoRecord<'a>>,
    #[serde(borrow)]
    tags: Vec<(&'a str, &'a str)>,
    #[serde(default)]
    is_binary: bool,
}

#[derive(Deserialize, Serialize)]
struct InfoRecord<'a> {
    #[serde(borrow)]
    user: &'a str,
    client: [u8; 16],
    #[serde(borrow)]
    conn_info: Option<Bytes<'a>>,
    #[serde(borrow)]
    chan_info: Option<Bytes<'a>>,
}

/// Bytes that are copied at once: serde takes a slice for a sequence of numbers.
#[derive(Clone, Copy, Deserialize)]
struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// Makes a snapshot, some streams at a time.
pub struct SnapshotWriter {
    digest: Digest<'static, u64, Table<16>>,
    body_bytes: u64,
}

impl Default for SnapshotWriter {
    fn default() -> Self {
        Self { digest: CRC.digest(), body_bytes: 0 }
    }
}

impl std::fmt::Debug for SnapshotWriter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SnapshotWriter").field("body_bytes", &self.body_bytes).finish()
    }
}

impl SnapshotWriter {
    /// The bytes of these streams, which belong behind those of the streams before.
    ///
    /// # Errors
    /// [`SnapshotError::Stream`] if one cannot be written down.
    pub fn append(&mut self, streams: &[StreamCopy]) -> Result<Vec<u8>, SnapshotError> {
        let mut bytes = Vec::new();
        for stream in streams {
            let record = StreamRecord::of(stream);
            bytes = postcard::to_extend(&record, bytes).map_err(|_| SnapshotError::Stream)?;
        }
        self.append_raw(&bytes);
        Ok(bytes)
    }

    /// Counts bytes as those of streams, whatever they are.
    pub fn append_raw(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
        self.body_bytes += bytes.len() as u64;
    }

    /// Bytes of all streams so far.
    #[must_use]
    pub fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// The header, which belongs before all streams.
    #[must_use]
    pub fn finish(mut self, header: SnapshotHeader) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let numbers = header.numbers(self.body_bytes);
        self.digest.update(&numbers);
        let crc = self.digest.finalize().to_le_bytes();
        let parts = [&MAGIC[..], &VERSION.to_le_bytes(), &numbers, &crc].concat();
        bytes.copy_from_slice(&parts);
        bytes
    }
}

impl SnapshotHeader {
    /// What the checksum covers beside the streams.
    fn numbers(&self, body_bytes: u64) -> Vec<u8> {
        [&self.key[..], &self.made_at.0.to_le_bytes(), &body_bytes.to_le_bytes()].concat()
    }
}

/// Reads the snapshot of the handover with this key: when it was made, and the streams.
///
/// # Errors
/// The first reason not to take it.
pub fn parse_snapshot(
    bytes: &[u8],
    key: &[u8; SNAPSHOT_KEY_BYTES],
) -> Result<(WallTime, Vec<StreamCopy>), SnapshotError> {
    let (magic, rest) = bytes.split_first_chunk::<8>().ok_or(SnapshotError::Foreign)?;
    if magic != MAGIC {
        return Err(SnapshotError::Foreign);
    }
    let (version, rest) = rest.split_first_chunk::<4>().ok_or(SnapshotError::Length)?;
    let version = u32::from_le_bytes(*version);
    if version != VERSION {
        return Err(SnapshotError::Version(version));
    }
    let (own_key, rest) = rest.split_first_chunk().ok_or(SnapshotError::Length)?;
    let (made_at, rest) = rest.split_first_chunk().ok_or(SnapshotError::Length)?;
    let (length, rest) = rest.split_first_chunk().ok_or(SnapshotError::Length)?;
    let (crc, body) = rest.split_first_chunk().ok_or(SnapshotError::Length)?;
    if own_key != key {
        return Err(SnapshotError::OtherHandover);
    }
    let header = SnapshotHeader { key: *own_key, made_at: WallTime(u64::from_le_bytes(*made_at)) };
    let length = u64::from_le_bytes(*length);
    if length != body.len() as u64 {
        return Err(SnapshotError::Length);
    }
    let mut digest = CRC.digest();
    digest.update(body);
    digest.update(&header.numbers(length));
    if digest.finalize() != u64::from_le_bytes(*crc) {
        return Err(SnapshotError::Checksum);
    }
    Ok((header.made_at, streams(body)?))
}

fn streams(mut body: &[u8]) -> Result<Vec<StreamCopy>, SnapshotError> {
    let (mut streams, mut names) = (Vec::new(), HashSet::new());
    while !body.is_empty() {
        let (record, rest) = postcard::take_from_bytes::<StreamRecord<'_>>(body)
            .map_err(|_| SnapshotError::Stream)?;
        if !names.insert(record.channel) || !record.is_valid() {
            return Err(SnapshotError::Stream);
        }
        streams.push(record.to_copy());
        body = rest;
    }
    Ok(streams)
}

impl<'a> StreamRecord<'a> {
    fn of(stream: &'a StreamCopy) -> Self {
        let StreamCopy { channel, position, kept_ms, entries, keys } = stream;
        let entries = entries.iter();
        let result = |own: Position| (own.epoch.0, own.offset);
        let keys = keys.iter();
        Self {
            channel,
            epoch: position.epoch.0,
            offset: position.offset,
            kept_ms: *kept_ms,
            entries: entries.map(|(own, kept_ms)| EntryRecord::of(own, *kept_ms)).collect(),
            keys: keys
                .map(|own| KeyRecord {
                    key: &own.key,
                    result: own.result.map(result),
                    kept_ms: own.kept_ms,
                })
                .collect(),
        }
    }

    /// Whether an engine may hold such a stream.
    fn is_valid(&self) -> bool {
        ChannelName::parse(self.channel).is_ok()
            && self.entries.len() as u64 <= self.offset
            && self.keys.len() <= IDEMPOTENT_MAX
            && self.keys.iter().all(|own| own.key.len() <= IDEMPOTENCY_KEY_BYTES_MAX)
    }

    fn to_copy(&self) -> StreamCopy {
        let position = |(epoch, offset)| Position { offset, epoch: Epoch(epoch) };
        let entries = self.entries.iter().map(|own| (own.to_publication(), own.kept_ms));
        let keys = self.keys.iter().map(|own| KeyCopy {
            key: Box::from(own.key),
            result: own.result.map(position),
            kept_ms: own.kept_ms,
        });
        StreamCopy {
            channel: Arc::from(self.channel),
            position: position((self.epoch, self.offset)),
            kept_ms: self.kept_ms,
            entries: entries.collect(),
            keys: keys.collect(),
        }
    }
}

impl<'a> EntryRecord<'a> {
    fn of(publication: &'a Publication, kept_ms: u64) -> Self {
        let details = publication.details.as_deref().map(|own| DetailsRecord {
            info: own.info.as_ref().map(|info| InfoRecord {
                user: &info.user,
                client: info.client.to_bytes(),
                conn_info: info.conn_info.as_deref().map(Bytes),
                chan_info: info.chan_info.as_deref().map(Bytes),
            }),
            tags: own.tags.iter().map(|(name, value)| (&**name, &**value)).collect(),
            is_binary: own.is_binary,
        });
        Self { kept_ms, data: Bytes(&publication.data), details }
    }

    fn to_publication(&self) -> Publication {
        let details = self.details.as_ref().map(|own| {
            let info = own.info.as_ref().map(|info| ClientInfo {
                user: info.user.into(),
                client: ClientId::new(info.client),
                conn_info: info.conn_info.map(|own| own.0.into()),
                chan_info: info.chan_info.map(|own| own.0.into()),
            });
            let tags = own.tags.iter();
            let tags = tags.map(|(name, value)| (Box::from(*name), Box::from(*value))).collect();
            Arc::new(PublicationDetails { info, tags, is_binary: own.is_binary })
        });
        Publication { data: self.data.0.into(), details }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: [u8; SNAPSHOT_KEY_BYTES] = [7; SNAPSHOT_KEY_BYTES];
    const HEADER: SnapshotHeader = SnapshotHeader { key: KEY, made_at: WallTime(5) };

    fn publication() -> impl Strategy<Value = (Publication, u64)> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..20);
        let info = (".{0,5}", any::<[u8; 16]>(), prop::option::of(bytes()));
        let info = info.prop_map(|(user, client, info)| ClientInfo {
            user: user.into(),
            client: ClientId::new(client),
            conn_info: info.clone().map(Into::into),
            chan_info: info.map(Into::into),
        });
        let tags = prop::collection::vec((".{0,3}", ".{0,3}"), 0..3);
        let tags = tags.prop_map(|all| {
            let boxed = |(name, value): (String, String)| (name.into(), value.into());
            all.into_iter().map(boxed).collect::<Vec<(Box<str>, Box<str>)>>()
        });
        let details = (prop::option::of(info), tags, any::<bool>());
        let details = details.prop_map(|(info, tags, is_binary)| {
            Arc::new(PublicationDetails { info, tags, is_binary })
        });
        (bytes(), prop::option::of(details), any::<u64>())
            .prop_map(|(data, details, ms)| (Publication { data: data.into(), details }, ms))
    }

    fn stream() -> impl Strategy<Value = StreamCopy> {
        let position = || {
            (any::<u32>(), 4..u64::MAX)
                .prop_map(|(epoch, offset)| Position { offset, epoch: Epoch(epoch) })
        };
        let key = ("[a-z]{0,8}", prop::option::of(position()), any::<u64>());
        let key =
            key.prop_map(|(key, result, kept_ms)| KeyCopy { key: key.into(), result, kept_ms });
        (
            "[ -~]{1,20}",
            position(),
            any::<u64>(),
            prop::collection::vec(publication(), 0..4),
            prop::collection::vec(key, 0..4),
        )
            .prop_map(|(channel, position, kept_ms, entries, keys)| StreamCopy {
                channel: channel.into(),
                position,
                kept_ms,
                entries,
                keys,
            })
    }

    fn file(streams: &[StreamCopy]) -> Vec<u8> {
        let mut writer = SnapshotWriter::default();
        let body: Vec<u8> = streams.chunks(2).flat_map(|own| writer.append(own).unwrap()).collect();
        assert_eq!(writer.body_bytes(), body.len() as u64);
        [&writer.finish(HEADER)[..], &body].concat()
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(streams in prop::collection::vec(stream(), 0..6)) {
            let mut names = HashSet::new();
            let streams: Vec<StreamCopy> =
                streams.into_iter().filter(|own| names.insert(Arc::clone(&own.channel))).collect();
            let bytes = file(&streams);
            prop_assert_eq!(parse_snapshot(&bytes, &KEY), Ok((WallTime(5), streams)));
        }

        /// One bit that is another, one byte more or less: the file is refused whole.
        #[test]
        fn what_is_damaged_is_refused(
            streams in prop::collection::vec(stream(), 1..4),
            at in any::<prop::sample::Index>(),
            bit in 0..8_u8,
        ) {
            let bytes = file(&streams[..1]);
            let mut damaged = bytes.clone();
            damaged[at.index(bytes.len())] ^= 1 << bit;
            prop_assert!(parse_snapshot(&damaged, &KEY).is_err());
            prop_assert!(parse_snapshot(&bytes[..at.index(bytes.len())], &KEY).is_err());
            let longer = [&bytes[..], &[0]].concat();
            prop_assert_eq!(parse_snapshot(&longer, &KEY), Err(SnapshotError::Length));
        }

        #[test]
        fn no_bytes_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_snapshot(&body, &KEY);
            let _ = streams(&body);
        }
    }

    #[test]
    fn a_file_of_another_kind_version_or_handover_is_refused() {
        let bytes = file(&[]);
        assert_eq!(bytes.len(), HEADER_BYTES);
        assert_eq!(parse_snapshot(&bytes, &KEY), Ok((WallTime(5), Vec::new())));
        let mut other = bytes.clone();
        other[8] = 9;
        assert_eq!(parse_snapshot(&other, &KEY), Err(SnapshotError::Version(9)));
        assert_eq!(parse_snapshot(&bytes, &[8; 16]), Err(SnapshotError::OtherHandover));
        assert_eq!(parse_snapshot(b"", &KEY), Err(SnapshotError::Foreign));
        assert_eq!(parse_snapshot(b"tidegate", &KEY), Err(SnapshotError::Foreign));
    }

    #[test]
    fn a_stream_that_no_engine_holds_is_refused() {
        let own = StreamCopy {
            channel: "a".into(),
            position: Position { offset: 1, epoch: Epoch(1) },
            kept_ms: 1,
            entries: vec![(Publication::new(*b"{}"), 1)],
            keys: Vec::new(),
        };
        let refused = |streams: &[StreamCopy]| parse_snapshot(&file(streams), &KEY).is_err();
        assert!(!refused(std::slice::from_ref(&own)));
        assert!(refused(&[own.clone(), own.clone()]), "one channel twice");
        let more = vec![own.entries[0].clone(); 2];
        assert!(refused(&[StreamCopy { entries: more, ..own.clone() }]), "more than ever were");
        assert!(refused(&[StreamCopy { channel: "".into(), ..own }]));
    }
}
