use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use tempfile::TempDir;

use super::super::load::load;
use super::*;
use crate::config::{Config, MachineLimits};

/// A folder with a pair, authorities and ticket keys, and what reads them.
struct Files {
    folder: TempDir,
    reloader: Reloader,
    counters: Arc<CertificateCounters>,
}

struct Pair {
    certificate: String,
    key: String,
}

impl Pair {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap().pem();
        Self { certificate, key: key.serialize_pem() }
    }
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pair = Pair::new("old.example");
        write(folder.path(), "a.pem", &pair.certificate);
        write(folder.path(), "a.key", &pair.key);
        write(folder.path(), "ca.pem", &Pair::new("ca").certificate);
        write(folder.path(), "tickets.key", "0123456789abcdef0123456789abcdef");
        let text = "[[listener]]\naddress = \"127.0.0.1:0\"\n\
                    [[listener]]\naddress = \"127.0.0.1:0\"\ntls = true\n\
                    client_certificates = \"required\"\nclient_ca = \"ca.pem\"\n\
                    [[certificate]]\ncertificate = \"a.pem\"\nkey = \"a.key\"\n\
                    [tls]\nticket_keys_file = \"tickets.key\"\n";
        let file_name = folder.path().join("tidegate.toml").display().to_string();
        let config = Config::from_toml(text, &file_name).unwrap();
        let settings = config.resolve(MachineLimits { descriptors: 1024, cores: 1 });
        let counters = Arc::new(CertificateCounters::default());
        let loaded = load(&settings, Millis(0)).unwrap();
        assert!(loaded.store.listener_configs()[0].is_none());
        assert!(loaded.store.listener_configs()[1].is_some());
        let reloader = Reloader::new(loaded, Arc::clone(&counters));
        Self { folder, reloader, counters }
    }

    fn write(&self, name: &str, text: &str) {
        write(self.folder.path(), name, text);
    }

    fn look(&mut self, now: u64) -> Look {
        self.reloader.look(Millis(now))
    }

    /// The name of the certificate that is served.
    fn served(&self) -> String {
        self.reloader.store().certificates().now()[0].names().to_string()
    }

    fn counted(&self) -> (u64, u64) {
        let CertificateCounters { certificates_reloaded, certificate_reloads_failed } =
            &*self.counters;
        (certificates_reloaded.value(), certificate_reloads_failed.value())
    }
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).unwrap();
}

#[test]
fn files_that_have_not_changed_are_left_alone() {
    let mut files = Files::new();
    assert_eq!(files.look(0), Look::default());
    assert_eq!(files.counted(), (0, 0));
}

#[test]
fn each_kind_of_file_is_taken_over_when_it_changes() {
    let mut files = Files::new();
    let pair = Pair::new("new.example");
    files.write("a.pem", &pair.certificate);
    files.write("a.key", &pair.key);
    files.write("ca.pem", &Pair::new("ca").certificate);
    files.write("tickets.key", "0123456789ABCDEF0123456789ABCDEF");
    let look = files.look(0);
    assert_eq!((look.reloaded.len(), &look.failed, look.again), (3, &vec![], None));
    let line = "reloaded: certificate[0] for new.example is valid until 4096-01-01T00:00:00Z";
    assert_eq!(look.reloaded[0], line);
    assert_eq!(files.served(), "new.example");
    assert_eq!(files.look(1), Look::default());
    assert_eq!(files.counted(), (3, 0));
}

#[test]
fn a_half_renewed_pair_is_waited_for_in_silence() {
    for is_key_first in [false, true] {
        let mut files = Files::new();
        let pair = Pair::new("new.example");
        let halves = [("a.pem", &pair.certificate), ("a.key", &pair.key)];
        let (first, second) = if is_key_first { (1, 0) } else { (0, 1) };
        files.write(halves[first].0, halves[first].1);
        let waits = Look { again: Some(Millis(10 + PATIENCE_MS)), ..Look::default() };
        assert_eq!(files.look(10), waits);
        assert_eq!(files.look(10 + PATIENCE_MS - 1), waits);
        assert_eq!(files.served(), "old.example");
        files.write(halves[second].0, halves[second].1);
        assert_eq!(files.look(10 + PATIENCE_MS).reloaded.len(), 1);
        assert_eq!(files.served(), "new.example");
        assert_eq!(files.counted(), (1, 0));
    }
}

#[test]
fn what_cannot_be_used_is_said_once_with_its_reason_and_changes_nothing() {
    let other = Pair::new("other.example");
    let half = &other.certificate[..other.certificate.len() / 2];
    for (name, text, said) in [
        (
            "a.pem",
            "",
            "certificate[0].certificate = \"a.pem\": the file holds no certificate in PEM",
        ),
        ("a.pem", half, "certificate[0].certificate = \"a.pem\": the file is no PEM file of"),
        (
            "a.key",
            &other.key,
            "certificate[0].key = \"a.key\": the file holds a key that does not belong to the",
        ),
        (
            "a.key",
            half,
            "certificate[0].key = \"a.key\": the file holds no private key that can be",
        ),
        ("ca.pem", "", "listener[1].client_ca = \"ca.pem\": the file holds no certificate in PEM"),
        (
            "tickets.key",
            "short",
            "tls.ticket_keys_file = \"tickets.key\": the file must hold 1 to 16 keys of 32 random bytes, \
             and has 5 bytes",
        ),
    ] {
        let mut files = Files::new();
        let good = fs::read(files.folder.path().join(name)).unwrap();
        files.write(name, text);
        assert_eq!(files.look(0).failed, [""; 0]);
        let look = files.look(PATIENCE_MS);
        assert_eq!(look.failed.len(), 1);
        assert!(look.failed[0].starts_with(said), "{look:?}");
        assert!(look.failed[0].ends_with("; what was loaded before is served on"), "{look:?}");
        assert_eq!(files.look(2 * PATIENCE_MS), Look::default(), "it was said");
        assert_eq!((files.served().as_str(), files.counted()), ("old.example", (0, 1)));
        // SIGHUP has it said again.
        files.reloader.forget_what_was_said();
        assert_eq!(files.look(3 * PATIENCE_MS).failed, look.failed);
        fs::write(files.folder.path().join(name), good).unwrap();
        assert_eq!(files.look(4 * PATIENCE_MS), Look::default(), "what is served is back");
    }
}

#[test]
fn a_file_that_is_gone_or_endless_is_said_and_changes_nothing() {
    for is_gone in [true, false] {
        let mut files = Files::new();
        let path = files.folder.path().join("a.key");
        fs::remove_file(&path).unwrap();
        if !is_gone {
            std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        }
        files.look(0);
        let failed = files.look(PATIENCE_MS).failed;
        let reason = if is_gone {
            "cannot be used: No such file or directory (os error 2)"
        } else {
            "cannot be used: it is longer than 1048576 bytes"
        };
        let line = format!(
            "certificate[0].key = \"a.key\": the file {reason}; what was loaded before is served on"
        );
        assert_eq!(failed, [line]);
        assert_eq!(files.served(), "old.example");
    }
}
