//! The checksum that a header of version 2 may hold (section 2.2.3 of the specification): CRC-32C as in
//! RFC 9260 appendix A, over the whole header with zeros in its place.

use crc::{CRC_32_ISCSI, Crc, NoTable};

/// The checksum of a header whose field for it, of four bytes, begins at `at`.
pub(super) fn crc32c_of_header(header: &[u8], at: usize) -> u32 {
    let mut digest = CRC32C.digest();
    digest.update(header.get(..at).unwrap_or(header));
    digest.update(&[0; FIELD_BYTES]);
    digest.update(header.get(at + FIELD_BYTES..).unwrap_or_default());
    digest.finalize()
}

/// Without a table: headers are short, and few have a checksum.
const CRC32C: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISCSI);
const FIELD_BYTES: usize = 4;
