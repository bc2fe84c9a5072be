//! The encoding of Protobuf: fields and varints.
//!
//! A message is read forwards, without copying. It is written backwards: what is inside a message is there
//! before its length, so no length is computed beforehand and nothing is moved.

use std::fmt::Display;
use std::io::Write as _;

use crate::centrifugo::decode::BadFrame;

/// The value of a field. Both kinds of fixed size are read over only, as no field of the protocol has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'b> {
    Varint(u64),
    Bytes(&'b [u8]),
    Fixed,
}

impl<'b> Value<'b> {
    /// A number; of a wider one the lower bits count.
    #[expect(clippy::cast_possible_truncation, reason = "readers of 32 bits take the lower ones")]
    pub(super) fn u32(self) -> Result<u32, BadFrame> {
        self.u64().map(|own| own as u32)
    }

    /// As above, with a sign.
    #[expect(clippy::cast_possible_truncation, reason = "readers of 32 bits take the lower ones")]
    pub(super) fn i32(self) -> Result<i32, BadFrame> {
        self.i64().map(|own| own as i32)
    }

    pub(super) fn i64(self) -> Result<i64, BadFrame> {
        self.u64().map(u64::cast_signed)
    }

    pub(super) fn u64(self) -> Result<u64, BadFrame> {
        match self {
            Self::Varint(own) => Ok(own),
            Self::Bytes(_) | Self::Fixed => Err(BadFrame),
        }
    }

    pub(super) fn bool(self) -> Result<bool, BadFrame> {
        self.u64().map(|own| own != 0)
    }

    pub(super) fn bytes(self) -> Result<&'b [u8], BadFrame> {
        match self {
            Self::Bytes(own) => Ok(own),
            Self::Varint(_) | Self::Fixed => Err(BadFrame),
        }
    }

    pub(super) fn text(self) -> Result<&'b str, BadFrame> {
        std::str::from_utf8(self.bytes()?).map_err(|_| BadFrame)
    }
}

/// Calls `take` with the number and the value of each field of a message, in their order.
pub(super) fn read_fields<'b>(
    mut message: &'b [u8],
    mut take: impl FnMut(u32, Value<'b>) -> Result<(), BadFrame>,
) -> Result<(), BadFrame> {
    while !message.is_empty() {
        let key = u32::try_from(read_varint(&mut message)?).map_err(|_| BadFrame)?;
        let value = match key & 7 {
            VARINT => Value::Varint(read_varint(&mut message)?),
            FIXED_64 => split(&mut message, 8).map(|_| Value::Fixed)?,
            DELIMITED => Value::Bytes(read_delimited(&mut message)?),
            FIXED_32 => split(&mut message, 4).map(|_| Value::Fixed)?,
            // 3 and 4 begin and end a group, which could be nested without end; the protocol has none.
            _ => return Err(BadFrame),
        };
        // 0 is no number of a field.
        if key >> 3 == 0 {
            return Err(BadFrame);
        }
        take(key >> 3, value)?;
    }
    Ok(())
}

/// Reads bytes with their length in front of them.
pub(super) fn read_delimited<'b>(from: &mut &'b [u8]) -> Result<&'b [u8], BadFrame> {
    let length = usize::try_from(read_varint(from)?).map_err(|_| BadFrame)?;
    split(from, length)
}

fn read_varint(from: &mut &[u8]) -> Result<u64, BadFrame> {
    let mut number = 0;
    for (index, byte) in from.iter().enumerate().take(VARINT_BYTES_MAX) {
        // The tenth byte has room for the highest bit alone.
        if index == VARINT_BYTES_MAX - 1 && *byte > 1 {
            return Err(BadFrame);
        }
        number |= u64::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            *from = &from[index + 1..];
            return Ok(number);
        }
    }
    Err(BadFrame)
}

fn split<'b>(from: &mut &'b [u8], length: usize) -> Result<&'b [u8], BadFrame> {
    let (own, rest) = from.split_at_checked(length).ok_or(BadFrame)?;
    *from = rest;
    Ok(own)
}

