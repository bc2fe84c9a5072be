//! Publications, and who comes and goes, as the bytes that nodes give to each other.
//!
//! The version comes first, a byte, then one of flags. What the flags announce follows in the order of their
//! values, and the data of a publication is the rest. Lengths and counts are numbers of 7 bits a byte, the low
//! ones first, the highest bit set in all but the last byte (LEB128), without needless bytes: so each value has
//! one form. What is of another version or has a flag that is not known is refused, as a node of a later version
//! may have meant something by it.

use std::sync::Arc;

use thiserror::Error;

use crate::channels::{Change, ClientId, ClientInfo, Publication, PublicationDetails};

/// Bytes that no node of this version writes.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum InvalidPayload {
    /// They are of a node of another version.
    #[error("the version is {0}")]
    Version(u8),
    /// A flag is not known.
    #[error("the flags are {0:#x}")]
    Flags(u8),
    /// They end too early.
    #[error("it ends too early")]
    Truncated,
    /// A length or a count is not a number.
    #[error("a length is malformed")]
    Length,
    /// A text is not UTF-8.
    #[error("a text is not UTF-8")]
    Text,
    /// There are more bytes than they say.
    #[error("it goes on behind its end")]
    TooLong,
}

/// The bytes of a publication.
#[must_use]
pub fn write_publication(publication: &Publication) -> Vec<u8> {
    let Publication { data, details } = publication;
    let Some(details) = details else {
        return [&[VERSION, 0], &data[..]].concat();
    };
    let PublicationDetails { info, tags, is_binary } = &**details;
    let mut flags = HAS_DETAILS | if *is_binary { IS_BINARY } else { 0 };
    flags |= if tags.is_empty() { 0 } else { HAS_TAGS };
    flags |= info.as_ref().map_or(0, |own| HAS_INFO | info_flags(own));
    let mut bytes = Vec::with_capacity(data.len() + DETAILS_BYTES);
    bytes.extend([VERSION, flags]);
    if let Some(info) = info {
        write_info(&mut bytes, info);
    }
    if !tags.is_empty() {
        write_number(&mut bytes, tags.len());
        for (name, value) in tags {
            write_part(&mut bytes, name.as_bytes());
            write_part(&mut bytes, value.as_bytes());
        }
    }
    bytes.extend_from_slice(data);
    bytes
}

/// The publication that was written so.
///
/// # Errors
/// Any other bytes.
pub fn read_publication(bytes: &[u8]) -> Result<Publication, InvalidPayload> {
    let (flags, mut rest) = read_head(bytes)?;
    let known = HAS_DETAILS | IS_BINARY | HAS_TAGS | HAS_INFO | HAS_CONN_INFO | HAS_CHAN_INFO;
    let has = |flag: u8| flags & flag > 0;
    let has_infos = has(HAS_CONN_INFO) || has(HAS_CHAN_INFO);
    let has_more = has(IS_BINARY) || has(HAS_TAGS) || has(HAS_INFO);
    let is_known = flags & !known == 0;
    if !is_known || (has_infos && !has(HAS_INFO)) || (has_more && !has(HAS_DETAILS)) {
        return Err(InvalidPayload::Flags(flags));
    }
    let info = if has(HAS_INFO) { Some(read_info(&mut rest, flags)?) } else { None };
    let tags = if has(HAS_TAGS) { read_tags(&mut rest)? } else { Vec::new() };
    let details = PublicationDetails { info, tags, is_binary: has(IS_BINARY) };
    let details = has(HAS_DETAILS).then(|| Arc::new(details));
    Ok(Publication { data: rest.into(), details })
}

/// The bytes that say that a member has come or gone.
#[must_use]
pub fn write_member(change: Change, info: &ClientInfo) -> Vec<u8> {
    let came = match change {
        Change::Joined => HAS_JOINED,
        Change::Left => 0,
    };
    let mut bytes = vec![VERSION, came | info_flags(info)];
    write_info(&mut bytes, info);
    bytes
}

/// The member of whom this was written, and whether it has come or gone.
///
/// # Errors
/// Any other bytes.
pub fn read_member(bytes: &[u8]) -> Result<(Change, ClientInfo), InvalidPayload> {
    let (flags, mut rest) = read_head(bytes)?;
    if flags & !(HAS_JOINED | HAS_CONN_INFO | HAS_CHAN_INFO) > 0 {
        return Err(InvalidPayload::Flags(flags));
    }
    let info = read_info(&mut rest, flags)?;
    let change = if flags & HAS_JOINED > 0 { Change::Joined } else { Change::Left };
    if rest.is_empty() { Ok((change, info)) } else { Err(InvalidPayload::TooLong) }
}

