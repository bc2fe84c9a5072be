//! Reads the files of certificates, authorities and ticket keys, and says which one is wrong.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::digest::{Context, SHA256};
use rustls::crypto::CryptoProvider;
use zeroize::Zeroizing;

use crate::certificates::{CertificateError, ClientAuthorities, ServerCertificate, TicketRoots};
use crate::config::FilePath;
use crate::display::debug_as_display;

/// What is read from files, and read again when they change.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// A certificate and its key.
    Pair {
        position: usize,
        certificate: FilePath,
        key: FilePath,
    },
    /// A certificate that the gateway gets itself, with its key in the same file, which is not there
    /// before it has one.
    Acme {
        position: usize,
        file: FilePath,
    },
    /// The authorities of a listener's clients.
    Authorities {
        listener: usize,
        file: FilePath,
    },
    TicketKeys {
        file: FilePath,
    },
}

/// What a source came to.
#[derive(Debug)]
pub(super) enum Content {
    Pair(Box<ServerCertificate>),
    /// There is no certificate yet.
    Absent,
    Authorities(ClientAuthorities),
    TicketKeys(TicketRoots),
}

/// The bytes of a source's files. They may hold keys, so they are wiped.
#[derive(Debug)]
pub(super) struct Bytes {
    /// The certificate, the authorities or the ticket keys.
    main: Zeroizing<Vec<u8>>,
    /// The key of a certificate; otherwise empty.
    key: Zeroizing<Vec<u8>>,
}

/// What tells two states of the files of a source apart.
pub(super) type Digest = [u8; 32];

/// A file of certificates, keys or authorities cannot be used. Displays as one line that names the key
/// of the configuration, the file and what is wrong with it.
#[derive(Clone, PartialEq, Eq)]
pub struct CertificateFileError {
    key: String,
    path: String,
    reason: Reason,
}

#[derive(Clone, PartialEq, Eq)]
enum Reason {
    /// There is no such file.
    Absent(String),
    /// The system does not let it be read.
    Read(String),
    /// What is in it.
    Content(CertificateError),
}

debug_as_display!(CertificateFileError);

impl std::error::Error for CertificateFileError {}

impl fmt::Display for CertificateFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, path, reason } = self;
        write!(f, "{key} = {path:?}: the file ")?;
        match reason {
            Reason::Absent(error) | Reason::Read(error) => write!(f, "cannot be used: {error}"),
            Reason::Content(error) => error.fmt(f),
        }
    }
}

impl CertificateFileError {
    pub(super) fn system(key: &str, path: &FilePath, error: &io::Error) -> Self {
        let reason = if error.kind() == io::ErrorKind::NotFound {
            Reason::Absent(error.to_string())
        } else {
            Reason::Read(error.to_string())
        };
        Self { key: key.to_owned(), path: path.to_string(), reason }
    }

    pub(super) fn content(key: String, path: &FilePath, error: CertificateError) -> Self {
        Self { key, path: path.to_string(), reason: Reason::Content(error) }
    }
}

impl Source {
    /// Reads the files, without looking at what is in them.
    pub(super) fn read(&self) -> Result<Bytes, CertificateFileError> {
        match self {
            Self::Pair { certificate, key, .. } => Ok(Bytes {
                main: read(certificate, &self.key())?,
                key: read(key, &self.private_key())?,
            }),
            Self::Acme { file, .. } => Ok(Bytes {
                main: if_there(read(file, &self.key()))?.unwrap_or_default(),
                key: Zeroizing::default(),
            }),
            Self::Authorities { file, .. } | Self::TicketKeys { file } => {
                Ok(Bytes { main: read(file, &self.key())?, key: Zeroizing::default() })
            }
        }
    }

