//! The folder of an account and a certificate. Each file is replaced as a whole, and read by its owner
//! alone.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use instant_acme::AccountCredentials;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::error::AcmeError;
use super::settings::AcmeSettings;
use crate::certificates::{ServerCertificate, provider};

/// The folder.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    certificate_file: PathBuf,
}

/// An account with an authority.
#[derive(Deserialize, Serialize)]
pub(super) struct SavedAccount {
    /// The directory of the authority.
    pub(super) directory: String,
    /// What the authority was told to write to.
    pub(super) contact: Option<String>,
    /// Of the account's key (RFC 7638): answers challenges before the authority was asked for anything.
    pub(super) thumbprint: String,
    /// The account's URL and key.
    pub(super) credentials: AccountCredentials,
}

/// The right to order, which one process has at a time.
#[derive(Debug)]
pub(super) struct OrderLock(#[expect(dead_code, reason = "held until it is dropped")] File);

impl Cache {
    pub(super) fn new(settings: &AcmeSettings) -> Self {
        let certificate_file = settings.certificate_file.clone();
        Self { folder: settings.cache_dir.clone(), certificate_file }
    }

    /// Makes the folder if there is none, and takes the right to order; `None` while another process that
    /// shares the folder has it.
    ///
    /// # Errors
    /// If the system refuses it.
    pub(super) fn lock(&self) -> Result<Option<OrderLock>, AcmeError> {
        let mut folder = DirBuilder::new();
        folder.recursive(true).mode(0o700);
        folder.create(&self.folder).map_err(|error| AcmeError::file(&self.folder, error))?;
        let path = self.folder.join(LOCK_FILE);
        let refused = |error| AcmeError::file(&path, error);
        let file = owners().truncate(false).open(&path).map_err(refused)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(OrderLock(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(refused(error)),
        }
    }

    /// The account with the authority of this directory, if there is one.
    pub(super) fn account(&self, directory: &str) -> Option<SavedAccount> {
        let bytes = read(&self.folder.join(ACCOUNT_FILE)).ok()?;
        // One that cannot be read is as none: another can be made.
        let account: SavedAccount = serde_json::from_slice(&bytes).ok()?;
        (account.directory == directory).then_some(account)
    }

    /// Keeps an account in place of another.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(super) fn save_account(&self, account: &SavedAccount) -> Result<(), AcmeError> {
        let path = self.folder.join(ACCOUNT_FILE);
        let text = serde_json::to_vec_pretty(account).map(Zeroizing::new);
        let text = text.map_err(|error| AcmeError::file(&path, error.into()))?;
        replace(&path, &text).map_err(|error| AcmeError::file(&path, error))
    }

    /// The certificate, if there is one that the authority of this directory has issued.
    pub(super) fn certificate(&self, directory: &str) -> Option<ServerCertificate> {
        let pem = read(&self.certificate_file).ok()?;
        pem.strip_prefix(first_line(directory).as_bytes())?;
        // One that cannot be used is as none.
        ServerCertificate::from_pem(&pem, &pem, &provider()).ok()
    }

    /// Keeps a certificate, with those between it and its authority and with its key, in place of another.
    ///
    /// # Errors
    /// If it cannot be used, or the file cannot be written.
    pub(super) fn save_certificate(
        &self,
        directory: &str,
        chain: &str,
        key: &str,
    ) -> Result<ServerCertificate, AcmeError> {
        // One file, so that no reader sees the one without the other. What stands before and between the
        // sections of PEM is skipped (RFC 7468 §2).
        let pem = Zeroizing::new(format!("{}{key}\n{chain}\n", first_line(directory)));
        let certificate = ServerCertificate::from_pem(pem.as_bytes(), pem.as_bytes(), &provider())?;
        replace(&self.certificate_file, pem.as_bytes())
            .map_err(|error| AcmeError::file(&self.certificate_file, error))?;
        Ok(certificate)
    }
}

/// The authority that a certificate is from: one from another, such as one for trying, is no longer wanted
/// when the configuration names this.
fn first_line(directory: &str) -> String {
    format!("ACME directory: {directory}\n")
}

fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes a file beside the one at `path`, and gives it that name once it is on the disk.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    // One that was left behind may be readable by others.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = owners().create_new(true).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    // The name is on the disk as well then (fsync(2)).
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// How files are opened for writing.
fn owners() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}

const ACCOUNT_FILE: &str = "account.json";
const LOCK_FILE: &str = "lock";
/// More than any account or chain has.
const FILE_BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    const DIRECTORY: &str = "https://acme.example/directory";

    fn cache(folder: &Path) -> Cache {
        Cache { folder: folder.to_owned(), certificate_file: folder.join("certificate.pem") }
    }

    fn issued(name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn a_certificate_is_kept_for_its_owner_alone_and_for_one_authority() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        assert!(cache.certificate(DIRECTORY).is_none());
        let names = || cache.certificate(DIRECTORY).unwrap().names().to_string();
        for name in ["a.example", "b.example"] {
            let (chain, key) = issued(name);
            cache.save_certificate(DIRECTORY, &chain, &key).unwrap();
            assert_eq!(names(), name);
        }
        let mode = cache.certificate_file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(cache.certificate("https://other.example/").is_none());
        let (chain, _) = issued("c.example");
        let (_, other_key) = issued("c.example");
        cache.save_certificate(DIRECTORY, &chain, &other_key).unwrap_err();
        assert_eq!(names(), "b.example", "what was there stays");
        fs::write(&cache.certificate_file, "damaged").unwrap();
        assert!(cache.certificate(DIRECTORY).is_none());
    }

    #[test]
    fn one_process_orders_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) =
            (cache(&folder.path().join("a/b")), cache(&folder.path().join("a/b")));
        let lock = first.lock().unwrap();
        assert!(lock.is_some());
        assert!(second.lock().unwrap().is_none());
        drop(lock);
        assert!(second.lock().unwrap().is_some());
        let mode = folder.path().join("a/b").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
