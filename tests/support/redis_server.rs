//! A real Redis for one test: started on a free port, without persistence, and always ended.

#![allow(dead_code, reason = "each test program uses a part")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::port::reserved_port;
use crate::skip::skip_without;
use crate::wait::until;

/// A Redis on 127.0.0.1 and on a socket in a folder of its own.
#[derive(Debug)]
pub(crate) struct RedisServer {
    program: PathBuf,
    arguments: Vec<String>,
    folder: TempDir,
    port: u16,
    /// The port for other nodes of a Cluster; by default it would be 10,000 above, where there may be none.
    bus_port: u16,
    protocol: Protocol,
    password: Option<String>,
    /// `None` while it is stopped.
    child: Option<Child>,
}

impl RedisServer {
    /// Starts one and waits until it answers; `None`, with a note, where Redis is not installed.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(None, &[])
    }

    /// The same, with a password required.
    pub(crate) fn start_with_password(password: &str) -> Option<Self> {
        Self::start_with(Some(password), &["--requirepass", password])
    }

    /// The same, with more of its options.
    pub(crate) fn start_with_options(options: &[&str]) -> Option<Self> {
        Self::start_with(None, options)
    }

    /// The same, as a node of a Cluster without slots.
    pub(crate) fn start_node() -> Option<Self> {
        Self::start_speaking(Protocol::Clustered, None, &["--cluster-enabled", "yes"])
    }

    /// The same with TLS: with a certificate, its key, and the authority of the clients, who need none.
    pub(crate) fn start_with_tls([certificate, key, authority]: [&Path; 3]) -> Option<Self> {
        let [certificate, key, authority] =
            [certificate, key, authority].map(|path| path.to_str().unwrap());
        let certificate = ["--tls-cert-file", certificate, "--tls-key-file", key];
        let clients = ["--tls-ca-cert-file", authority, "--tls-auth-clients", "no"];
        Self::start_speaking(Protocol::Tls, None, &[certificate, clients].concat())
    }

    fn start_with(password: Option<&str>, arguments: &[&str]) -> Option<Self> {
        Self::start_speaking(Protocol::Plain, password, arguments)
    }

    fn start_speaking(
        protocol: Protocol,
        password: Option<&str>,
        arguments: &[&str],
    ) -> Option<Self> {
        let Some(program) = program() else {
            skip_without("redis-server, which scripts/install-servers installs");
            return None;
        };
        let mut server = Self {
            program,
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            folder: TempDir::new().unwrap(),
            port: 0,
            bus_port: 0,
            protocol,
            password: password.map(str::to_owned),
            child: None,
        };
        until("a Redis starts", || {
            (server.port, server.bus_port) = (reserved_port(), reserved_port());
            server.launch().then_some(())
        });
        Some(server)
    }

    /// Its URL, for the gateway's configuration.
    pub(crate) fn url(&self) -> String {
        let password = self.password.as_ref().map(|password| format!(":{password}@"));
        let scheme = if self.protocol == Protocol::Tls { "rediss" } else { "redis" };
        format!("{scheme}://{}{}/", password.unwrap_or_default(), self.address())
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Its port, and that for other nodes of a Cluster.
    pub(crate) fn ports(&self) -> (u16, u16) {
        (self.port, self.bus_port)
    }

    /// Its address and port, which is how logs name it.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The URL of its Unix socket.
    pub(crate) fn socket_url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// A connection for the test itself, to a Redis that runs.
    pub(crate) fn connection(&self) -> redis::Connection {
        self.try_connection().unwrap()
    }

    /// Ends it by SIGKILL: without options that say otherwise, its data is lost.
    pub(crate) fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Starts it again on the same port, with the data that its options have it keep.
    pub(crate) fn start_again(&mut self) {
        assert!(self.child.is_none(), "it runs");
        until("Redis starts again", || self.launch().then_some(()));
    }

    /// Stops the process with SIGSTOP, while the kernel still accepts connections and bytes for it.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Continues it after [`RedisServer::pause`].
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Starts the process and waits until it answers or ends; returns whether it answers.
    fn launch(&mut self) -> bool {
        let mut command = Command::new(&self.program);
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        let (port, bus_port) = (self.port.to_string(), self.bus_port.to_string());
        command.args(["--daemonize", "no"]);
        match self.protocol {
            Protocol::Plain => command.args(["--port", &port]),
            Protocol::Clustered => command.args(["--port", &port, "--cluster-port", &bus_port]),
            Protocol::Tls => command.args(["--port", "0", "--tls-port", &port]),
        };
        command.arg("--unixsocket").arg(self.socket()).arg("--dir").arg(self.folder.path());
        command.args(&self.arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().unwrap());
        let answers = until("Redis answers or ends", || {
            if self.try_connection().is_ok() {
                return Some(true);
            }
            let child = self.child.as_mut().unwrap();
            child.try_wait().unwrap().map(|_| false)
        });
        if !answers {
            self.child = None;
        }
        answers
    }

    /// Connects by its socket, which no other Redis can have.
    fn try_connection(&self) -> redis::RedisResult<redis::Connection> {
        let password = self.password.as_ref().map(|password| format!("?pass={password}"));
        let url = format!("{}{}", self.socket_url(), password.unwrap_or_default());
        let mut connection = redis::Client::open(url)?.get_connection()?;
        redis::cmd("PING").exec(&mut connection)?;
        Ok(connection)
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.as_ref().unwrap()), signal).unwrap();
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended already, which is fine.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What a Redis speaks at its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Plain,
    Clustered,
    Tls,
}