/// Writes messages from their ends to their beginnings. What is empty or zero is left out, as receivers take
/// it for that.
#[derive(Debug, Default)]
pub(super) struct Writer {
    /// What is written lies at the end.
    buffer: Vec<u8>,
    start: usize,
}

impl Writer {
    /// Begins anew.
    pub(super) fn clear(&mut self) {
        self.start = self.buffer.len();
    }

    /// Begins anew, without a buffer if it is far larger than most need.
    pub(super) fn trim(&mut self) {
        if self.buffer.capacity() > KEPT_BYTES {
            self.buffer = Vec::new();
        }
        self.clear();
    }

    /// What is written.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Puts the length of all that `write` writes in front of that.
    pub(super) fn delimited(&mut self, write: impl FnOnce(&mut Self)) {
        let before = self.len();
        write(self);
        self.varint((self.len() - before) as u64);
    }

    /// A message in a field, which is there even if it is empty.
    pub(super) fn message(&mut self, number: u32, write: impl FnOnce(&mut Self)) {
        self.delimited(write);
        self.key(number, DELIMITED);
    }

    /// An entry of a map whose keys are texts.
    pub(super) fn entry(
        &mut self,
        number: u32,
        key: impl FnOnce(&mut Self),
        value: impl FnOnce(&mut Self),
    ) {
        self.message(number, |writer| {
            value(writer);
            key(writer);
        });
    }

    pub(super) fn bytes(&mut self, number: u32, own: &[u8]) {
        if !own.is_empty() {
            self.prepend(own);
            self.varint(own.len() as u64);
            self.key(number, DELIMITED);
        }
    }

    pub(super) fn text(&mut self, number: u32, own: &str) {
        self.bytes(number, own.as_bytes());
    }

    /// As [`Writer::text`], of something that has [`SHORT_BYTES_MAX`] bytes at most.
    pub(super) fn short(&mut self, number: u32, own: impl Display) {
        let mut text = [0; SHORT_BYTES_MAX];
        let mut rest = &mut text[..];
        // What is longer is cut, which a test of each caller would see.
        let _ = write!(rest, "{own}");
        let length = SHORT_BYTES_MAX - rest.len();
        self.bytes(number, &text[..length]);
    }

    pub(super) fn number(&mut self, number: u32, own: u64) {
        if own != 0 {
            self.varint(own);
            self.key(number, VARINT);
        }
    }

    pub(super) fn flag(&mut self, number: u32, own: bool) {
        self.number(number, own.into());
    }

    fn len(&self) -> usize {
        self.buffer.len() - self.start
    }

    fn key(&mut self, number: u32, wire_type: u32) {
        self.varint((number << 3 | wire_type).into());
    }

    fn varint(&mut self, own: u64) {
        let mut bytes = [0; VARINT_BYTES_MAX];
        let (mut rest, mut length) = (own, 0);
        for byte in &mut bytes {
            let low = (rest & 0x7F) as u8;
            rest >>= 7;
            length += 1;
            *byte = if rest == 0 { low } else { low | 0x80 };
            if rest == 0 {
                break;
            }
        }
        self.prepend(&bytes[..length]);
    }

    fn prepend(&mut self, own: &[u8]) {
        if self.start < own.len() {
            self.grow(own.len());
        }
        let end = self.start;
        self.start -= own.len();
        self.buffer[self.start..end].copy_from_slice(own);
    }

    /// Makes room in front for this many bytes at least.
    #[cold]
    fn grow(&mut self, more: usize) {
        let written = self.len();
        let room = (written + more).max(ROOM_BYTES_MIN).next_power_of_two() * 2;
        let mut buffer = vec![0; room];
        buffer[room - written..].copy_from_slice(self.as_bytes());
        (self.buffer, self.start) = (buffer, room - written);
    }
}

