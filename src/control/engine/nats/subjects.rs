//! The names of subjects and streams, and the channel of a subject.
//!
//! | subject | what it is |
//! |---|---|
//! | `tg.pub.NAMESPACE.PARTITION.BUCKET.CHANNEL` | publications that are kept; the stream `tg_NAMESPACE_PARTITION` has them |
//! | `tg.live.NAMESPACE.PARTITION.BUCKET.CHANNEL` | what members hear: copies that the stream makes, publications that are not kept, and notes |
//! | `tg.pub.NAMESPACE.PARTITION.beacon` | asks the leader of the stream whether it serves; nothing is kept there |
//! | `tg.keys.NAMESPACE.PARTITION.BUCKET.CHANNEL` | publications with keys that are not kept; the stream `tg_keys` takes each key once |
//! | `tg.nodes`, `tg.node.NUMBER` | what nodes tell each other |
//!
//! The channel is one token: its name in base64url without padding.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::settings::{PARTITIONS_MAX, SubjectPrefix};
use crate::channels::{ChannelName, NAME_BYTES_MAX};
use crate::control::engine::decimal::Decimal;

/// Writes subjects.
#[derive(Clone, Debug)]
pub(super) struct Subjects {
    prefix: SubjectPrefix,
    partitions: u16,
}

/// Where a channel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Section<'n> {
    /// The namespace.
    pub(super) namespace: &'n str,
    /// The part of its channels, one of 256, that may share one subscription.
    pub(super) bucket: u8,
}

impl<'n> Section<'n> {
    /// That of a channel.
    pub(super) fn of(channel: &'n str) -> Self {
        let namespace = ChannelName::parse(channel).map_or("", |name| name.namespace());
        let [bucket, ..] = hash(channel.as_bytes()).to_be_bytes();
        Self { namespace, bucket }
    }
}

impl Subjects {
    pub(super) fn new(prefix: SubjectPrefix, partitions: u16) -> Self {
        Self { prefix, partitions: partitions.clamp(1, PARTITIONS_MAX) }
    }

    /// The partition of a bucket.
    pub(super) fn partition(&self, bucket: u8) -> u16 {
        u16::from(bucket) % self.partitions
    }

    /// Where a channel's publications are kept.
    pub(super) fn kept(&self, channel: &str) -> String {
        self.of_channel("pub", channel)
    }

    /// Where publications with keys go that are not kept.
    pub(super) fn keyed(&self, channel: &str) -> String {
        self.of_channel("keys", channel)
    }

    /// All publications with keys that are not kept, and where they are heard.
    pub(super) fn all_keyed(&self) -> [String; 2] {
        ["keys", "live"].map(|kind| format!("{}.{kind}.>", self.prefix.as_str()))
    }

    /// The name of the stream of keys.
    pub(super) fn keys_stream(&self) -> String {
        format!("{}_keys", self.prefix.as_str())
    }

    /// Where a channel is heard.
    pub(super) fn live(&self, channel: &str) -> String {
        self.of_channel("live", channel)
    }

    /// Where all channels of a section are heard.
    pub(super) fn live_section(&self, section: Section<'_>) -> String {
        format!("{}.*", self.of_section("live", section))
    }

    /// All that the stream of a partition keeps, and where it is heard.
    pub(super) fn of_stream(&self, namespace: &str, partition: u16) -> [String; 2] {
        ["pub", "live"].map(|kind| {
            let prefix = self.prefix.as_str();
            format!("{prefix}.{kind}.{}.{partition}.>", namespace_token(namespace))
        })
    }

    /// The subject of no channel that the stream of a partition keeps.
    pub(super) fn beacon(&self, namespace: &str, partition: u16) -> String {
        format!("{}.pub.{}.{partition}.beacon", self.prefix.as_str(), namespace_token(namespace))
    }

    /// The name of the stream of a partition.
    pub(super) fn stream(&self, namespace: &str, partition: u16) -> String {
        format!("{}_{}_{partition}", self.prefix.as_str(), namespace_token(namespace))
    }

    /// Where all nodes hear each other.
    pub(super) fn nodes(&self) -> String {
        format!("{}.nodes", self.prefix.as_str())
    }

    /// Where one node hears others.
    pub(super) fn node(&self, number: u64) -> String {
        format!("{}.node.{number}", self.prefix.as_str())
    }

    fn of_channel(&self, kind: &str, channel: &str) -> String {
        let mut subject = self.of_section(kind, Section::of(channel));
        subject.push('.');
        URL_SAFE_NO_PAD.encode_string(channel, &mut subject);
        subject
    }

