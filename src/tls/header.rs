//! The header of a record, the same in both versions (RFC 8446 §5.1, RFC 5246 §6.2.1):
//!
//! ```text
//!   [type 1][version 2][length 2]
//! ```

/// Bytes of a header.
pub const HEADER_BYTES: usize = 5;
/// Most bytes of content in one record (2¹⁴).
pub const CONTENT_BYTES_MAX: usize = 1 << 14;
/// Most bytes behind a header: TLS 1.2 allows an expansion of 2,048 (RFC 5246 §6.2.3).
const PROTECTED_BYTES_MAX: usize = CONTENT_BYTES_MAX + 2048;
/// Most bytes of a record with its header.
pub const RECORD_BYTES_MAX: usize = HEADER_BYTES + PROTECTED_BYTES_MAX;

/// What a record carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentType {
    /// Nothing: it exists for middleboxes (RFC 8446 §5).
    ChangeCipherSpec,
    /// An [`Alert`](super::Alert).
    Alert,
    /// Handshake messages, or parts of them.
    Handshake,
    /// Application data; in TLS 1.3 every protected record says so.
    ApplicationData,
}

impl ContentType {
    /// The type with this number.
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            20 => Some(Self::ChangeCipherSpec),
            21 => Some(Self::Alert),
            22 => Some(Self::Handshake),
            23 => Some(Self::ApplicationData),
            _ => None,
        }
    }

    /// Its number.
    pub fn to_byte(self) -> u8 {
        match self {
            Self::ChangeCipherSpec => 20,
            Self::Alert => 21,
            Self::Handshake => 22,
            Self::ApplicationData => 23,
        }
    }
}

/// The header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What it says the record carries.
    pub content_type: ContentType,
    /// Bytes that follow the header.
    pub length: usize,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderFault {
    /// The type or the version is none.
    NoTls,
    /// The record is longer than any may be.
    TooLong,
}

impl Header {
    /// Reads the header at the start of `bytes`; `None` where less than a header has come.
    ///
    /// # Errors
    /// Where no more bytes could make it a header.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, HeaderFault> {
        let Some(content_type) = bytes.first() else { return Ok(None) };
        let content_type = ContentType::from_byte(*content_type).ok_or(HeaderFault::NoTls)?;
        // The minor version is not looked at: it is 1 in a first ClientHello and frozen at 3 from
        // then on (RFC 8446 §5.1).
        if bytes.get(1).is_some_and(|major| *major != 3) {
            return Err(HeaderFault::NoTls);
        }
        let Some([_, _, _, length @ ..]) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes(*length));
        if length > PROTECTED_BYTES_MAX {
            return Err(HeaderFault::TooLong);
        }
        Ok(Some(Self { content_type, length }))
    }

    /// The header as bytes, in the version that all records bear (RFC 8446 §5.1).
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let length = u16::try_from(self.length).unwrap_or(u16::MAX).to_be_bytes();
        [self.content_type.to_byte(), 3, 3, length[0], length[1]]
    }

    /// Bytes of the whole record.
    pub fn record_bytes(self) -> usize {
        HEADER_BYTES + self.length
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_record_shows_with_its_first_bytes() {
        assert_eq!(Header::read(b"GET / HTTP/1.1"), Err(HeaderFault::NoTls));
        assert_eq!(Header::read(&[]), Ok(None));
        assert_eq!(Header::read(&[22]), Ok(None));
        assert_eq!(Header::read(&[22, 2]), Err(HeaderFault::NoTls));
        assert_eq!(Header::read(&[22, 3, 1, 0x48]), Ok(None));
        assert_eq!(Header::read(&[23, 3, 3, 0x48, 0x01]), Err(HeaderFault::TooLong));
    }

    proptest! {
        #[test]
        fn a_header_is_read_as_it_was_written(kind in 20..24u8, length in 0..=PROTECTED_BYTES_MAX) {
            let content_type = ContentType::from_byte(kind).unwrap();
            let header = Header { content_type, length };
            prop_assert_eq!(Header::read(&header.to_bytes()), Ok(Some(header)));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            if let Ok(Some(header)) = Header::read(&bytes) {
                prop_assert!(header.record_bytes() <= RECORD_BYTES_MAX);
            }
        }
    }
}