fn read_head(bytes: &[u8]) -> Result<(u8, &[u8]), InvalidPayload> {
    match bytes {
        [VERSION, flags, rest @ ..] => Ok((*flags, rest)),
        [] | [VERSION] => Err(InvalidPayload::Truncated),
        [version, ..] => Err(InvalidPayload::Version(*version)),
    }
}

fn info_flags(info: &ClientInfo) -> u8 {
    let conn = if info.conn_info.is_some() { HAS_CONN_INFO } else { 0 };
    let chan = if info.chan_info.is_some() { HAS_CHAN_INFO } else { 0 };
    conn | chan
}

fn write_info(bytes: &mut Vec<u8>, info: &ClientInfo) {
    let ClientInfo { user, client, conn_info, chan_info } = info;
    bytes.extend(client.to_bytes());
    write_part(bytes, user.as_bytes());
    for part in [conn_info, chan_info].into_iter().flatten() {
        write_part(bytes, part);
    }
}

fn read_info(rest: &mut &[u8], flags: u8) -> Result<ClientInfo, InvalidPayload> {
    let (client, behind) = rest.split_first_chunk().ok_or(InvalidPayload::Truncated)?;
    *rest = behind;
    // An identifier has bits that are always the same.
    let client_id = ClientId::new(*client);
    if client_id.to_bytes() != *client {
        return Err(InvalidPayload::Text);
    }
    let user = read_text(rest)?.into();
    let mut part = |flag: u8| match flags & flag > 0 {
        true => read_part(rest).map(|own| Some(Arc::from(own))),
        false => Ok(None),
    };
    let (conn_info, chan_info) = (part(HAS_CONN_INFO)?, part(HAS_CHAN_INFO)?);
    Ok(ClientInfo { user, client: client_id, conn_info, chan_info })
}

/// Names with values.
type Tags = Vec<(Box<str>, Box<str>)>;

fn read_tags(rest: &mut &[u8]) -> Result<Tags, InvalidPayload> {
    let count = read_number(rest)?;
    // Each takes two bytes at least: so nothing is allocated for a count that is merely claimed.
    if count == 0 || count > rest.len() / 2 {
        return Err(InvalidPayload::Length);
    }
    let tag = |_| Ok((Box::from(read_text(rest)?), Box::from(read_text(rest)?)));
    (0..count).map(tag).collect()
}

fn write_part(bytes: &mut Vec<u8>, part: &[u8]) {
    write_number(bytes, part.len());
    bytes.extend_from_slice(part);
}

fn read_part<'b>(rest: &mut &'b [u8]) -> Result<&'b [u8], InvalidPayload> {
    let length = read_number(rest)?;
    let (part, behind) = rest.split_at_checked(length).ok_or(InvalidPayload::Truncated)?;
    *rest = behind;
    Ok(part)
}

fn read_text<'b>(rest: &mut &'b [u8]) -> Result<&'b str, InvalidPayload> {
    str::from_utf8(read_part(rest)?).map_err(|_| InvalidPayload::Text)
}

fn write_number(bytes: &mut Vec<u8>, number: usize) {
    let mut left = number;
    while left >= 0x80 {
        bytes.push(left.to_le_bytes()[0] | 0x80);
        left >>= 7;
    }
    bytes.push(left.to_le_bytes()[0]);
}

fn read_number(rest: &mut &[u8]) -> Result<usize, InvalidPayload> {
    let mut number = 0;
    for place in 0..NUMBER_BYTES_MAX {
        let (byte, behind) = rest.split_first().ok_or(InvalidPayload::Truncated)?;
        *rest = behind;
        number |= usize::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            let is_short = place == 0 || *byte > 0;
            return if is_short { Ok(number) } else { Err(InvalidPayload::Length) };
        }
    }
    Err(InvalidPayload::Length)
}

/// Another number for each change of what follows it.
const VERSION: u8 = 1;

