//! A real proxy for one test: started on a free port with a configuration, and always ended.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::port::reserved_address;
use crate::skip::{say, skip_without};
use crate::wait::until;

/// A proxy on 127.0.0.1, as a process of the user who runs the tests.
#[derive(Debug)]
pub(crate) struct ProxyServer {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl ProxyServer {
    /// Starts nginx with this text inside of its `http` block; `config` is given the address to
    /// listen on. `None`, with a note, where nginx is not installed.
    pub(crate) fn nginx(config: impl Fn(SocketAddr) -> String) -> Option<Self> {
        Self::start("nginx", |folder, address| {
            let place = folder.display();
            // Without these it would write where only root may.
            let places = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .map(|name| format!("{name}_temp_path {place}/{name};\n"))
                .concat();
            let text = format!(
                "daemon off;\nmaster_process off;\npid {place}/pid;\nerror_log stderr;\n\
                 events {{}}\nhttp {{\naccess_log off;\n{places}{}\n}}\n",
                config(address)
            );
            (text, vec!["-p".into(), place.to_string(), "-e".into(), "stderr".into(), "-c".into()])
        })
    }

    /// Starts nginx with this text inside of its `stream` block, as [`ProxyServer::nginx`] does.
    pub(crate) fn nginx_stream(config: impl Fn(SocketAddr) -> String) -> Option<Self> {
        let Some(module) = stream_module() else {
            skip_without("libnginx-mod-stream, which scripts/install-servers installs");
            return None;
        };
        Self::start("nginx", |folder, address| {
            let place = folder.display();
            let text = format!(
                "load_module {};\ndaemon off;\nmaster_process off;\npid {place}/pid;\n\
                 error_log stderr;\nevents {{}}\nstream {{\n{}\n}}\n",
                module.display(),
                config(address)
            );
            (text, vec!["-p".into(), place.to_string(), "-e".into(), "stderr".into(), "-c".into()])
        })
    }

    /// Starts HAProxy with this configuration, of which `config` is given the address to listen on;
    /// its state can be asked for.
    pub(crate) fn haproxy(config: impl Fn(SocketAddr) -> String) -> Option<Self> {
        Self::start("haproxy", |folder, address| {
            let socket = folder.join(STATE_SOCKET);
            let global = format!("global\n    stats socket {}\n", socket.display());
            (global + &config(address), vec!["-db".into(), "-f".into()])
        })
    }

    fn start(
        name: &str,
        prepare: impl Fn(&Path, SocketAddr) -> (String, Vec<String>),
    ) -> Option<Self> {
        let Some(program) = program(name) else {
            skip_without(&format!("{name}, which scripts/install-servers installs"));
            return None;
        };
        // Another process may take the port before the proxy binds it; then another is tried.
        Some(until(&format!("{name} starts"), || {
            let folder = TempDir::new().unwrap();
            let address = reserved_address();
            let (config, arguments) = prepare(folder.path(), address);
            let (file, log) = (folder.path().join("config"), folder.path().join("log"));
            fs::write(&file, config).unwrap();
            let mut command = Command::new(&program);
            command.args(arguments).arg(&file).stdin(Stdio::null()).stdout(Stdio::null());
            command.stderr(fs::File::create(&log).unwrap());
            let mut proxy = Self { child: command.spawn().unwrap(), address, folder };
            proxy.listens().then_some(proxy)
        }))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What HAProxy says of its servers: lines of values with commas between them.
    pub(crate) fn states(&self) -> String {
        use std::io::{Read as _, Write as _};
        let path = self.folder.path().join(STATE_SOCKET);
        let connect = || std::os::unix::net::UnixStream::connect(&path).ok();
        // It may accept clients before this socket is there.
        let mut socket = until("the socket of states is there", connect);
        socket.write_all(b"show stat\n").unwrap();
        let mut states = String::new();
        socket.read_to_string(&mut states).unwrap();
        states
    }

    /// Waits until it accepts connections or ends; returns whether it accepts.
    fn listens(&mut self) -> bool {
        until("the proxy accepts or ends", || {
            if self.child.try_wait().unwrap().is_some() {
                say(&format!("the proxy ended at once:\n{}", self.log()));
                return Some(false);
            }
            TcpStream::connect(self.address).is_ok().then_some(true)
        })
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for ProxyServer {
    fn drop(&mut self) {
        // It may have ended already, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            say(&format!("the proxy's log:\n{}", self.log()));
        }
    }
}

/// The program on the path, or the one that scripts/install-servers put below target/.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/servers").join(name);
    [PathBuf::from(name), Path::new("/usr/sbin").join(name), own].into_iter().find(|program| {
        ["-v", "--version"].iter().any(|question| {
            let mut command = Command::new(program);
            command.arg(question);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        })
    })
}

/// The module of nginx for TCP, of the system or below target/.
fn stream_module() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/servers/libnginx-mod-stream.root");
    let module = "usr/lib/nginx/modules/ngx_stream_module.so";
    [PathBuf::from("/"), own].iter().map(|root| root.join(module)).find(|file| file.exists())
}

const STATE_SOCKET: &str = "state";
