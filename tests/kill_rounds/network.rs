//! Networks of their own (`man 7 network_namespaces`), whose links lose all that is sent, and tell neither end.
//!
//! The test and its gateways are in the middle, and each [`Host`] beside it, where the middle passes on what hosts
//! send each other. All of it ends with the last process in it.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::faults::NetworkLink;
use crate::skip::say;

/// Runs this in a network of its own: the test with this name starts itself there, as another process. What makes
/// such a network is no package that a script could install, so that a machine which forbids it runs without the
/// test, also under `CI`.
pub(crate) fn in_own_network(test: &str, run: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return run();
    }
    let inside = |command: &str| {
        let mut own = Command::new("unshare");
        own.args(["--user", "--map-root-user", "--net", "--mount", "sh", "-c"]);
        own.arg(format!("{SET_UP} && {command}")).arg(std::env::current_exe().unwrap());
        own.stdin(Stdio::null()).env(INSIDE, "1");
        own
    };
    let probe = inside(PROBE).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        return say(&format!("!! SKIPPED: this machine forbids the network of {test}"));
    }
    let command = format!("exec \"$0\" --exact {test} --include-ignored --nocapture");
    let output = inside(&command).stderr(Stdio::inherit()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// A machine of its own, as far as the network goes.
#[derive(Debug)]
pub(crate) struct Host {
    name: String,
    number: u8,
}

impl Host {
    /// One with this many links to the middle, by the first of which it reaches other hosts.
    pub(crate) fn new(number: u8, links: u8) -> Self {
        let own = Self { name: format!("host{number}"), number };
        let name = &own.name;
        ip(&format!("netns add {name}"));
        ip(&format!("-n {name} link set lo up"));
        for link in 0..links {
            let (near, far) = (format!("{name}link{link}"), format!("eth{link}"));
            ip(&format!("link add {near} type veth peer name {far} netns {name}"));
            let subnet = FIRST_SUBNET + number;
            ip(&format!("addr add 10.{subnet}.{link}.1/24 dev {near}"));
            ip(&format!("link set {near} up"));
            ip(&format!("-n {name} addr add {}/24 dev {far}", own.address(link)));
            ip(&format!("-n {name} link set {far} up"));
        }
        ip(&format!("-n {name} route add default via 10.{}.0.1", FIRST_SUBNET + number));
        own
    }

    /// Its address on one of its links.
    pub(crate) fn address(&self, link: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, FIRST_SUBNET + self.number, link, 2)
    }

    /// Does this there: processes that it starts are there, and stay.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let there = File::open(format!("/run/netns/{}", self.name)).unwrap();
        let work = || {
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(there.as_fd(), network).unwrap();
            work()
        };
        thread::scope(|scope| scope.spawn(work).join().unwrap())
    }

    pub(crate) fn link(&self, link: u8) -> HostLink {
        HostLink { host: self.name.clone(), name: format!("eth{link}") }
    }

    /// From now on nothing that one of them sends reaches the other.
    pub(crate) fn part(&self, other: &Self) {
        self.pass_on(other, "add");
    }

    pub(crate) fn rejoin(&self, other: &Self) {
        self.pass_on(other, "del");
    }

    fn pass_on(&self, other: &Self, change: &str) {
        for (from, to) in [(self, other), (other, self)] {
            let (from, to) = (from.address(0), to.address(0));
            ip(&format!("rule {change} from {from} to {to} blackhole"));
        }
    }
}

/// The link of a host to the middle.
#[derive(Debug)]
pub(crate) struct HostLink {
    host: String,
    name: String,
}

impl NetworkLink for HostLink {
    // At the end of the host, as the middle would tell its own sockets.
    fn cut(&self) {
        ip(&format!("-n {} link set {} down", self.host, self.name));
    }

    fn mend(&self) {
        ip(&format!("-n {} link set {} up", self.host, self.name));
    }
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

/// Hosts have 10.90.0.0/16 and those behind it.
const FIRST_SUBNET: u8 = 90;
/// Set for a test that is in such a network.
const INSIDE: &str = "TIDEGATE_OWN_NETWORK";
/// `ip` keeps the names of networks there.
const SET_UP: &str = "mount -t tmpfs tmpfs /run && mkdir /run/netns && ip link set lo up && \
                      echo 1 > /proc/sys/net/ipv4/ip_forward";
/// What hosts need.
const PROBE: &str = "ip netns add probe && ip link add probe type veth peer name eth0 netns probe && \
                     ip rule add from 10.90.0.2 to 10.91.0.2 blackhole";
