//! The output of a spawned server, kept in a file until an error message needs its last lines.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::process::Stdio;

/// The log. The file has no name and vanishes with its last user.
#[derive(Debug)]
pub(crate) struct ServerLog {
    file: File,
}

impl ServerLog {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { file: tempfile::tempfile()? })
    }

    /// A handle for the server's standard output or standard error.
    pub(crate) fn stdio(&self) -> io::Result<Stdio> {
        Ok(self.file.try_clone()?.into())
    }

    /// The last lines, indented, for the end of an error message. Empty if the server wrote
    /// nothing.
    pub(crate) fn tail(&self) -> String {
        let Ok(bytes) = self.read_end() else {
            return String::new();
        };
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(TAIL_LINES)..];
        if last.is_empty() {
            return String::new();
        }
        format!("; its last lines:\n  {}", last.join("\n  "))
    }

    fn read_end(&self) -> io::Result<Vec<u8>> {
        let file_bytes = self.file.metadata()?.len();
        let start = file_bytes.saturating_sub(TAIL_BYTES);
        let mut bytes = vec![0; usize::try_from(file_bytes - start).unwrap_or_default()];
        // At an offset, because the position belongs to the server, which may still write.
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes)
    }
}

const TAIL_LINES: usize = 20;
const TAIL_BYTES: u64 = 8 * 1024;

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_tail_has_the_last_lines_only() {
        let mut log = ServerLog::new().unwrap();
        assert_eq!(log.tail(), "");
        log.file.write_all(b"one\ntwo\n").unwrap();
        assert_eq!(log.tail(), "; its last lines:\n  one\n  two");
        for number in 0..5000 {
            writeln!(log.file, "line {number}").unwrap();
        }
        let tail = log.tail();
        assert!(tail.ends_with("\n  line 4998\n  line 4999"), "{tail}");
        assert_eq!(tail.lines().count(), 1 + TAIL_LINES);
    }
}
