//! TLS as tools see it that know only the standard: tlslite-ng and sslyze.

use std::process::{Command, Stdio};

use crate::certificates::CertificateFolder;
use crate::clients::{below_root, run};
use crate::gateway::{Gateway, Launch};
use crate::skip::skip_without;

fn start(folder: &CertificateFolder) -> Gateway {
    let config = format!(
        "loops = 2\n[[listener]]\naddress = \"127.0.0.1:0\"\ntls = true\n{}\
         [[route]]\npath = \"/echo\"\nservice = \"echo\"\n",
        folder.table("server"),
    );
    Gateway::launch(&Launch { toml: Some(&config), listen: None, ..Launch::default() })
}

/// A script of `tests/clients/` with the address of the gateway; `None`, with a note, where the
/// module that it imports is not installed.
fn script(name: &str, module: &str, gateway: &Gateway) -> Option<Command> {
    let python = below_root("target/clients/python/bin/python");
    let mut probe = Command::new(&python);
    probe.args(["-c", &format!("import {module}")]).stdin(Stdio::null()).stderr(Stdio::null());
    if !probe.status().is_ok_and(|status| status.success()) {
        skip_without(&format!("{module} (Python), which scripts/install-clients installs"));
        return None;
    }
    let mut command = Command::new(python);
    let address = gateway.address();
    command.arg(below_root(&format!("tests/clients/{name}")));
    command.args([address.ip().to_string(), address.port().to_string()]);
    Some(command)
}

#[test]
fn tlslite_ng_is_echoed_renews_keys_and_ends_in_each_way() {
    let folder = CertificateFolder::new();
    let gateway = start(&folder);
    let Some(script) = script("tlslite_client.py", "tlslite", &gateway) else { return };
    run(script);
    gateway.assert_counter("tls_key_updates", 6);
    // One half-closed connection in each version.
    gateway.assert_counter("tls_truncated", 2);
}

#[test]
fn sslyze_finds_only_safe_versions_and_suites() {
    let folder = CertificateFolder::new();
    let gateway = start(&folder);
    let Some(script) = script("sslyze_scan.py", "sslyze", &gateway) else { return };
    run(script);
}
