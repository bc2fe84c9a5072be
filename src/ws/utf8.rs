//! Incremental validation of UTF-8. Text may be cut anywhere, inside a character too, and must fail
//! at the byte that makes it invalid (RFC 6455 §8.1).

/// The state between two parts of a text: the bytes of a character whose end has not arrived. Three
/// bytes, zero where there is none: no byte of a character of several bytes is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Utf8Tail([u8; 3]);

/// The text is not UTF-8, and no continuation makes it valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotUtf8;

impl Utf8Tail {
    /// Checks the next part of the text.
    ///
    /// # Errors
    /// [`NotUtf8`] as soon as no continuation can make the text valid.
    pub fn feed(&mut self, part: &[u8]) -> Result<(), NotUtf8> {
        let rest = if self.is_empty() { part } else { self.complete_character(part)? };
        // The `compat` flavour reports where the error is; `basic` is faster but only says that
        // there is one.
        match simdutf8::compat::from_utf8(rest) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_none() => {
                // Only the end of a character is missing. Keep its bytes for the next part.
                let tail = &rest[error.valid_up_to()..];
                debug_assert!(tail.len() <= 3);
                for (kept, byte) in self.0.iter_mut().zip(tail) {
                    *kept = *byte;
                }
                Ok(())
            }
            Err(_) => Err(NotUtf8),
        }
    }

    /// Ends the text.
    ///
    /// # Errors
    /// [`NotUtf8`] if it ends inside a character.
    pub fn finish(&mut self) -> Result<(), NotUtf8> {
        if self.is_empty() { Ok(()) } else { Err(NotUtf8) }
    }

    fn is_empty(self) -> bool {
        self.0[0] == 0
    }

    /// Adds bytes of `part` to the unfinished character until it is complete; returns the rest.
    fn complete_character<'p>(&mut self, part: &'p [u8]) -> Result<&'p [u8], NotUtf8> {
        let [first, second, third] = self.0;
        let mut character = [first, second, third, 0];
        let mut len = self.0.iter().take_while(|byte| **byte != 0).count();
        let mut rest = part;
        while let [byte, after @ ..] = rest {
            rest = after;
            character[len] = *byte;
            len += 1;
            match std::str::from_utf8(&character[..len]) {
                Ok(_) => {
                    *self = Self::default();
                    return Ok(rest);
                }
                Err(error) if error.error_len().is_none() => {
                    // A proper prefix of a character has at most three bytes, so the array is large
                    // enough.
                    self.0 = [character[0], character[1], character[2]];
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

    /// Text that is nearly valid: valid and invalid sequences in any order.
    fn nearly_text() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            3 => "[a-zé張😀]{1,4}".prop_map(String::into_bytes),
            1 => prop::sample::select(vec![
                b"\xc0\xaf".to_vec(), b"\xed\xa0\x80".to_vec(), b"\xf4\x90\x80\x80".to_vec(),
                b"\xe0\x80\x80".to_vec(), b"\xf0\x9f\x98".to_vec(), b"\x80".to_vec(),
                b"\xf8\x88".to_vec(), b"\xe5\xbc".to_vec(),
            ]),
        ];
        prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
    }

    /// The length of the shortest prefix that no continuation makes valid, by the standard library.
    fn first_certain_error(text: &[u8]) -> Option<usize> {
        (1..=text.len()).find(|len| {
            std::str::from_utf8(&text[..*len]).is_err_and(|error| error.error_len().is_some())
        })
    }

    proptest! {
        #[test]
        fn text_byte_by_byte_fails_at_the_first_certain_error(text in nearly_text()) {
            let mut tail = Utf8Tail::default();
            let mut failed_at = None;
            for (at, byte) in text.iter().enumerate() {
                if tail.feed(&[*byte]).is_err() {
                    failed_at = Some(at + 1);
                    break;
                }
            }
            prop_assert_eq!(failed_at, first_certain_error(&text));
            if failed_at.is_none() {
                prop_assert_eq!(tail.finish().is_ok(), std::str::from_utf8(&text).is_ok());
            }
        }

        #[test]
        fn text_in_parts_is_valid_if_the_whole_is(
            text in nearly_text(),
            cuts in prop::collection::vec(0..40usize, 0..6),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let mut tail = Utf8Tail::default();
            let in_parts = cuts
                .windows(2)
                .try_for_each(|cut| tail.feed(&text[cut[0]..cut[1]]))
                .and_then(|()| tail.finish());
            prop_assert_eq!(in_parts.is_ok(), std::str::from_utf8(&text).is_ok());
        }
    }

    #[test]
    fn the_state_takes_three_bytes() {
        assert_eq!(size_of::<Utf8Tail>(), 3);
    }
}
