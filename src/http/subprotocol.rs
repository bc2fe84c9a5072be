//! The choice of a subprotocol from the client's offers (RFC 6455 §1.9).

use std::fmt;

use thiserror::Error;

use super::{grammar::is_token, list::list_elements};

/// The most subprotocols that a client may offer. The bound exists because each is compared with
/// all others.
pub const OFFERED_SUBPROTOCOLS_MAX: usize = 32;

/// The name of a subprotocol: a token, which is safe in a header (RFC 6455 §4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subprotocol(String);

impl Subprotocol {
    /// Checks that `name` is a token.
    ///
    /// # Errors
    /// [`InvalidSubprotocol`] if it is not.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidSubprotocol> {
        let name = name.into();
        if is_token(name.as_bytes()) { Ok(Self(name)) } else { Err(InvalidSubprotocol) }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Subprotocol {
    type Error = InvalidSubprotocol;

    fn try_from(name: String) -> Result<Self, InvalidSubprotocol> {
        Self::new(name)
    }
}

impl fmt::Display for Subprotocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The name is not a token.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a subprotocol must be a token: letters, digits and any of !#$%&'*+-.^_`|~")]
pub struct InvalidSubprotocol;

/// Chooses the first of `supported` that the `Sec-WebSocket-Protocol` lines `offers` contain: the
/// server's order decides. `None` if there is no match; the connection then has no subprotocol.
pub(super) fn choose_subprotocol<'b, 'p>(
    offers: impl Iterator<Item = &'b [u8]>,
    supported: &'p [Subprotocol],
) -> Result<Option<&'p Subprotocol>, OfferError> {
    let mut offered: [&[u8]; OFFERED_SUBPROTOCOLS_MAX] = [&[]; OFFERED_SUBPROTOCOLS_MAX];
    for (index, name) in list_elements(offers).enumerate() {
        if !is_token(name) {
            return Err(OfferError::NotToken);
        }
        if offered.contains(&name) {
            return Err(OfferError::Repeated);
        }
        *offered.get_mut(index).ok_or(OfferError::TooMany)? = name;
    }
    Ok(supported.iter().find(|name| offered.contains(&name.as_str().as_bytes())))
}

/// Why the subprotocols that a client offers are refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(super) enum OfferError {
    /// RFC 6455 §4.1 item 10.
    #[error("each element of Sec-WebSocket-Protocol must be a token (RFC 6455 section 4.1)")]
    NotToken,
    /// RFC 6455 §4.1 item 10: the names "MUST all be unique strings".
    #[error("Sec-WebSocket-Protocol must not name one subprotocol twice (RFC 6455 section 4.1)")]
    Repeated,
    /// More than [`OFFERED_SUBPROTOCOLS_MAX`].
    #[error("Sec-WebSocket-Protocol offers more than {OFFERED_SUBPROTOCOLS_MAX} subprotocols")]
    TooMany,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn choose(offers: &[&str], supported: &[&str]) -> Result<Option<String>, OfferError> {
        let supported: Vec<_> =
            supported.iter().map(|&name| Subprotocol::new(name).unwrap()).collect();
        let offers = offers.iter().map(|line| line.as_bytes());
        let chosen = choose_subprotocol(offers, &supported)?;
        Ok(chosen.map(ToString::to_string))
    }

    #[test]
    fn the_order_of_the_server_decides() {
        let chosen = choose(&["chat, superchat"], &["v2", "superchat", "chat"]);
        assert_eq!(chosen, Ok(Some("superchat".to_owned())));
    }

    #[test]
    fn lines_join() {
        assert_eq!(choose(&["a", "b, c"], &["c"]), Ok(Some("c".to_owned())));
        assert_eq!(choose(&["a", "b, a"], &["c"]), Err(OfferError::Repeated));
    }

    #[test]
    fn no_match_is_no_subprotocol() {
        assert_eq!(choose(&["a"], &["b"]), Ok(None));
        assert_eq!(choose(&["a"], &[]), Ok(None));
        assert_eq!(choose(&[], &["a"]), Ok(None));
        assert_eq!(choose(&["", " , "], &["a"]), Ok(None));
        assert_eq!(choose(&["Chat"], &["chat"]), Ok(None), "names are case-sensitive");
    }

    #[test]
    fn offers_are_unique_tokens_rfc_6455_section_4_1() {
        assert_eq!(choose(&["a, b c"], &["a"]), Err(OfferError::NotToken));
        assert_eq!(choose(&["\"a\""], &["a"]), Err(OfferError::NotToken));
        assert_eq!(choose(&["a,b,a"], &["b"]), Err(OfferError::Repeated));
        assert_eq!(choose(&["a, A"], &["A"]), Ok(Some("A".to_owned())));
    }

    #[test]
    fn offers_are_bounded() {
        let names = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        assert_eq!(choose(&[&names(OFFERED_SUBPROTOCOLS_MAX)], &["x"]), Ok(None));
        assert_eq!(
            choose(&[&names(OFFERED_SUBPROTOCOLS_MAX + 1)], &["x"]),
            Err(OfferError::TooMany)
        );
    }

    #[test]
    fn names_cannot_break_out_of_their_header() {
        for name in ["", "a b", "a,b", "a\r\nX: b", "a\n", "\u{e9}"] {
            assert_eq!(Subprotocol::new(name), Err(InvalidSubprotocol), "{name:?}");
        }
        let name = Subprotocol::try_from("graphql-transport-ws".to_owned());
        assert_eq!(name.as_ref().map(Subprotocol::as_str), Ok("graphql-transport-ws"));
    }

    proptest! {
        #[test]
        fn chooses_like_nested_loops(
            offered in prop::collection::hash_set("[a-d]{1,2}", 0..8),
            supported in prop::collection::vec("[a-d]{1,2}", 0..8),
        ) {
            let mut expected = None;
            for name in &supported {
                if expected.is_none() && offered.contains(name) {
                    expected = Some(name.clone());
                }
            }
            let line = offered.into_iter().collect::<Vec<_>>().join(", ");
            let supported: Vec<&str> = supported.iter().map(String::as_str).collect();
            prop_assert_eq!(choose(&[&line], &supported), Ok(expected));
        }
    }
}
