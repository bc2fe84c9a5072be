//! The program under test: started on a free port, observed through its log and `/proc`, and always
//! ended.

use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use tempfile::NamedTempFile;

use crate::skip::say;
use crate::unhurried::unhurried;
use crate::wait::{eventually, until};

/// A running gateway.
#[derive(Debug)]
pub(crate) struct Gateway {
    child: Child,
    address: SocketAddr,
    log: Log,
}

/// How to start a gateway; by default without a configuration file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Launch<'l> {
    /// The configuration file.
    pub(crate) toml: Option<&'l str>,
    /// The address to listen on, by default a free port. `None` leaves it to the file.
    pub(crate) listen: Option<&'l str>,
    /// Arguments of the shell's `ulimit` before the start.
    pub(crate) ulimit: Option<&'l str>,
}

impl Default for Launch<'_> {
    fn default() -> Self {
        Self { toml: None, listen: Some("127.0.0.1:0"), ulimit: None }
    }
}

impl Gateway {
    /// Starts the program with two loops and otherwise no configuration.
    pub(crate) fn start() -> Self {
        Self::with_config("loops = 2")
    }

    /// Starts the program with this configuration file.
    pub(crate) fn with_config(toml: &str) -> Self {
        Self::launch(&Launch { toml: Some(toml), ..Launch::default() })
    }

    /// Starts the program and waits until it listens.
    pub(crate) fn launch(launch: &Launch<'_>) -> Self {
        let config = launch.toml.map(config_file);
        Self::launch_with(launch, config.as_ref().map(NamedTempFile::path))
    }

    /// As [`Gateway::launch`], with a file that is there already.
    pub(crate) fn launch_with(launch: &Launch<'_>, config: Option<&Path>) -> Self {
        let mut command = match launch.ulimit {
            None => Command::new(PROGRAM),
            Some(ulimit) => {
                let mut shell = Command::new("sh");
                shell.arg("-c").arg(format!("ulimit {ulimit}; exec \"$0\" \"$@\"")).arg(PROGRAM);
                shell
            }
        };
        if let Some(file) = config {
            command.arg("--config").arg(file);
        }
        if let Some(address) = launch.listen {
            command.args(["--listen", address]);
        }
        // Many run at once, and there is one default address.
        if !launch.toml.is_some_and(|toml| toml.contains("[admin]")) {
            command.args(["--admin", "off"]);
        }
        command.stdin(Stdio::null());
        Self::spawn(&mut command)
    }

    /// Starts a command that ends in the program, and waits until it listens.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        command.env_remove("RUST_LOG");
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = Log::follow(child.stderr.take().unwrap());
        let mut gateway = Self { child, address: NOWHERE, log };
        gateway.address = until("the gateway listens", || {
            assert!(gateway.is_running(), "the gateway ended at once");
            gateway.log_lines().iter().find_map(|line| {
                let (address, _) = line.split_once("listening on ")?.1.split_once(": ")?;
                address.parse().ok()
            })
        });
        gateway
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The addresses of its `count` line listeners, in their order.
    pub(crate) fn line_addresses(&self, count: usize) -> Vec<SocketAddr> {
        until("the gateway listens for lines", || {
            let lines = self.log_lines();
            let addresses = lines.iter().filter_map(|line| {
                let (address, served) = line.split_once("listening on ")?.1.split_once(": ")?;
                served.starts_with("lines ").then(|| address.parse().unwrap())
            });
            Some(addresses.collect::<Vec<_>>()).filter(|found| found.len() == count)
        })
    }

    /// Where its admin listener is, if the configuration puts it at a TCP address.
    pub(crate) fn admin_address(&self) -> SocketAddr {
        let line = self.logged("admin at http://");
        let (_, url) = line.split_once("admin at http://").unwrap();
        url.split('/').next().unwrap().parse().unwrap()
    }

    /// Where its listener for backends is, if the configuration puts it at a TCP address.
    pub(crate) fn api_address(&self) -> SocketAddr {
        let line = self.logged("api at http://");
        let (_, url) = line.split_once("api at http://").unwrap();
        url.split('/').next().unwrap().parse().unwrap()
    }

    /// Every line logged so far.
    pub(crate) fn log_lines(&self) -> Vec<String> {
        self.log.lines()
    }

    /// Waits for a logged line with `text` and returns it.
    pub(crate) fn logged(&self, text: &str) -> String {
        until(&format!("a line with `{text}` in the log"), || {
            self.log_lines().into_iter().find(|line| line.contains(text))
        })
    }

