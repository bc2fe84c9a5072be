//! Who is in a channel.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use crate::shrink::Shrink as _;

/// Names a connection to clients and backends: 128 bits, as text a UUID of version 4 (RFC 9562 §5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId([u8; 16]);

impl ClientId {
    /// An identifier of these random bytes.
    #[must_use]
    pub const fn new(mut random: [u8; 16]) -> Self {
        random[6] = random[6] & 0x0F | 0x40;
        random[8] = random[8] & 0x3F | 0x80;
        Self(random)
    }

    /// The identifier with this text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
        let digits = str::from_utf8(&digits).ok().filter(|digits| digits.len() == 32)?;
        // Which takes a sign before the digits.
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u128::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
        Some(Self(number.to_be_bytes())).filter(|own| own.to_string() == text)
    }

    /// Its bytes, for [`ClientId::new`].
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// A number that is another for each, to spread what is done for all of them.
    #[must_use]
    pub fn spread(&self) -> u64 {
        let [a, b, c, d, ..] = self.0;
        u64::from(u32::from_ne_bytes([a, b, c, d]))
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                formatter.write_str("-")?;
            }
            write!(formatter, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// What is told of a client to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientInfo {
    /// Its user; empty for a client without one.
    pub user: Arc<str>,
    /// The connection.
    pub client: ClientId,
    /// What the credential of its connection says of it, as JSON.
    pub conn_info: Option<Arc<[u8]>>,
    /// What the credential for the channel says of it, as JSON.
    pub chan_info: Option<Arc<[u8]>>,
}

impl ClientInfo {
    /// Bytes of memory that it holds, beside its own size.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let infos = [&self.conn_info, &self.chan_info];
        self.user.len()
            + infos.iter().map(|own| own.as_ref().map_or(0, |own| own.len())).sum::<usize>()
    }
}

/// The members of a channel, each known to its home by a `K`.
#[derive(Debug)]
pub struct Presence<K> {
    members: HashMap<K, ClientInfo>,
    /// How many members each user is.
    users: HashMap<Arc<str>, u32>,
}

impl<K> Default for Presence<K> {
    fn default() -> Self {
        Self { members: HashMap::new(), users: HashMap::new() }
    }
}

impl<K: Copy + Eq + Hash> Presence<K> {
    /// A member has come, or is now known as this.
    pub fn add(&mut self, member: K, info: ClientInfo) {
        let user = Arc::clone(&info.user);
        if let Some(before) = self.members.insert(member, info) {
            self.release(&before.user);
        }
        *self.users.entry(user).or_default() += 1;
    }

    /// A member has left; what it was known as.
    pub fn remove(&mut self, member: K) -> Option<ClientInfo> {
        let info = self.members.remove(&member)?;
        self.release(&info.user);
        self.members.shrink_if_sparse(0);
        self.users.shrink_if_sparse(0);
        Some(info)
    }

    fn release(&mut self, user: &str) {
        if let Some(count) = self.users.get_mut(user) {
            *count -= 1;
            if *count == 0 {
                self.users.remove(user);
            }
        }
    }

    /// All members, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &ClientInfo> {
        self.members.values()
    }

    /// Members.
    #[must_use]
    pub fn client_count(&self) -> usize {
        self.members.len()
    }

    /// Users among them; those without one count as one.
    #[must_use]
    pub fn user_count(&self) -> usize {
        self.users.len()
    }

    /// Whether it has no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn info(user: u8) -> ClientInfo {
        let (user, client) = (user.to_string().into(), ClientId::new([user; 16]));
        ClientInfo { user, client, conn_info: None, chan_info: None }
    }

    proptest! {
        #[test]
        fn users_are_counted_as_a_set_would(
            steps in prop::collection::vec((any::<bool>(), 0..9_u32, 0..4_u8), 0..60),
        ) {
            let (mut own, mut naive) = (Presence::default(), HashMap::new());
            for (enters, member, user) in steps {
                match enters {
                    true => {
                        own.add(member, info(user));
                        naive.insert(member, user);
                    }
                    false => {
                        let was = own.remove(member).map(|info| info.user.to_string());
                        prop_assert_eq!(was, naive.remove(&member).map(|user| user.to_string()));
                    }
                }
                let users: std::collections::BTreeSet<_> = naive.values().collect();
                prop_assert_eq!((own.client_count(), own.user_count()), (naive.len(), users.len()));
            }
        }
    }

    #[test]
    fn a_client_id_is_a_uuid_of_version_4() {
        assert_eq!(ClientId::new([0xFF; 16]).to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(ClientId::new([0; 16]).to_string(), "00000000-0000-4000-8000-000000000000");
    }
}
