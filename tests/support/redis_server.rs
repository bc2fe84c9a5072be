//! A real Redis for one test: started on a free port, without persistence, and always ended.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::skip::skip_without;
use crate::wait::until;

/// A Redis on 127.0.0.1 and on a socket in a folder of its own.
#[derive(Debug)]
pub(crate) struct RedisServer {
    program: PathBuf,
    arguments: Vec<String>,
    folder: TempDir,
    port: u16,
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

    fn start_with(password: Option<&str>, arguments: &[&str]) -> Option<Self> {
        let Some(program) = program() else {
            skip_without("redis-server, which scripts/install-servers installs");
            return None;
        };
        let mut server = Self {
            program,
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            folder: TempDir::new().unwrap(),
            port: 0,
            password: password.map(str::to_owned),
            child: None,
        };
        // Another process may take the port before Redis binds it; then another port is tried.
        until("a Redis starts", || {
            server.port = free_port();
            server.launch().then_some(())
        });
        Some(server)
    }

    /// Its URL, for the gateway's configuration.
    pub(crate) fn url(&self) -> String {
        let password = self.password.as_ref().map(|password| format!(":{password}@"));
        format!("redis://{}{}/", password.unwrap_or_default(), self.address())
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

    /// Ends it; its data is lost.
    pub(crate) fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Starts it again on the same port, with no data.
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
        command.args(["--daemonize", "no", "--port", &self.port.to_string()]);
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

/// The program on the path, or the one that scripts/install-servers put below target/.
fn program() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/servers/redis-server");
    [PathBuf::from("redis-server"), own].into_iter().find(|program| {
        let mut command = Command::new(program);
        command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    })
}

fn free_port() -> u16 {
    let listener: io::Result<TcpListener> = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    listener.unwrap().local_addr().unwrap().port()
}
