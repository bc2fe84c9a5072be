//! Backends of other makers that listen at a Unix socket, with a gateway in front of them.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::clients::below_root;
use crate::gateway::Gateway;
use crate::skip::skip_without;

/// A configuration whose route `/app/*` leads to these servers, with more in the table of the route.
pub(crate) fn relay_config(servers: &str, more: &str) -> String {
    format!(
        "loops = 2\n[[upstream]]\nname = \"app\"\nservers = [{servers}]\n\
         [[route]]\npath = \"/app/*\"\nservice = \"relay\"\nupstream = \"app\"\n{more}\n"
    )
}

/// Python with the packages of the tests. `None`, with a note, where they are not installed.
pub(crate) fn python() -> Option<Command> {
    let python = below_root("target/clients/python/bin/python");
    if !python.exists() {
        skip_without("Python's packages, which scripts/install-clients installs");
        return None;
    }
    Some(Command::new(python))
}

/// Node, where this package of the tests is installed; otherwise `None`, with a note.
pub(crate) fn node(package: &str) -> Option<Command> {
    if !below_root("target/clients/node_modules").join(package).exists() {
        skip_without(&format!("Node's {package}, which scripts/install-clients installs"));
        return None;
    }
    Some(Command::new("node"))
}

/// A backend of another maker, ended with this.
pub(crate) struct Backend {
    child: Child,
    folder: TempDir,
}

impl Backend {
    /// The example with Python's websockets. `None`, with a note, where it is not installed.
    pub(crate) fn python() -> Option<Self> {
        let mut command = python()?;
        command.arg(below_root("examples/relay/backend.py"));
        Some(Self::start(command, &[]))
    }

    /// The example with Node's ws. `None`, with a note, where it is not installed.
    pub(crate) fn node() -> Option<Self> {
        let mut command = node("ws")?;
        command.arg(below_root("examples/relay/backend.mjs"));
        Some(Self::start(command, &[&below_root("target/clients")]))
    }

    /// Starts a program with the place to listen at and more arguments; it says `ready`.
    pub(crate) fn start(mut command: Command, more: &[&Path]) -> Self {
        let folder = TempDir::new().unwrap();
        command.arg(place(&folder)).args(more).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self { child, folder }
    }

    /// As it stands in the list of an upstream's servers.
    pub(crate) fn place(&self) -> String {
        place(&self.folder)
    }

    /// A gateway in front of it, with more in the table of the route `/app/*`.
    pub(crate) fn gateway(&self, more: &str) -> Gateway {
        Gateway::with_config(&relay_config(&format!("\"{}\"", self.place()), more))
    }
}

fn place(folder: &TempDir) -> String {
    format!("unix:{}", folder.path().join("app.sock").display())
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
