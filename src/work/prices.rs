//! What things cost, in units of about a nanosecond of a usual machine.
//!
//! `cargo bench --bench work_prices` measures each of them and prints it beside the constant. They
//! need not be exact: one that is too high costs a few more turns, one that is too low makes turns
//! longer by as much. Where the cost cannot be told from outside, as with what is inflated, it is
//! the worst that the bytes can cause.

/// A read from a socket, without its bytes.
pub const READ: u64 = 500;
/// A write to a socket, without its bytes.
pub const WRITE: u64 = 1_500;
/// A connection is accepted and registered.
pub const ACCEPT: u64 = 4_000;
/// A connection to a backend is begun and registered.
pub const CONNECT: u64 = 12_000;
/// A socket is closed.
pub const CLOSE: u64 = 2_500;
/// A request head is parsed and answered.
pub const HEAD: u64 = 1_500;
/// A message is decoded and given to its service. A power of two, as it divides.
pub const MESSAGE: u64 = 64;
/// A control frame, or a fragment of a message, is decoded and answered where it is to be.
pub const FRAME: u64 = 64;
/// A publication is made: the service, its encodings, and its way to the fan-out.
pub const PUBLICATION: u64 = 1_000;
/// Any other effect is noted and carried out.
pub const EFFECT: u64 = 200;
/// A frame joins the queue of a member.
pub const DELIVERY: u64 = 100;
/// A message of another loop is taken out of its mailbox.
pub const MAIL: u64 = 300;
/// A deadline is looked at.
pub const TIMER: u64 = 100;
/// A slot of the table is looked at, in search of connections.
pub const SLOT: u64 = 5;
/// A segment of a backlog is looked at, in search of what need not be sent.
pub const SEGMENT: u64 = 5;
/// A socket is asked for the address of its peer.
pub const ADDRESS: u64 = 300;
/// A connection is described to an operator, without its address.
pub const ROW: u64 = 400;
/// A room is described to an operator.
pub const ROOM: u64 = 200;
/// The library's part of a full TLS handshake that answers the client's first message: a key exchange
/// and a signature.
pub const TLS_FULL: u64 = 150_000;
/// The same where the server's key may be one of RSA, of 2,048 bits.
pub const TLS_FULL_RSA: u64 = 650_000;
/// The same where a ticket is accepted: a key exchange.
pub const TLS_RESUMED: u64 = 90_000;
/// Any other step of a TLS handshake: before TLS 1.3 the last one is the key exchange.
pub const TLS_STEP: u64 = 40_000;
/// A peer's certificate is verified, and its signature.
pub const TLS_CLIENT_CERTIFICATE: u64 = 250_000;
/// A ticket of a server is kept.
pub const TLS_TICKET: u64 = 10_000;
/// A key of TLS is expanded from its secret.
pub const TLS_KEY: u64 = 1_500;
/// A TLS record is opened or sealed, without its bytes.
pub const RECORD: u64 = 300;
/// A token is taken apart, and its header and claims are read, without its signature.
pub const JWT_HEADER: u64 = 5_000;
/// The signature of a token is verified: an HMAC, without its bytes.
pub const JWT_HMAC: u64 = 2_000;
/// The same with ECDSA on P-256.
pub const JWT_P256: u64 = 100_000;
/// The same with ECDSA on P-384.
pub const JWT_P384: u64 = 300_000;
/// The same with Ed25519.
pub const JWT_ED25519: u64 = 80_000;
/// A compressor is reset, and its tables are cleared.
pub const COMPRESSOR: u64 = 5_000;

/// The price of reading or writing bytes, whatever is done with them: an eighth of a unit each.
#[inline]
#[must_use]
pub const fn bytes(count: usize) -> u64 {
    count as u64 / 8
}

/// The price of parsing this many bytes of JSON or Protobuf, and of what is made of them. Short values without any
/// text in them are the most expensive.
#[inline]
#[must_use]
pub const fn parsed(bytes: usize) -> u64 {
    bytes as u64 * 3
}

/// The price of opening a TLS record of this many bytes.
#[inline]
#[must_use]
pub const fn opened(record_bytes: usize) -> u64 {
    RECORD + record_bytes as u64 / 2
}

/// The price of sealing this many bytes in a TLS record.
#[inline]
#[must_use]
pub const fn sealed(bytes: usize) -> u64 {
    RECORD + bytes as u64 / 2
}

/// The price of inflating: of what comes out, or of what goes in if it were the most expensive blocks
/// that there are, those that yield nothing.
#[must_use]
pub const fn inflated(bytes_in: usize, bytes_out: usize) -> u64 {
    let (all_in, all_out) = (bytes_in as u64 * 50, bytes_out as u64);
    if all_in > all_out { all_in } else { all_out }
}

/// The price of setting a dictionary before a message is compressed.
#[must_use]
pub const fn dictionary(bytes: usize) -> u64 {
    bytes as u64
}

/// The price of setting a dictionary before a message is inflated: it is copied.
#[must_use]
pub const fn copied_dictionary(bytes: usize) -> u64 {
    bytes as u64 / 8
}

/// The prices of compressing at levels 1 to 9: of a byte that goes in, and of one that comes out.
const COMPRESSED: [(u64, u64); 9] =
    [(1, 6), (1, 15), (2, 16), (3, 16), (4, 16), (10, 10), (13, 10), (50, 5), (60, 5)];

/// The price of compressing a message at a level, 1 to 9, beside that of the compressor. What repeats
/// itself is found quickly; every byte that comes out has been looked for in vain.
#[must_use]
pub fn compressed(bytes_in: usize, bytes_out: usize, level: u8) -> u64 {
    let (each_in, each_out) = COMPRESSED[usize::from(level.clamp(1, 9)) - 1];
    bytes_in as u64 * each_in + bytes_out as u64 * each_out
}

/// The level to compress a message at, of which this one is the most: a message is compressed in one
/// step, so a long one gets less effort. `None` for one that would take too long even if most of it
/// repeats itself.
#[must_use]
pub fn affordable_level(bytes: usize, level: u8) -> Option<u8> {
    (1..=level).rev().find(|level| compressed(bytes, bytes / 8, *level) <= STEP_MAX)
}

/// The price of verifying the signature of a token with an RSA key of this many bits: it grows with
/// their square.
#[must_use]
pub const fn jwt_rsa(bits: usize) -> u64 {
    let units = bits as u64 / 64;
    units * units * 40
}

/// The most that a step may cost which cannot be split: a millisecond.
pub const STEP_MAX: u64 = 1_000_000;
