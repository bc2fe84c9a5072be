//! Load generator for WebSocket servers.

mod client;
mod clock;
mod driver;
mod random;
mod source_address;
mod target;

fn main() {}
