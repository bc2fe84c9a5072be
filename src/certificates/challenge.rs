//! Answers challenges by HTTP (RFC 8555 §8.3).

use std::sync::Arc;

use arc_swap::ArcSwapOption;

/// What answers challenges by HTTP, shared between the client of ACME and the listeners.
///
/// An answer needs the token that the authority asks with and the thumbprint of the account's key, which
/// is no secret. So every process and every loop with the account answers, whichever of them the authority
/// reaches, and there is no table of tokens to be kept.
#[derive(Clone, Debug, Default)]
pub struct HttpChallenges {
    thumbprint: Arc<ArcSwapOption<String>>,
}

impl HttpChallenges {
    /// From now on challenges to the account with this thumbprint of its key (RFC 7638) are answered;
    /// with `None`, none.
    pub fn set_thumbprint(&self, thumbprint: Option<String>) {
        self.thumbprint.store(thumbprint.map(Arc::new));
    }

    /// The key authorization (RFC 8555 §8.1) that is the answer to a `GET` of this path, if it is that of
    /// a challenge and there is an account.
    #[must_use]
    pub fn answer(&self, path: &[u8]) -> Option<String> {
        let token = path.strip_prefix(PREFIX)?;
        let is_token = (1..=TOKEN_BYTES_MAX).contains(&token.len())
            && token.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte));
        let token = str::from_utf8(token).ok().filter(|_| is_token)?;
        let thumbprint = self.thumbprint.load_full()?;
        Some(format!("{token}.{thumbprint}"))
    }
}

const PREFIX: &[u8] = b"/.well-known/acme-challenge/";
/// Authorities send 43. The answer is no larger than the request.
const TOKEN_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_is_answered_with_the_thumbprint_behind_it() {
        let challenges = HttpChallenges::default();
        let path = b"/.well-known/acme-challenge/LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0";
        assert_eq!(challenges.answer(path), None, "no account");
        challenges.set_thumbprint(Some("9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI".into()));
        // RFC 8555 §8.3.
        let answer = "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0\
                      .9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI";
        assert_eq!(challenges.answer(path).as_deref(), Some(answer));
        for other in ["", "a.b", "a/b", "a%41", "a?b", "<a>", &"a".repeat(257)] {
            let path = format!("/.well-known/acme-challenge/{other}");
            assert_eq!(challenges.answer(path.as_bytes()), None, "{other}");
        }
        assert_eq!(challenges.answer(b"/a"), None);
        challenges.set_thumbprint(None);
        assert_eq!(challenges.answer(path), None);
    }

    proptest! {
        /// What a client sends cannot become markup or a line of its own.
        #[test]
        fn an_answer_is_of_harmless_characters(token: Vec<u8>) {
            let challenges = HttpChallenges::default();
            challenges.set_thumbprint(Some("t".to_owned()));
            let path = [PREFIX, &token].concat();
            if let Some(answer) = challenges.answer(&path) {
                prop_assert!(answer.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)));
            }
        }
    }
}
