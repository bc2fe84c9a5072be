//! The addresses of connections, and of the instances of a service.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::key::ConnKey;

/// The address of a connection, valid on every loop. It is never used for another connection: the
/// generation in the key tells connections in the same slot apart.
///
/// As text it is `LOOP.SLOT.GENERATION` in decimal, such as `0.17.42`: in the log, and in the paths
/// of URLs, where a dot needs no escape (RFC 3986 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// The loop that owns the connection.
    pub loop_index: u16,
    /// The connection in that loop.
    pub key: ConnKey,
}

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { loop_index, key: ConnKey { index, generation } } = self;
        write!(formatter, "{loop_index}.{index}.{generation}")
    }
}

/// A text is not the address of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("must be the three numbers of a connection with dots between them, such as 0.17.42")]
pub struct InvalidPeer;

impl FromStr for Peer {
    type Err = InvalidPeer;

    /// Parses what [`Peer`] is shown as, and nothing else: no signs, no zeros in front.
    fn from_str(text: &str) -> Result<Self, InvalidPeer> {
        let mut parts = text.split('.');
        let (Some(loop_index), Some(index), Some(generation), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(InvalidPeer);
        };
        let key = ConnKey { index: number(index)?, generation: number(generation)? };
        if key.generation == ConnKey::NOT_A_CONNECTION {
            return Err(InvalidPeer);
        }
        Ok(Self { loop_index: number(loop_index)?, key })
    }
}

/// A decimal number in its one form.
fn number<N: FromStr>(text: &str) -> Result<N, InvalidPeer> {
    let is_canonical = text == "0" || text.starts_with(|first| matches!(first, '1'..='9'));
    text.parse().ok().filter(|_| is_canonical).ok_or(InvalidPeer)
}

/// Which of a service's instances this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoopSite {
    /// The loop that the instance runs on, from 0.
    pub index: u16,
    /// The number of loops, each with an instance.
    pub count: u16,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_peer_is_found_by_its_text(loop_index: u16, index: u32, generation in 1..=u32::MAX) {
            let peer = Peer { loop_index, key: ConnKey { index, generation } };
            prop_assert_eq!(peer.to_string().parse(), Ok(peer));
        }

        /// One connection has one text, so texts may be compared.
        #[test]
        fn no_other_text_is_one(text in "[0-9.+/ -]{0,16}|\\PC{0,16}") {
            if let Ok(peer) = text.parse::<Peer>() {
                prop_assert_eq!(peer.to_string(), text);
            }
        }
    }

    #[test]
    fn what_is_no_peer_is_refused() {
        let texts = [
            "",
            ".",
            "..",
            "0.1",
            "0.1.2.3",
            "0/1.2",
            "0.1.0",
            "65536.1.2",
            "0.4294967296.1",
            "0.01.2",
            "+0.1.2",
            "0.1.2 ",
            "0.-1.2",
            "a.b.c",
            "0..2",
            "٠.1.2",
        ];
        for text in texts {
            assert_eq!(text.parse::<Peer>(), Err(InvalidPeer), "{text}");
        }
        assert!(
            "0.0.1".parse::<Peer>().is_ok()
                && "65535.4294967295.4294967295".parse::<Peer>().is_ok()
        );
    }
}