/// In a publication: whether it has details.
const HAS_DETAILS: u8 = 1;
/// In a publication: whether its data is not JSON.
const IS_BINARY: u8 = 1 << 1;
/// In a publication: whether a client has published it.
const HAS_INFO: u8 = 1 << 2;
/// Whether there is what the credential of the connection says.
const HAS_CONN_INFO: u8 = 1 << 3;
/// Whether there is what the credential for the channel says.
const HAS_CHAN_INFO: u8 = 1 << 4;
/// In a publication: whether it has tags.
const HAS_TAGS: u8 = 1 << 5;
/// Of a member: whether it has come, not gone.
const HAS_JOINED: u8 = 1;

/// Bytes of the longest number: 28 bits, more than any message has bytes.
const NUMBER_BYTES_MAX: usize = 4;
/// What the usual details take.
const DETAILS_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            8 => prop::collection::vec(any::<u8>(), 0..20),
            1 => prop::collection::vec(any::<u8>(), 120..300),
        ]
    }

    fn info() -> impl Strategy<Value = ClientInfo> {
        let part = || prop::option::of(bytes().prop_map(Arc::from));
        (".{0,5}", any::<[u8; 16]>(), part(), part()).prop_map(
            |(user, client, conn_info, chan_info)| ClientInfo {
                user: user.into(),
                client: ClientId::new(client),
                conn_info,
                chan_info,
            },
        )
    }

    fn publication() -> impl Strategy<Value = Publication> {
        let tag = |(name, value): (String, String)| (Box::from(name), Box::from(value));
        let tags = prop::collection::vec((".{0,3}", ".{0,3}").prop_map(tag), 0..4);
        let details =
            (prop::option::of(info()), tags, any::<bool>()).prop_map(|(info, tags, is_binary)| {
                Arc::new(PublicationDetails { info, tags, is_binary })
            });
        (bytes(), prop::option::of(details))
            .prop_map(|(data, details)| Publication { data: data.into(), details })
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![Just(Change::Joined), Just(Change::Left)]
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(own in publication(), change in change(), info in info()) {
            prop_assert_eq!(read_publication(&write_publication(&own)), Ok(own));
            prop_assert_eq!(read_member(&write_member(change, &info)), Ok((change, info)));
        }

        /// Whatever is read has one form, and what is cut off is refused, but for the data of a publication,
        /// whose length the broker knows.
        #[test]
        fn each_value_has_one_form(
            own in publication(),
            info in info(),
            at in any::<prop::sample::Index>(),
            bit in 0..8_u8,
        ) {
            let mut written = write_publication(&own);
            let place = at.index(written.len());
            written[place] ^= 1 << bit;
            if let Ok(read) = read_publication(&written) {
                prop_assert_eq!(write_publication(&read), written);
            }
            let mut written = write_member(Change::Left, &info);
            let place = at.index(written.len());
            prop_assert!(read_member(&written[..place]).is_err());
            written[place] ^= 1 << bit;
            if let Ok((change, read)) = read_member(&written) {
                prop_assert_eq!(write_member(change, &read), written);
            }
        }

        #[test]
        fn no_bytes_panic(mut own in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = (read_publication(&own), read_member(&own));
            if let Some(first) = own.first_mut() {
                *first = VERSION;
            }
            let _ = (read_publication(&own), read_member(&own));
        }
    }

    #[test]
    fn a_publication_without_details_takes_two_bytes_more() {
        let own = Publication::new(*b"{\"a\":1}");
        assert_eq!(write_publication(&own), b"\x01\x00{\"a\":1}");
    }

    #[test]
    fn what_another_version_may_have_written_is_refused() {
        assert_eq!(read_publication(b""), Err(InvalidPayload::Truncated));
        assert_eq!(read_publication(b"\x01"), Err(InvalidPayload::Truncated));
        assert_eq!(read_publication(b"\x02\x00{}"), Err(InvalidPayload::Version(2)));
        assert_eq!(read_publication(b"\x01\x40{}"), Err(InvalidPayload::Flags(0x40)));
        assert_eq!(read_publication(b"\x01\x02{}"), Err(InvalidPayload::Flags(2)));
        let claimed = [VERSION, HAS_DETAILS | HAS_TAGS, 0xFF, 0xFF, 0xFF, 0x7F, 0, 0];
        assert_eq!(read_publication(&claimed), Err(InvalidPayload::Length));
        assert_eq!(read_member(b"\x01\x20"), Err(InvalidPayload::Flags(0x20)));
    }
}
