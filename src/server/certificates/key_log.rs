//! Appends the secrets of connections to a file, for programs that decrypt captured traffic: the format of
//! NSS, which SSLKEYLOGFILE has made common.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustls::KeyLog;
use zeroize::Zeroizing;

/// A file of secrets. Each is written as one line by one call, so that the lines of several threads do not
/// mix. What the file does not take is lost: it is for debugging.
#[derive(Debug)]
pub(super) struct KeyLogFile {
    file: File,
}

impl KeyLogFile {
    /// Opens the file, and makes it, readable by its owner alone, if there is none.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        Ok(Self { file })
    }
}

impl KeyLog for KeyLogFile {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let mut line = Zeroizing::new(format!("{label} "));
        push_hex(&mut line, client_random);
        line.push(' ');
        push_hex(&mut line, secret);
        line.push('\n');
        let _ = (&self.file).write_all(line.as_bytes());
    }
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // A string takes all that is written to it.
        let _ = write!(text, "{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn secrets_are_appended_one_to_a_line_for_the_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.log");
        for _ in 0..2 {
            let log = KeyLogFile::open(&path).unwrap();
            log.log("CLIENT_RANDOM", &[0, 0xab], &[1, 2, 3]);
        }
        let line = "CLIENT_RANDOM 00ab 010203\n";
        assert_eq!(std::fs::read_to_string(&path).unwrap(), line.repeat(2));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
