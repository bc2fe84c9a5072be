//! A descriptor that is kept only to be there when descriptors run out.

use std::fs::File;
use std::io;

/// An open descriptor without a use.
#[derive(Debug)]
pub(crate) struct ReserveDescriptor {
    #[expect(dead_code, reason = "held for its descriptor alone")]
    file: File,
}

impl ReserveDescriptor {
    /// Takes one.
    pub(crate) fn open() -> io::Result<Self> {
        File::open("/dev/null").map(|file| Self { file })
    }
}