const VARINT: u32 = 0;
const FIXED_64: u32 = 1;
const DELIMITED: u32 = 2;
const FIXED_32: u32 = 5;
/// Bytes of the longest varint: seven bits each, 64 in all.
const VARINT_BYTES_MAX: usize = 10;
/// Bytes of the longest text for [`Writer::short`]: a UUID has 36.
const SHORT_BYTES_MAX: usize = 40;
/// Room with which a buffer begins.
const ROOM_BYTES_MIN: usize = 256;
/// Bytes for which the buffer keeps room: few replies and pushes are longer.
const KEPT_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            numbers in prop::collection::vec((1..1_u32 << 29, 1..u64::MAX), 0..8),
            texts in prop::collection::vec((1..1_u32 << 29, "\\PC{1,300}"), 0..8),
            is_nested: bool,
        ) {
            let mut writer = Writer::default();
            writer.clear();
            let write = |writer: &mut Writer| {
                for (number, text) in texts.iter().rev() {
                    writer.text(*number, text);
                }
                for (number, value) in numbers.iter().rev() {
                    writer.number(*number, *value);
                }
            };
            match is_nested {
                true => writer.message(7, write),
                false => write(&mut writer),
            }
            let mut message = writer.as_bytes();
            if is_nested {
                let mut inner = None;
                read_fields(message, |number, value| {
                    assert_eq!(number, 7);
                    inner = Some(value.bytes()?);
                    Ok(())
                })
                .unwrap();
                message = inner.unwrap();
            }
            let (mut found_numbers, mut found_texts) = (Vec::new(), Vec::new());
            read_fields(message, |number, value| {
                match value {
                    Value::Varint(own) => found_numbers.push((number, own)),
                    Value::Bytes(_) => found_texts.push((number, value.text()?.to_owned())),
                    Value::Fixed => panic!("none was written"),
                }
                Ok(())
            })
            .unwrap();
            prop_assert_eq!((found_numbers, found_texts), (numbers, texts));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let mut left = bytes.len();
            let _ = read_fields(&bytes, |number, value| {
                assert!(number > 0);
                if let Value::Bytes(own) = value {
                    left -= own.len() + 2;
                }
                Ok(())
            });
        }
    }

    #[test]
    fn fields_of_all_kinds_are_read_over_and_groups_are_refused() {
        let numbers = |message: &[u8]| {
            let mut numbers = Vec::new();
            read_fields(message, |number, _| {
                numbers.push(number);
                Ok(())
            })
            .map(|()| numbers)
        };
        let all = [0x08, 1, 0x11, 1, 2, 3, 4, 5, 6, 7, 8, 0x1A, 2, 9, 9, 0x25, 1, 2, 3, 4];
        assert_eq!(numbers(&all), Ok(vec![1, 2, 3, 4]));
        for bad in [
            &[0x0B_u8, 0x0C][..],                                             // a group
            &[0x0C],                                                          // its end
            &[0x0E, 1],       // no kind of wire type
            &[0x00, 1],       // the number 0
            &[0x1A, 3, 9, 9], // more than there is
            &[0x08],          // nothing
            &[0x80, 0x80],    // a varint without an end
            &[0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 2], // more than 64 bits
            &[0x88, 0x80, 0x80, 0x80, 0x10, 1], // a number of more than 29 bits
        ] {
            assert_eq!(numbers(bad), Err(BadFrame), "{bad:x?}");
        }
        // A longer form of a number is the same number.
        assert_eq!(numbers(&[0x88, 0x00, 0x81, 0x00]), Ok(vec![1]));
    }

    #[test]
    fn a_large_buffer_is_given_back() {
        let mut writer = Writer::default();
        writer.bytes(1, &vec![7; 1 << 20]);
        assert_eq!(writer.as_bytes().len(), (1 << 20) + 4);
        writer.trim();
        assert!(writer.as_bytes().is_empty() && writer.buffer.capacity() == 0);
        writer.bytes(1, b"short");
        assert_eq!(writer.as_bytes(), b"\x0A\x05short");
        writer.trim();
        assert!(writer.as_bytes().is_empty() && writer.buffer.capacity() > 0);
    }
}
