//! A real NATS for one test: started on free ports, and always ended.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::port::reserved_port;
use crate::skip::skip_without;
use crate::wait::until;

/// A NATS, on 127.0.0.1 unless it is started elsewhere, with JetStream in files unless the configuration has it otherwise.
#[derive(Debug)]
pub(crate) struct NatsServer {
    program: PathBuf,
    /// What the configuration has beside the address and the folder.
    options: String,
    folder: TempDir,
    address: Ipv4Addr,
    port: u16,
    /// `None` while it is stopped.
    child: Option<Child>,
}

/// JetStream in a folder of the test's, which stands for `FOLDER`.
pub(crate) const JETSTREAM: &str = "jetstream { store_dir: \"FOLDER/streams\" }\n";

impl NatsServer {
    /// Starts one and waits until it answers; `None`, with a note, where NATS is not installed.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(JETSTREAM)
    }

    /// The same, with these options.
    pub(crate) fn start_with(options: &str) -> Option<Self> {
        Self::start_program("nats-server", options)
    }

    /// Starts the one of Debian 12, which is too old for streams.
    pub(crate) fn start_old(options: &str) -> Option<Self> {
        Self::start_program("nats-server-2.9", options)
    }

    /// Starts a cluster of three, whose members know each other.
    pub(crate) fn start_cluster() -> Option<[Self; 3]> {
        Self::start_cluster_at([Ipv4Addr::LOCALHOST; 3], |_, launch| launch())
    }

    /// The same, with an address for each. `there` has the server with this number launched where it is to be.
    pub(crate) fn start_cluster_at(
        addresses: [Ipv4Addr; 3],
        there: impl Fn(usize, &mut (dyn FnMut() -> bool + Send)) -> bool,
    ) -> Option<[Self; 3]> {
        until("a cluster starts", || {
            let routes = addresses.map(|address| format!("{address}:{}", reserved_port()));
            let list = routes.each_ref().map(|own| format!("nats://{own}")).join(", ");
            let servers = [0, 1, 2].map(|number| {
                let own = &routes[number];
                let cluster = format!("name: three, listen: \"{own}\", routes: [{list}]");
                let options = format!("{JETSTREAM}cluster {{ {cluster} }}\n");
                let mut server = Self::new("nats-server", &options)?;
                (server.address, server.port) = (addresses[number], reserved_port());
                // Another process may have taken a port meanwhile; then all begin anew.
                Some(there(number, &mut || server.launch()).then_some(server))
            });
            let [Some(one), Some(two), Some(three)] = servers else { return Some(None) };
            Some(Some([one?, two?, three?]))
        })
    }

    /// Starts one at all addresses, also those of other networks.
    pub(crate) fn start_everywhere() -> Option<Self> {
        let mut server = Self::new("nats-server", JETSTREAM)?;
        server.address = Ipv4Addr::UNSPECIFIED;
        Some(server.on_some_port())
    }

    /// The name by which other servers know it.
    pub(crate) fn name(&self) -> String {
        self.folder.path().display().to_string().replace('/', "-")
    }

    fn start_program(name: &str, options: &str) -> Option<Self> {
        Some(Self::new(name, options)?.on_some_port())
    }

    fn on_some_port(mut self) -> Self {
        // Another process may take the port before NATS binds it; then another port is tried.
        until("a NATS starts", || {
            self.port = reserved_port();
            self.launch().then_some(())
        });
        self
    }

    fn new(name: &str, options: &str) -> Option<Self> {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/servers").join(name);
        if !program.exists() {
            skip_without(&format!("{name}, which scripts/install-servers installs"));
            return None;
        }
        let folder = TempDir::new().unwrap();
        let (options, address) = (options.to_owned(), Ipv4Addr::LOCALHOST);
        Some(Self { program, options, folder, address, port: 0, child: None })
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("nats://{}:{}", self.address, self.port)
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> String {
        self.child.as_ref().unwrap().id().to_string()
    }

    /// Kills it; its files stay.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Starts it again on the same port.
    pub(crate) fn start_again(&mut self) {
        assert!(self.child.is_none(), "it runs");
        until("NATS starts again", || self.launch().then_some(()));
    }

    /// Stops the process with SIGSTOP, while the kernel still accepts connections and bytes for it.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Continues it after [`NatsServer::pause`].
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Has it send its clients away, and end.
    pub(crate) fn lame_duck(&self) {
        self.signal(Signal::USR2);
    }

    /// Starts the process and waits until it answers or ends; returns whether it answers.
    fn launch(&mut self) -> bool {
        let folder = self.folder.path().display().to_string();
        // By its name it is known from another process on its port.
        let name = self.name();
        let options = self.options.replace("FOLDER", &folder);
        let file = self.folder.path().join("nats.conf");
        let at = (self.address, self.port);
        let listen = format!("{}:{}", at.0, at.1);
        let text = format!("server_name: \"{name}\"\nlisten: \"{listen}\"\n{options}");
        fs::write(&file, text).unwrap();
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().unwrap());
        let answers = until("NATS answers or ends", || {
            if greeting(at).is_some_and(|greeting| greeting.contains(&name)) {
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

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.as_ref().unwrap()), signal).unwrap();
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended already, which is fine.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What a NATS says there first.
fn greeting(at: (Ipv4Addr, u16)) -> Option<String> {
    let stream = TcpStream::connect(at).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).ok()?;
    line.starts_with("INFO ").then_some(line)
}
