//! Keys and channels in Redis.

use crc::{CRC_16_XMODEM, CRC_32_ISCSI, Crc};

/// Gives the names of keys and channels. In a Cluster each has a hash tag, so that what belongs to a channel of
/// the gateway lies in one slot.
#[derive(Clone, Debug)]
pub(super) struct Names {
    prefix: Box<str>,
    is_clustered: bool,
}

/// The commands of publish and subscribe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verbs {
    pub(super) publish: &'static [u8],
    pub(super) subscribe: &'static [u8],
    pub(super) unsubscribe: &'static [u8],
}

/// What is heard in a channel of Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard<'n> {
    /// Messages for this channel of the gateway.
    Channel(&'n str),
    /// What other nodes say.
    Nodes,
}

impl Names {
    pub(super) fn new(prefix: &str, is_clustered: bool) -> Self {
        Self { prefix: prefix.into(), is_clustered }
    }

    /// In a Cluster a message goes to the nodes that hold the slot of its channel, and not to all.
    pub(super) fn verbs(&self) -> Verbs {
        if self.is_clustered {
            Verbs { publish: b"SPUBLISH", subscribe: b"SSUBSCRIBE", unsubscribe: b"SUNSUBSCRIBE" }
        } else {
            Verbs { publish: b"PUBLISH", subscribe: b"SUBSCRIBE", unsubscribe: b"UNSUBSCRIBE" }
        }
    }

    /// The partition of a channel.
    pub(super) fn partition(&self, channel: &str) -> usize {
        if !self.is_clustered {
            return 0;
        }
        usize::from(digest(channel.as_bytes()).to_le_bytes()[0]) % PARTITIONS
    }

    /// The partition of what is said to the node with this number.
    pub(super) fn node_partition(&self, node: u64) -> usize {
        if self.is_clustered { usize::from(node.to_le_bytes()[0]) % PARTITIONS } else { 0 }
    }

    /// Epoch and offset.
    pub(super) fn meta(&self, channel: &str) -> Vec<u8> {
        self.of_channel("m", channel)
    }

    /// The publications, as a list.
    pub(super) fn list(&self, channel: &str) -> Vec<u8> {
        self.of_channel("h", channel)
    }

    /// The publications, as a stream.
    pub(super) fn stream(&self, channel: &str) -> Vec<u8> {
        self.of_channel("s", channel)
    }

    /// What the publication with an idempotency key has come to. The length keeps two channels apart of which
    /// one begins with the other.
    pub(super) fn idempotency(&self, channel: &str, key: &str) -> Vec<u8> {
        let rest = format!("{}.{channel}.{key}", channel.len());
        self.name("i", self.partition(channel), &rest)
    }

    /// Where publications and notes are heard.
    pub(super) fn live(&self, channel: &str) -> Vec<u8> {
        self.of_channel("c", channel)
    }

    /// Where all nodes are spoken to.
    pub(super) fn all_nodes(&self) -> Vec<u8> {
        self.name("nodes", 0, "")
    }

    /// Where one node is spoken to.
    pub(super) fn node(&self, node: u64) -> Vec<u8> {
        self.name("node", self.node_partition(node), &node.to_string())
    }

    /// Where a node hears itself, in a partition.
    pub(super) fn probe(&self, partition: usize, node: u64, nonce: u64) -> Vec<u8> {
        self.name("probe", partition, &format!("{node}.{nonce:016x}"))
    }

