//! Commands, replies and pushes in Protobuf: messages with their lengths in front of them.
//!
//! | file | what it is |
//! |---|---|
//! | `wire` | fields and varints, read forwards and written backwards |
//! | `decode` | frames with commands |
//! | `encode` | replies and pushes |
//!
//! The numbers of the fields are those of `definitions/client.proto` of `centrifugal/protocol`; the encoding is
//! described at <https://protobuf.dev/programming-guides/encoding/>.

mod decode;
mod encode;
#[cfg(test)]
mod twin;
mod wire;

pub(super) use decode::first_command;
pub(super) use encode::ProtobufEncoder;
