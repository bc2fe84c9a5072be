//! What the process tells its supervisor, by the protocol of sd_notify(3): a datagram of `NAME=VALUE`
//! lines to the socket that `NOTIFY_SOCKET` names. Without that variable nothing happens.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A supervisor that wants to know how the process is doing.
#[derive(Debug)]
pub struct Supervisor {
    socket: UnixDatagram,
    address: SocketAddr,
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// The supervisor that the environment names, if any.
    ///
    /// # Errors
    /// If the name is no address of a socket, or the system gives no socket.
    pub fn from_environment() -> io::Result<Option<Self>> {
        let Some(name) = env::var_os("NOTIFY_SOCKET") else { return Ok(None) };
        let own_pid = std::process::id().to_string();
        // It may be meant for the process that has started this one.
        let is_ours = env::var("WATCHDOG_PID").map_or(true, |pid| pid == own_pid);
        let micros = env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse::<u64>().ok());
        let watchdog = micros.filter(|micros| is_ours && *micros > 0).map(Duration::from_micros);
        Self::at(&name.to_string_lossy(), watchdog).map(Some)
    }

    fn at(name: &str, watchdog: Option<Duration>) -> io::Result<Self> {
        let address = match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(name)?,
        };
        let socket = UnixDatagram::unbound()?;
        // A supervisor that does not read must not hold the process up.
        socket.set_nonblocking(true)?;
        Ok(Self { socket, address, watchdog })
    }

    /// How often the process must say that it lives, with half of the time in reserve; `None` if it need
    /// not.
    #[must_use]
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog.map(|watchdog| watchdog / 2)
    }

    /// The process serves. `status` is for people, in one line.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// It reads its configuration again, until [`Supervisor::ready`].
    pub fn reloading(&self) {
        // systemd compares it with the moment of the signal (`Type=notify-reload`, systemd.service(5)).
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1000);
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// It shuts down.
    pub fn stopping(&self, status: &str) {
        self.tell(&format!("STOPPING=1\nSTATUS={status}"));
    }

    /// Another process takes its place.
    pub fn replaced_by(&self, pid: u32, status: &str) {
        self.tell(&format!("READY=1\nMAINPID={pid}\nSTATUS={status}"));
    }

    /// It lives, and so do all of its loops.
    pub fn alive(&self, status: &str) {
        self.tell(&format!("WATCHDOG=1\nSTATUS={status}"));
    }

    fn tell(&self, text: &str) {
        if let Err(error) = self.socket.send_to_addr(text.as_bytes(), &self.address) {
            log::debug!("the supervisor did not take {text:?}: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_arrive_at_paths_and_at_abstract_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        let name = format!("tidegate-test-{}", std::process::id());
        let abstract_address = SocketAddr::from_abstract_name(&name).unwrap();
        let by_name = UnixDatagram::bind_addr(&abstract_address).unwrap();
        for (socket, address) in
            [(by_path, path.to_str().unwrap().to_owned()), (by_name, format!("@{name}"))]
        {
            let watchdog = Some(Duration::from_secs(4));
            let supervisor = Supervisor::at(&address, watchdog).unwrap();
            assert_eq!(supervisor.watchdog_interval(), Some(Duration::from_secs(2)));
            let mut buffer = [0; 200];
            let mut next = || {
                let count = socket.recv(&mut buffer).unwrap();
                String::from_utf8(buffer[..count].to_vec()).unwrap()
            };
            supervisor.ready("2 listeners");
            assert_eq!(next(), "READY=1\nSTATUS=2 listeners");
            supervisor.replaced_by(7, "a new process serves");
            assert_eq!(next(), "READY=1\nMAINPID=7\nSTATUS=a new process serves");
            supervisor.reloading();
            let text = next();
            let micros = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
            assert!(micros.parse::<u64>().unwrap() > 0);
        }
    }

    #[test]
    fn a_supervisor_that_is_gone_holds_nothing_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nothing");
        Supervisor::at(path.to_str().unwrap(), None).unwrap().alive("");
    }
}
