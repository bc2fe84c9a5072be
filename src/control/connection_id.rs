//! What backends call a connection: an id that no other connection has, in this process or the next.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::OnceLock;

use crate::effects::Peer;

/// The id of a connection: the number of the process, and the connection in it.
pub(super) fn encode(peer: Peer) -> String {
    format!("{:08x}-{peer}", process_number())
}

/// The connection with an id; `None` if it is one of another process, or none at all.
#[cfg(feature = "admin")]
pub(super) fn parse(id: &str) -> Option<Peer> {
    let (process, peer) = id.split_once('-')?;
    let peer: Peer = peer.parse().ok()?;
    (encode(peer) == format!("{process}-{peer}")).then_some(peer)
}

/// The number of the process, as the ids of its connections have it.
#[cfg(feature = "http-backends")]
pub(super) fn process() -> String {
    format!("{:08x}", process_number())
}

/// As good as any other number that the next process does not have.
fn process_number() -> u32 {
    static NUMBER: OnceLock<u32> = OnceLock::new();
    *NUMBER.get_or_init(|| {
        let random = RandomState::new().hash_one(0) & u64::from(u32::MAX);
        u32::try_from(random).unwrap_or(0)
    })
}

#[cfg(all(test, feature = "admin"))]
mod tests {
    use super::*;
    use crate::key::ConnKey;

    #[test]
    fn an_id_names_one_connection_of_this_process() {
        let peer = Peer { loop_index: 3, key: ConnKey { index: 7, generation: 12 } };
        let id = encode(peer);
        assert_eq!(parse(&id), Some(peer));
        let other = format!("{:08x}{}", process_number().wrapping_add(1), &id[8..]);
        for text in [&other, "", "-", &id[9..], &id.replace('-', "-0"), &id.to_uppercase()] {
            assert!(parse(text).is_none() || text == id, "{text}");
        }
    }
}
