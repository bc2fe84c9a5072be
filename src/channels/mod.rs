//! Channels: names and their options, history with positions and recovery, presence, and the engine that
//! orders publications, as functions of bytes and numbers.
//!
//! A channel has members on any loop and one home, which alone decides the order of what is published.
//! The home asks an [`Engine`] to publish and to read; [`MemoryEngine`] keeps what it was given in the
//! process. Dialects translate: nothing here knows how a client writes its commands.
//!
//! | file | what it is |
//! |---|---|
//! | `name` | the name of a channel, taken apart |
//! | `namespace` | the options that channels take from their names |
//! | `overrides` | what one subscription has otherwise |
//! | `position` | how far a stream is: epoch and offset |
//! | `history` | the last publications of one channel, and recovery from them |
//! | `idempotency` | publications that are not to be made twice |
//! | `presence` | who is in a channel |
//! | `conflation` | the latest publication of a channel in a time |
//! | `engine` | what the home asks for, and what it is answered |
//! | `memory_engine` | the engine inside the process |
//! | `remote` | channels that several gateways share |
//! | `stream_copy` | one stream, taken out of an engine and put into another |
//! | `snapshot` | streams as the bytes of a file, for the process that takes over |

mod conflation;
mod engine;
mod history;
mod idempotency;
mod memory_engine;
mod name;
mod namespace;
mod overrides;
mod position;
mod presence;
pub mod remote;
mod snapshot;
mod stream_copy;

pub use conflation::Conflation;
pub use engine::{
    Change, Engine, EngineError, EngineEvent, JoinRequest, PageRequest, PublishRequest, Published,
    Read, StreamItem,
};
pub use history::{
    ENTRY_BYTES_MAX, History, PAGE_BYTES_MAX, Page, Publication, PublicationDetails,
    RECOVERED_BYTES_MAX, RECOVERED_MAX, Recovery, Since,
};
pub use idempotency::{IDEMPOTENCY_KEY_BYTES_MAX, IDEMPOTENCY_MS, IDEMPOTENT_MAX};
pub use memory_engine::{MemoryEngine, MemoryLimits};
pub use name::{ChannelName, InvalidChannel, NAME_BYTES_MAX};
pub use namespace::{Namespace, Namespaces, RecoveryMode, SlowMemberPolicy, Who};
pub use overrides::Overrides;
pub use position::{EPOCH_BYTES, Epoch, NamedEpoch, Position};
pub use presence::{ClientId, ClientInfo, Presence};
pub use snapshot::{
    HEADER_BYTES, SNAPSHOT_KEY_BYTES, SnapshotError, SnapshotHeader, SnapshotWriter,
    parse_snapshot, snapshot_bytes_max,
};
pub use stream_copy::{KeyCopy, StreamCopy};