    /// What is heard in a channel of Redis; `None` if it is none of [`Names::live`], [`Names::all_nodes`] and
    /// [`Names::node`].
    pub(super) fn heard<'n>(&self, name: &'n [u8]) -> Option<Heard<'n>> {
        let rest = name.strip_prefix(self.prefix.as_bytes())?.strip_prefix(b".")?;
        let rest = if self.is_clustered {
            let end = rest.iter().position(|&byte| byte == b'}')?;
            rest.get(end + 1..)?.strip_prefix(b".")?
        } else {
            rest
        };
        if let Some(channel) = rest.strip_prefix(b"c.") {
            return str::from_utf8(channel).ok().map(Heard::Channel);
        }
        (rest == b"nodes." || rest.starts_with(b"node.")).then_some(Heard::Nodes)
    }

    fn of_channel(&self, kind: &str, channel: &str) -> Vec<u8> {
        self.name(kind, self.partition(channel), channel)
    }

    fn name(&self, kind: &str, partition: usize, rest: &str) -> Vec<u8> {
        let prefix = &self.prefix;
        let mut name = String::with_capacity(prefix.len() + kind.len() + rest.len() + 8);
        name.push_str(prefix);
        name.push('.');
        if self.is_clustered {
            name.push_str(&tag(partition));
            name.push('.');
        }
        name.push_str(kind);
        name.push('.');
        name.push_str(rest);
        name.into_bytes()
    }
}

/// A number for an identity.
pub(super) fn digest(identity: &[u8]) -> u32 {
    CASTAGNOLI.checksum(identity)
}

/// The slot of a Cluster in which a partition lies.
pub(super) fn slot(partition: usize) -> u16 {
    CLUSTER.checksum(partition.to_string().as_bytes()) % 16_384
}

fn tag(partition: usize) -> String {
    format!("{{{partition}}}")
}

/// Hash tags of a Cluster.
pub(super) const PARTITIONS: usize = 128;
const CASTAGNOLI: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
/// As the specification of Redis Cluster has it.
const CLUSTER: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_name_leads_back_to_its_channel(channel in "\\PC{0,20}", is_clustered: bool) {
            let names = Names::new("some.prefix", is_clustered);
            let live = names.live(&channel);
            prop_assert_eq!(names.heard(&live), Some(Heard::Channel(&channel)));
            for other in [names.meta(&channel), names.idempotency(&channel, "key")] {
                prop_assert_eq!(names.heard(&other), None);
            }
        }

        #[test]
        fn no_name_makes_a_node_fail(name: Vec<u8>, is_clustered: bool) {
            let names = Names::new("p", is_clustered);
            let _ = names.heard(&name);
            let _ = names.heard(&[b"p.{1}.", &*name].concat());
        }
    }

    #[test]
    fn nodes_are_heard_and_probes_are_not() {
        for is_clustered in [false, true] {
            let names = Names::new("p", is_clustered);
            assert_eq!(names.heard(&names.all_nodes()), Some(Heard::Nodes));
            assert_eq!(names.heard(&names.node(300)), Some(Heard::Nodes));
            assert_eq!(names.heard(&names.probe(3, 1, 2)), None);
        }
    }

    #[test]
    fn names_of_two_channels_differ_where_one_begins_with_the_other() {
        let names = Names::new("p", false);
        assert_ne!(names.idempotency("a", "b.c"), names.idempotency("a.b", "c"));
        assert_eq!(names.meta("a"), b"p.m.a");
    }

    #[test]
    fn all_that_a_channel_has_lies_in_one_slot() {
        let names = Names::new("p", true);
        let partition = names.partition("room");
        let tagged = |name: Vec<u8>| name.starts_with(format!("p.{{{partition}}}.").as_bytes());
        assert!(tagged(names.meta("room")) && tagged(names.live("room")));
        assert!(tagged(names.list("room")) && tagged(names.stream("room")));
        assert!(tagged(names.idempotency("room", "key")));
        // The example of the specification.
        assert_eq!(slot(123_456_789), 0x31c3);
    }

    #[test]
    fn channels_are_spread_over_the_partitions() {
        let names = Names::new("p", true);
        let mut counts = [0_u32; PARTITIONS];
        for number in 0..12_800 {
            counts[names.partition(&format!("room:{number}"))] += 1;
        }
        assert!(counts.iter().all(|count| (50..200).contains(count)), "{counts:?}");
    }
}
