//! What a file may refer to outside itself: other files, and environment variables.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// What a file may refer to outside itself.
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    /// The folder that relative paths start from: that of the file.
    folder: PathBuf,
    /// The value of an environment variable.
    variable: fn(&str) -> Option<String>,
}

impl Surroundings {
    /// Of the file with this name, in this process.
    pub(super) fn of(file_name: &str) -> Self {
        Self::new(file_name, |name| std::env::var(name).ok())
    }

    /// Of the file with this name, with these environment variables.
    pub(super) fn new(file_name: &str, variable: fn(&str) -> Option<String>) -> Self {
        let folder = Path::new(file_name).parent().map(Path::to_path_buf).unwrap_or_default();
        Self { folder, variable }
    }

    pub(super) fn variable(&self, name: &str) -> Option<String> {
        (self.variable)(name)
    }

    /// Where the file with this path is.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// The text of a small file, without the line break at its end.
    pub(super) fn read(&self, path: &str) -> io::Result<String> {
        let file = File::open(self.path(path))?;
        let mut text = String::new();
        // What is no secret, such as a device, must not fill the memory.
        if file.take(SECRET_FILE_BYTES_MAX + 1).read_to_string(&mut text)? > SECRET_FILE_BYTES {
            let reason = format!("it is longer than {SECRET_FILE_BYTES} bytes");
            return Err(io::Error::other(reason));
        }
        let line = text.strip_suffix('\n').unwrap_or(&text);
        Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
    }
}

/// More than any secret needs.
const SECRET_FILE_BYTES: usize = 65_536;
const SECRET_FILE_BYTES_MAX: u64 = SECRET_FILE_BYTES as u64;
