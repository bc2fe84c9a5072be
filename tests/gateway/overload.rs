//! Overload as operators and clients see it: by a group of processes whose memory the test decides.

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::admin_client::get;
use crate::gateway::{Gateway, Launch, config_file};
use crate::messages::{Ending, Reply, Request, exchange};
use crate::socket::Socket;
use crate::wait::until;

/// Has the group use this much of its 1,000,000 bytes, in version 2 of cgroups.
fn use_memory(root: &Path, bytes: u64) {
    fs::write(root.join("memory.max"), "1000000\n").unwrap();
    // In one step: an empty file would be no figure.
    fs::write(root.join("new"), format!("{bytes}\n")).unwrap();
    fs::rename(root.join("new"), root.join("memory.current")).unwrap();
}

fn config(root: &Path, keys: &str) -> String {
    format!(
        "loops = 2\n[[listener]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
         [overload]\ncgroup_root = {:?}\n{keys}",
        root.display().to_string()
    )
}

fn status(gateway: &Gateway) -> Reply {
    let request = Request::upgrade("/echo").bytes();
    Reply::parse(&exchange(gateway.address(), &request, Ending::HalfClose))
}

#[test]
fn newcomers_get_503_while_memory_is_short_and_everything_is_back_by_itself() {
    let root = TempDir::new().unwrap();
    use_memory(root.path(), 100_000);
    let toml = config(root.path(), "");
    let gateway = Gateway::launch(&Launch { toml: Some(&toml), listen: None, ..Launch::default() });
    let mut open = Socket::open(gateway.address());
    open.assert_echoes(b"before");
    for number in 1..=2 {
        use_memory(root.path(), 920_000);
        until("the gateway is overloaded", || {
            let starts = gateway.log_lines();
            let starts =
                starts.iter().filter(|line| line.contains("overload: the group of processes"));
            (starts.count() == number).then_some(())
        });
        let reply = status(&gateway);
        assert_eq!((reply.status, reply.header("Retry-After")), (503, Some("1")));
        assert!(reply.text().contains("overloaded"), "{reply:?}");
        let ready = get(gateway.admin_address(), "/readyz");
        assert_eq!(ready.status, 503);
        assert_eq!(ready.json()["reasons"], serde_json::json!(["full"]));
        open.assert_echoes(b"meanwhile");

        use_memory(root.path(), 100_000);
        until("it is over", || {
            let ends = gateway.log_lines();
            let ends = ends.iter().filter(|line| line.contains("overload is over"));
            (ends.count() == number).then_some(())
        });
        Socket::open(gateway.address()).assert_echoes(b"afterwards");
        assert_eq!(get(gateway.admin_address(), "/readyz").status, 200);
    }
    open.assert_echoes(b"to the end");
    gateway.assert_counter("shed_memory", gateway.counter("refused_overloaded"));
    gateway.assert_counter("shed_memory", 2);
}

#[test]
fn connections_that_hold_most_are_closed_when_memory_is_nearly_used_up() {
    let root = TempDir::new().unwrap();
    use_memory(root.path(), 100_000);
    let toml = config(root.path(), "");
    let gateway = Gateway::launch(&Launch { toml: Some(&toml), listen: None, ..Launch::default() });
    let mut light = Socket::open(gateway.address());
    let mut heavy = Socket::open(gateway.address());
    // The beginning of a message of 500,000 bytes.
    let mut part = vec![0x82, 0xFF, 0, 0, 0, 0, 0, 7, 0xA1, 0x20, 1, 2, 3, 4];
    part.resize(300_000, b'a');
    heavy.send(&part);
    use_memory(root.path(), 990_000);
    heavy.assert_closed_with(1013);
    light.assert_echoes(b"still there");
    gateway.assert_counter("closed_evicted", 1);
}

#[test]
fn a_reload_sets_another_mark() {
    let root = TempDir::new().unwrap();
    use_memory(root.path(), 500_000);
    let file = config_file(&config(root.path(), ""));
    let launch = Launch { listen: None, toml: Some("[admin]"), ..Launch::default() };
    let gateway = Gateway::launch_with(&launch, Some(file.path()));
    Socket::open(gateway.address()).assert_echoes(b"open");
    fs::write(file.path(), config(root.path(), "memory_percent = 40")).unwrap();
    gateway.signal(Signal::HUP);
    gateway.logged("overload: the group of processes");
    assert_eq!(status(&gateway).status, 503);
    fs::write(file.path(), config(root.path(), "memory_percent = 0")).unwrap();
    gateway.signal(Signal::HUP);
    gateway.logged("overload is over");
    Socket::open(gateway.address()).assert_echoes(b"again");
}