    /// Sends a signal to the process.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Has the gateway log its counters, and returns the value of one.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let counters = |line: &String| line.contains(" turns=");
        let seen = self.log_lines().iter().filter(|line| counters(line)).count();
        self.signal(Signal::USR1);
        let line = until("the counters are logged", || {
            self.log_lines().into_iter().filter(counters).nth(seen)
        });
        let value =
            line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        value.map_or(0, |value| value.parse().unwrap())
    }

    /// Waits until a counter has this value. A loop counts what it has done when it is done, which may be after a
    /// client has got it.
    pub(crate) fn assert_counter(&self, name: &str, value: u64) {
        let mut last = 0;
        let found = eventually(|| {
            last = self.counter(name);
            (last == value).then_some(())
        });
        assert!(found.is_some(), "{name} stays {last} and does not come to {value}");
    }

    /// The id of the process that has taken over from this one.
    pub(crate) fn successor(&self) -> Successor {
        self.nth_successor(0)
    }

    /// As [`Gateway::successor`], of the processes that have taken over one from the other.
    pub(crate) fn nth_successor(&self, number: usize) -> Successor {
        let pid = until("a new process takes over", || {
            let lines = self.log_lines();
            let pids = lines.iter().filter_map(|line| {
                let (before, _) = line.split_once(" has taken over the listeners")?;
                Pid::from_raw(before.rsplit_once(' ')?.1.parse().ok()?)
            });
            pids.into_iter().nth(number)
        });
        Successor { pid }
    }

    /// Waits for the end of the process.
    pub(crate) fn exit_status(&mut self) -> ExitStatus {
        until("the gateway ends", || self.child.try_wait().unwrap())
    }

    /// Whether the process still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Seconds of processor time used so far.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let stat = self.proc_file("stat");
        // proc_pid_stat(5): the second field, in parentheses, may hold any character; user and
        // system time are the 14th and 15th.
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let ticks: u32 =
            fields.split(' ').skip(11).take(2).map(|field| field.parse::<u32>().unwrap()).sum();
        f64::from(ticks) / TICKS_PER_SECOND
    }

    /// Anonymous memory in bytes.
    pub(crate) fn anonymous_bytes(&self) -> u64 {
        let status = self.proc_file("status");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Descriptors open now.
    pub(crate) fn descriptor_count(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// The soft limit on descriptors.
    pub(crate) fn descriptor_limit(&self) -> u64 {
        let limits = self.proc_file("limits");
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Changes the soft limit on descriptors of the running process.
    pub(crate) fn limit_descriptors(&self, count: u64) {
        // Started from here, it inherited the hard limit of this process.
        let maximum = getrlimit(Resource::Nofile).maximum;
        let limit = Rlimit { current: Some(count), maximum };
        prlimit(Some(self.pid()), Resource::Nofile, limit).unwrap();
    }

    /// The ids of the processes that its main thread has started and that are there.
    pub(crate) fn children(&self) -> String {
        self.proc_file(&format!("task/{}/children", self.child.id()))
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn proc_file(&self, name: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{name}", self.child.id())).unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            say(&format!("the gateway's log:\n{}", self.log_lines().join("\n")));
        }
    }
}

/// A process that has taken over, which is no child of the test.
#[derive(Debug)]
pub(crate) struct Successor {
    pid: Pid,
}

impl Successor {
    /// The id of the process.
    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&self) -> bool {
        // A child of a process that is still there may be left behind when it has ended.
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid));
        stat.is_ok_and(|stat| !stat.rsplit_once(") ").unwrap().1.starts_with('Z'))
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        let _ = kill_process(self.pid, Signal::KILL);
    }
}

/// Runs the program to its end, for command lines that do not serve.
pub(crate) fn run_to_end(arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).env_remove("RUST_LOG").stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    if eventually(|| child.try_wait().unwrap()).is_none() {
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        panic!("{arguments:?} does not end: {}", String::from_utf8_lossy(&output.stderr));
    }
    child.wait_with_output().unwrap()
}

/// What a gateway under test does not go by: tests run many at a time, and a busy machine is no reason to
/// refuse a client of theirs.
const WITHOUT_THE_MACHINE: &str = "\n[overload]\nlag_ms = 0\ncgroup_root = \"/nonexistent\"\n";

/// A configuration with the default routes, which pings no client that only reads what it has asked for.
pub(crate) const DEFAULT_ROUTES: &str = "[channels]\nping_ms = 0\n";

/// A temporary file with this configuration, which nothing that the machine is short of has a part in unless
/// it has a section about that, nor how slow the test is unless it names the deadline.
pub(crate) fn config_file(toml: &str) -> NamedTempFile {
    let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    write_config(file.path(), toml);
    file
}

/// Writes this configuration, as [`config_file`] does.
pub(crate) fn write_config(path: &Path, toml: &str) {
    let added = if toml.contains("[overload]") { "" } else { WITHOUT_THE_MACHINE };
    fs::write(path, unhurried(&format!("{toml}{added}"))).unwrap();
}

/// The lines that a program writes, read by a thread so that the pipe never fills.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    lines: Arc<Mutex<Vec<String>>>,
}

impl Log {
    pub(crate) fn follow(output: impl Read + Send + 'static) -> Self {
        let log = Self::default();
        let writer = log.clone();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                writer.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        log
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

const NOWHERE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_tidegate");
/// The unit of processor times in `/proc`, on every architecture that the gateway is built for.
const TICKS_PER_SECOND: f64 = 100.0;