/// A Sentinel that watches one master, and needs no other to agree.
#[derive(Debug)]
pub(crate) struct RedisSentinel {
    _folder: TempDir,
    child: Child,
    port: u16,
}

impl RedisSentinel {
    /// Starts one that calls the master `main`, and waits until it knows its replicas.
    pub(crate) fn start(master: &RedisServer, replicas: usize) -> Self {
        until("a Sentinel starts", || {
            let mut sentinel = Self::launch(master);
            let answers = until("the Sentinel answers or ends", || {
                if sentinel.replicas().is_ok() {
                    return Some(true);
                }
                sentinel.child.try_wait().unwrap().map(|_| false)
            });
            answers.then_some(sentinel)
        })
        .knowing(replicas)
    }

    fn launch(master: &RedisServer) -> Self {
        let (folder, port) = (TempDir::new().unwrap(), reserved_port());
        let file = folder.path().join("sentinel.conf");
        // It writes what it finds into this file.
        let text = format!(
            "bind 127.0.0.1\nport {port}\ndir {}\nsentinel monitor main 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds main 3000\nsentinel failover-timeout main 10000\n",
            folder.path().display(),
            master.port,
        );
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(&master.program);
        command.arg(&file).arg("--sentinel");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { _folder: folder, child: command.spawn().unwrap(), port }
    }

    fn knowing(self, replicas: usize) -> Self {
        self.until_replicas(replicas);
        self
    }

    /// Waits until it knows of this many replicas that work.
    pub(crate) fn until_replicas(&self, count: usize) {
        until("the Sentinel knows the replicas", || (self.replicas() == Ok(count)).then_some(()));
    }

    /// Has it look more often, and not wait after a failover before it makes another. On a busy machine it may get
    /// no processor time for two seconds, upon which it would do nothing for thirty (its TILT mode).
    pub(crate) fn hasten(&self) {
        let mut connection = self.connection().unwrap();
        let mut sentinel = |arguments: &[&str]| {
            redis::cmd("SENTINEL").arg(arguments).exec(&mut connection).unwrap();
        };
        sentinel(&["DEBUG", "info-period", "300"]);
        sentinel(&["DEBUG", "publish-period", "300"]);
        sentinel(&["DEBUG", "tilt-trigger", "3600000"]);
        sentinel(&["SET", "main", "failover-timeout", "1000"]);
    }

    /// The port of the master.
    pub(crate) fn master_port(&self) -> u16 {
        let mut connection = self.connection().unwrap();
        let mut question = redis::cmd("SENTINEL");
        let answer = question.arg(&["GET-MASTER-ADDR-BY-NAME", "main"]).query(&mut connection);
        let (_, port): (String, u16) = answer.unwrap();
        port
    }

    /// Its own port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The number of replicas that work.
    fn replicas(&self) -> redis::RedisResult<usize> {
        let mut connection = self.connection()?;
        let found: Vec<std::collections::HashMap<String, String>> =
            redis::cmd("SENTINEL").arg(&["REPLICAS", "main"]).query(&mut connection)?;
        let works = |own: &&std::collections::HashMap<String, String>| {
            own.get("flags").is_some_and(|flags| flags == "slave")
                && own.get("master-link-status").is_some_and(|status| status == "ok")
        };
        Ok(found.iter().filter(works).count())
    }

    /// Has a replica take over from the master.
    pub(crate) fn fail_over(&self) {
        let mut connection = self.connection().unwrap();
        redis::cmd("SENTINEL").arg(&["FAILOVER", "main"]).exec(&mut connection).unwrap();
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    fn connection(&self) -> redis::RedisResult<redis::Connection> {
        redis::Client::open(self.url())?.get_connection()
    }
}

impl Drop for RedisSentinel {
    fn drop(&mut self) {
        // It may have ended already, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program on the path, or the one that scripts/install-servers put below target/.
fn program() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/servers/redis-server");
    [PathBuf::from("redis-server"), own].into_iter().find(|program| {
        let mut command = Command::new(program);
        command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    })
}