    fn of_section(&self, kind: &str, section: Section<'_>) -> String {
        let Section { namespace, bucket } = section;
        let partition = self.partition(bucket);
        let (prefix, namespace) = (self.prefix.as_str(), namespace_token(namespace));
        let numbers = [partition.into(), bucket.into()].map(Decimal::new);
        let [partition, bucket] = numbers.each_ref().map(Decimal::as_str);
        // Each publication has one: the formatter would take several times as long.
        let mut subject = String::with_capacity(SUBJECT_BYTES);
        subject.push_str(prefix);
        for token in [kind, &namespace, partition, bucket] {
            subject.push('.');
            subject.push_str(token);
        }
        subject
    }
}

/// The channel of a subject, which is its last token; `None` if that is no name.
pub(super) fn with_channel_of<R>(subject: &str, then: impl FnOnce(&str) -> R) -> Option<R> {
    let (_, token) = subject.rsplit_once('.')?;
    // More than any name decodes to, as the decoder wants whole blocks.
    let mut name = [0; NAME_BYTES_MAX + 3];
    let count = URL_SAFE_NO_PAD.decode_slice(token, &mut name).ok()?;
    let name = std::str::from_utf8(name.get(..count)?).ok()?;
    ChannelName::parse(name).is_ok().then(|| then(name))
}

/// The id under which a stream takes a publication once.
pub(super) fn message_id(channel: &str, key: &str) -> String {
    format!("{}:{}", URL_SAFE_NO_PAD.encode(channel), URL_SAFE_NO_PAD.encode(key))
}

/// A namespace as one token: `.` becomes `~`, which no namespace has, and the default one is `=`.
fn namespace_token(namespace: &str) -> Cow<'_, str> {
    match namespace {
        "" => Cow::Borrowed("="),
        plain if !plain.contains('.') => Cow::Borrowed(plain),
        dotted => Cow::Owned(dotted.replace('.', "~")),
    }
}

/// FNV-1a with the finish of MurmurHash3, so that each byte counts for each bit: the same for all versions and
/// nodes.
pub(super) fn hash(bytes: &[u8]) -> u32 {
    let raw = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let half = (raw ^ (raw >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let full = (half ^ (half >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    let [a, b, c, d, ..] = (full ^ (full >> 33)).to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// Room for a subject with a channel of 40 bytes.
const SUBJECT_BYTES: usize = 96;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn subjects(partitions: u16) -> Subjects {
        Subjects::new(SubjectPrefix::default(), partitions)
    }

    proptest! {
        #[test]
        fn a_channel_is_found_in_its_subject(channel in "[ -~]{1,255}", partitions in 1_u16..=256) {
            let subjects = subjects(partitions);
            for subject in [subjects.kept(&channel), subjects.live(&channel)] {
                let found = with_channel_of(&subject, str::to_owned);
                prop_assert_eq!(found.as_ref(), Some(&channel));
            }
        }

        #[test]
        fn a_valid_channel_is_one_token_below_its_section_and_stream(
            namespace in "[a-zA-Z0-9_.-]{0,20}", rest in "[ -~&&[^:]]{0,100}", partitions in 1_u16..=8,
        ) {
            let channel = format!("{namespace}:{rest}");
            let subjects = subjects(partitions);
            let section = Section::of(&channel);
            prop_assert_eq!(section.namespace, namespace.strip_prefix('$').unwrap_or(&namespace));
            let live = subjects.live(&channel);
            let all = subjects.live_section(section);
            let (begin, token) = live.rsplit_once('.').unwrap();
            prop_assert_eq!(all, format!("{begin}.*"));
            prop_assert!(!token.contains([' ', '*', '>', '.']));
            let [kept, heard] =
                subjects.of_stream(section.namespace, subjects.partition(section.bucket));
            prop_assert!(subjects.kept(&channel).starts_with(kept.strip_suffix('>').unwrap()));
            prop_assert!(live.starts_with(heard.strip_suffix('>').unwrap()));
            prop_assert!(live.len() < 512);
        }

        #[test]
        fn any_subject_has_a_channel_or_none(subject in "\\PC{0,40}|tg[.][a-zA-Z0-9_=-]{0,400}") {
            let _ = with_channel_of(&subject, str::len);
        }
    }

    #[test]
    fn namespaces_have_tokens_of_their_own() {
        let tokens = ["", ".", "-", "_", "a.b", "a~b"].map(namespace_token);
        assert_eq!(tokens, ["=", "~", "-", "_", "a~b", "a~b"]);
    }

    #[test]
    fn channels_are_spread() {
        let mut counts = vec![0; 256];
        for number in 0..25_600 {
            counts[usize::from(Section::of(&format!("chat:room-{number}")).bucket)] += 1;
        }
        assert!(counts.iter().all(|count| (50..200).contains(count)), "{counts:?}");
    }
}
