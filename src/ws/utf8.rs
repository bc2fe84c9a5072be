//! Streaming UTF-8: text may be cut anywhere, also inside a character, and must still be refused
//! at the byte that makes it wrong (RFC 6455 §8.1).

/// What a check remembers between two pieces of text: the first bytes of a character whose end
/// has not arrived. Four bytes, zero when there is nothing to remember.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Utf8Tail {
    bytes: [u8; 3],
    len: u8,
}

/// The text is not UTF-8, whatever may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotUtf8;

impl Utf8Tail {
    /// Checks the next piece of text.
    ///
    /// # Errors
    /// [`NotUtf8`] as soon as no continuation could make the text valid.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), NotUtf8> {
        let rest = if self.len == 0 { piece } else { self.complete_character(piece)? };
        match simdutf8::compat::from_utf8(rest) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_none() => {
                let tail = &rest[error.valid_up_to()..];
                debug_assert!(tail.len() <= 3);
                for (kept, byte) in self.bytes.iter_mut().zip(tail) {
                    *kept = *byte;
                    self.len += 1;
                }
                Ok(())
            }
            Err(_) => Err(NotUtf8),
        }
    }

    /// The text ends here.
    ///
    /// # Errors
    /// [`NotUtf8`] if it ends inside a character.
    pub fn finish(&mut self) -> Result<(), NotUtf8> {
        if self.len == 0 { Ok(()) } else { Err(NotUtf8) }
    }

    /// Adds bytes to the unfinished character until it is whole; gives what follows it.
    fn complete_character<'p>(&mut self, piece: &'p [u8]) -> Result<&'p [u8], NotUtf8> {
        let mut character = [self.bytes[0], self.bytes[1], self.bytes[2], 0];
        let mut rest = piece;
        while let [byte, after @ ..] = rest {
            rest = after;
            let len = usize::from(self.len) + 1;
            character[len - 1] = *byte;
            match std::str::from_utf8(&character[..len]) {
                Ok(_) => {
                    *self = Self::default();
                    return Ok(rest);
                }
                Err(error) if error.error_len().is_none() => {
                    // At most three bytes can be a proper beginning of a character.
                    self.bytes = [character[0], character[1], character[2]];
                    self.len += 1;
                }
                Err(_) => return Err(NotUtf8),
            }
        }
        Ok(&[])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Text that is nearly right: pieces of valid and invalid sequences after one another.
    fn nearly_text() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            3 => "[a-zé張😀]{1,4}".prop_map(String::into_bytes),
            1 => prop::sample::select(vec![
                b"\xc0\xaf".to_vec(), b"\xed\xa0\x80".to_vec(), b"\xf4\x90\x80\x80".to_vec(),
                b"\xe0\x80\x80".to_vec(), b"\xf0\x9f\x98".to_vec(), b"\x80".to_vec(),
                b"\xf8\x88".to_vec(), b"\xe5\xbc".to_vec(),
            ]),
        ];
        prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }

    /// Position of the first byte after which no continuation is valid, by the standard library.
    fn certain_at(text: &[u8]) -> Option<usize> {
        (1..=text.len()).find(|len| {
            std::str::from_utf8(&text[..*len]).is_err_and(|error| error.error_len().is_some())
        })
    }

    proptest! {
        #[test]
        fn byte_by_byte_fails_exactly_when_it_is_certain(text in nearly_text()) {
            let mut tail = Utf8Tail::default();
            let mut failed_at = None;
            for (at, byte) in text.iter().enumerate() {
                if tail.feed(&[*byte]).is_err() {
                    failed_at = Some(at + 1);
                    break;
                }
            }
            prop_assert_eq!(failed_at, certain_at(&text));
            if failed_at.is_none() {
                prop_assert_eq!(tail.finish().is_ok(), std::str::from_utf8(&text).is_ok());
            }
        }

        #[test]
        fn any_cuts_give_the_verdict_of_the_whole(
            text in nearly_text(),
            cuts in prop::collection::vec(0..40usize, 0..6),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let mut tail = Utf8Tail::default();
            let pieces = cuts
                .windows(2)
                .try_for_each(|cut| tail.feed(&text[cut[0]..cut[1]]))
                .and_then(|()| tail.finish());
            prop_assert_eq!(pieces.is_ok(), std::str::from_utf8(&text).is_ok());
        }
    }

    #[test]
    fn the_memory_of_a_cut_is_four_bytes() {
        assert_eq!(size_of::<Utf8Tail>(), 4);
    }
}