    /// What is in the files.
    pub(super) fn parse(
        &self,
        bytes: &Bytes,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Content, CertificateFileError> {
        let Bytes { main, key: key_bytes } = bytes;
        match self {
            Self::Pair { certificate, key, .. } => {
                let read = ServerCertificate::from_pem(main, key_bytes, provider);
                let read = read.map_err(|error| {
                    let is_of_key =
                        matches!(error, CertificateError::Key(_) | CertificateError::OtherKey);
                    let (name, file) = if is_of_key {
                        (self.private_key(), key)
                    } else {
                        (self.key(), certificate)
                    };
                    CertificateFileError::content(name, file, error)
                });
                read.map(|pair| Content::Pair(Box::new(pair)))
            }
            Self::Acme { .. } if main.is_empty() => Ok(Content::Absent),
            Self::Acme { file, .. } => ServerCertificate::from_pem(main, main, provider)
                .map(|pair| Content::Pair(Box::new(pair)))
                .map_err(|error| CertificateFileError::content(self.key(), file, error)),
            Self::Authorities { file, .. } => ClientAuthorities::from_pem(main, provider)
                .map(Content::Authorities)
                .map_err(|error| CertificateFileError::content(self.key(), file, error)),
            Self::TicketKeys { file } => TicketRoots::from_file(main)
                .map(Content::TicketKeys)
                .map_err(|error| CertificateFileError::content(self.key(), file, error)),
        }
    }

    /// What its first file holds is refused.
    pub(super) fn refused(&self, error: CertificateError) -> CertificateFileError {
        let (Self::Pair { certificate: file, .. }
        | Self::Acme { file, .. }
        | Self::Authorities { file, .. }
        | Self::TicketKeys { file }) = self;
        CertificateFileError::content(self.key(), file, error)
    }

    /// Where its files are.
    pub(super) fn paths(&self) -> Vec<&Path> {
        match self {
            Self::Pair { certificate, key, .. } => vec![certificate.path(), key.path()],
            Self::Acme { file, .. }
            | Self::Authorities { file, .. }
            | Self::TicketKeys { file } => {
                vec![file.path()]
            }
        }
    }

    /// The key of the configuration that names its first file.
    pub(super) fn key(&self) -> String {
        match self {
            Self::Pair { position, .. } => format!("certificate[{position}].certificate"),
            Self::Acme { .. } => "acme.cache_dir".to_owned(),
            Self::Authorities { listener, .. } => format!("listener[{listener}].client_ca"),
            Self::TicketKeys { .. } => "tls.ticket_keys_file".to_owned(),
        }
    }

    fn private_key(&self) -> String {
        match self {
            Self::Pair { position, .. } => format!("certificate[{position}].key"),
            Self::Acme { .. } | Self::Authorities { .. } | Self::TicketKeys { .. } => self.key(),
        }
    }
}

impl Bytes {
    pub(super) fn digest(&self) -> Digest {
        let mut context = Context::new(&SHA256);
        context.update(&self.main.len().to_be_bytes());
        context.update(&self.main);
        context.update(&self.key);
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        digest
    }
}

/// `None` in place of the error that there is no such file.
fn if_there<T>(read: Result<T, CertificateFileError>) -> Result<Option<T>, CertificateFileError> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(CertificateFileError { reason: Reason::Absent(_), .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn read(file: &FilePath, key: &str) -> Result<Zeroizing<Vec<u8>>, CertificateFileError> {
    let read = || {
        let mut bytes = Zeroizing::new(Vec::new());
        // What is no such file, as a device, must not fill the memory.
        let length = File::open(file.path())?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if length as u64 > FILE_BYTES_MAX {
            return Err(io::Error::other(format!("it is longer than {FILE_BYTES_MAX} bytes")));
        }
        Ok(bytes)
    };
    read().map_err(|error| CertificateFileError::system(key, file, &error))
}

/// The folders in which a change may mean another content of the file at this path: its own, and those of
/// all links on the way to it.
pub(super) fn folders(path: &Path) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    let mut next = Some(path.to_path_buf());
    for _ in 0..LINKS_MAX {
        let Some(path) = next.take().and_then(|path| std::path::absolute(path).ok()) else { break };
        folders.extend(path.parent().map(Path::to_path_buf));
        for (index, link) in path.ancestors().enumerate() {
            let Ok(target) = link.read_link() else { continue };
            let Some(parent) = link.parent() else { continue };
            folders.push(parent.to_path_buf());
            // The outermost link of what is left leads on; its own way is looked at next.
            let rest: PathBuf = path.iter().skip(path.iter().count() - index).collect();
            next = Some(parent.join(target).join(rest));
        }
    }
    folders.sort();
    folders.dedup();
    folders
}

/// More than any file of certificates has.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// As many links as Linux follows (path_resolution(7)).
const LINKS_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn folders_of_links_are_found_on_the_whole_way() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        for folder in ["archive", "live", "versions/1"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::fs::write(root.join("archive/cert1.pem"), "").unwrap();
        std::fs::write(root.join("versions/1/tls.crt"), "").unwrap();
        // As certbot does it.
        symlink("../archive/cert1.pem", root.join("live/cert.pem")).unwrap();
        // As Kubernetes does it.
        symlink("1", root.join("versions/..data")).unwrap();
        symlink("..data/tls.crt", root.join("versions/tls.crt")).unwrap();
        // A link to a folder.
        symlink("live", root.join("current")).unwrap();
        let found = |path: &str| -> Vec<String> {
            let folders = folders(&root.join(path));
            let own = folders.iter().map(|folder| {
                std::fs::canonicalize(folder).unwrap().strip_prefix(&root).unwrap().to_path_buf()
            });
            let mut own: Vec<_> = own.map(|folder| folder.display().to_string()).collect();
            own.sort();
            own.dedup();
            own
        };
        assert_eq!(found("archive/cert1.pem"), ["archive"]);
        assert_eq!(found("live/cert.pem"), ["archive", "live"]);
        assert_eq!(found("versions/tls.crt"), ["versions", "versions/1"]);
        assert_eq!(found("current/cert.pem"), ["", "archive", "live"]);
        assert_eq!(found("live/none.pem"), ["live"]);
        // A circle ends.
        symlink("circle", root.join("circle")).unwrap();
        assert_eq!(folders(&root.join("circle/cert.pem")), [root.clone(), root.join("circle")]);
    }
}
