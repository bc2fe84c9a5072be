//! Listening sockets that were opened before this process started: by systemd (sd_listen_fds(3)), or by
//! the gateway that this one takes over from.

use std::env;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::getppid;
use socket2::{SockRef, Type};

use super::ready_pipe::ReadyPipe;
use crate::display::debug_as_display;

/// The sockets that were passed to this process; none in most cases.
#[derive(Debug, Default)]
pub struct PassedSockets {
    /// The sockets, in their order.
    pub sockets: Vec<PassedSocket>,
    /// Whether a supervisor holds them as well, so that their queues outlive this process.
    pub are_held: bool,
    /// Whether a listener may go without one of them, and one of them without a listener: a new
    /// configuration may have other listeners.
    pub may_differ: bool,
    /// Where the process that passed them waits for this one.
    pub ready: Option<ReadyPipe>,
}

/// One listening socket.
#[derive(Debug)]
pub struct PassedSocket {
    /// The socket, non-blocking.
    pub listener: TcpListener,
    /// Where it listens.
    pub address: SocketAddr,
    /// What the supervisor calls it; may be empty.
    pub name: String,
}

/// Sockets that were passed cannot be used.
#[derive(thiserror::Error)]
pub enum PassedError {
    /// A variable of the environment is not as it should be.
    #[error("the environment has {name} = {value:?}, which is not {expected}")]
    Variable {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A descriptor is no listening TCP socket.
    #[error("descriptor {number}, passed as {name:?}, is no listening TCP socket: {source}")]
    Socket {
        /// The descriptor.
        number: RawFd,
        /// Its name.
        name: String,
        /// What the system said.
        source: io::Error,
    },
}

debug_as_display!(PassedError);

/// What the environment says, before any descriptor is touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Plan {
    /// Descriptors with their names.
    descriptors: Vec<(RawFd, String)>,
    is_supervised: bool,
    ready: Option<RawFd>,
}

impl PassedSockets {
    /// Takes over what was passed. Call it once, before the process opens anything: it owns the
    /// descriptors that the environment names from here on. Variables that are meant for another process
    /// are ignored.
    ///
    /// # Errors
    /// If the environment names what is no listening TCP socket.
    pub fn take() -> Result<Self, PassedError> {
        let parent = getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        let plan = Plan::from_variables(own, parent, &|name| env::var(name).ok())?;
        let adopt_one = |(number, name): (RawFd, String)| {
            let adopted = adopt(number).and_then(listening);
            match adopted {
                Ok((listener, address)) => Ok(PassedSocket { listener, address, name }),
                Err(source) => Err(PassedError::Socket { number, name, source }),
            }
        };
        let ready = plan.ready.map(|number| {
            let failed = |source| PassedError::Socket { number, name: "ready".to_owned(), source };
            adopt(number).map(ReadyPipe::new).map_err(failed)
        });
        let may_differ = ready.is_some();
        Ok(Self {
            sockets: plan.descriptors.into_iter().map(adopt_one).collect::<Result<_, _>>()?,
            are_held: plan.is_supervised,
            may_differ,
            ready: ready.transpose()?,
        })
    }
}

impl PassedSockets {
    /// Takes out the socket with this name, if one was passed.
    pub fn take_named(&mut self, name: &str) -> Option<TcpListener> {
        let at = self.sockets.iter().position(|own| own.name == name)?;
        Some(self.sockets.remove(at).listener)
    }
}

impl Plan {
    fn from_variables(
        own_pid: i32,
        parent_pid: i32,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, PassedError> {
        if let Some(value) = variable(HANDOVER) {
            let Some((pid, plan)) = Self::from_handover(&value) else {
                let expected = "what a gateway passes to the next";
                return Err(PassedError::Variable { name: HANDOVER, value, expected });
            };
            // Not of a child of the process that was meant.
            return Ok(if pid == parent_pid { plan } else { Self::default() });
        }
        if number(LISTEN_PID, variable)? != Some(own_pid) {
            return Ok(Self::default());
        }
        let count = number(LISTEN_FDS, variable)?.unwrap_or(0);
        if !(0..=PASSED_MAX).contains(&count) {
            let (value, expected) = (count.to_string(), "a number from 0 to 4096");
            return Err(PassedError::Variable { name: LISTEN_FDS, value, expected });
        }
        let names = variable(LISTEN_FDNAMES).unwrap_or_default();
        let names = names.split(':').map(str::to_owned).chain(std::iter::repeat(String::new()));
        let descriptors = (LISTEN_FDS_START..LISTEN_FDS_START + count).zip(names).collect();
        Ok(Self { descriptors, is_supervised: count > 0, ready: None })
    }

    /// The value of [`HANDOVER`] for a process whose parent is `parent_pid`.
    fn to_handover(&self, parent_pid: u32) -> String {
        let ready = self.ready.unwrap_or(-1);
        let sockets: Vec<String> =
            self.descriptors.iter().map(|(number, name)| format!("{number}={name}")).collect();
        let is_supervised = u8::from(self.is_supervised);
        format!("{parent_pid};{ready};{is_supervised};{}", sockets.join(","))
    }

    fn from_handover(value: &str) -> Option<(i32, Self)> {
        let mut parts = value.splitn(4, ';');
        let pid = parts.next()?.parse().ok()?;
        let ready = parts.next()?.parse().ok().filter(|ready| *ready > 2)?;
        let is_supervised = match parts.next()? {
            "0" => false,
            "1" => true,
            _ => return None,
        };
        let sockets = parts.next()?.split(',').filter(|own| !own.is_empty());
        let descriptors = sockets.map(|own| {
            let (number, name) = own.split_once('=')?;
            Some((number.parse().ok().filter(|number| *number > 2)?, name.to_owned()))
        });
        let descriptors = descriptors.collect::<Option<Vec<_>>>()?;
        Some((pid, Self { descriptors, is_supervised, ready: Some(ready) }))
    }
}

/// The value of [`HANDOVER`] for a child of this process that gets these descriptors with their names.
pub(super) fn handover_value(
    descriptors: Vec<(RawFd, String)>,
    is_supervised: bool,
    ready: RawFd,
) -> String {
    Plan { descriptors, is_supervised, ready: Some(ready) }.to_handover(std::process::id())
}

fn number(
    name: &'static str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<i32>, PassedError> {
    let Some(value) = variable(name) else { return Ok(None) };
    let expected = "a number";
    value.parse().map(Some).map_err(|_| PassedError::Variable { name, value, expected })
}

/// Owns a descriptor that this process was started with, and keeps it from programs that it starts.
fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    let owned = own(number)?;
    fcntl_setfd(&owned, FdFlags::CLOEXEC)?;
    Ok(owned)
}

#[expect(unsafe_code, reason = "a descriptor that is only known by its number has no safe owner")]
fn own(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD takes no further argument and changes nothing (fcntl(2)).
    if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open, and by the protocol of the variables it is this function's: the
    // process was started with it and has opened nothing before. `Plan` names each number once.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

fn listening(owned: OwnedFd) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = SockRef::from(&owned);
    if socket.r#type()? != Type::STREAM || !socket.is_listener()? {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it does not listen"));
    }
    let unsupported = || io::Error::new(io::ErrorKind::InvalidInput, "it is not of IPv4 or IPv6");
    let address = socket.local_addr()?.as_socket().ok_or_else(unsupported)?;
    let listener = TcpListener::from(owned);
    listener.set_nonblocking(true)?;
    Ok((listener, address))
}

/// The variable by which a gateway passes its sockets to the next: the process id of the first, the
/// descriptor to write to when ready, whether a supervisor holds the sockets, and `DESCRIPTOR=NAME` for
/// each of them. `LISTEN_FDS` would need the id of a process before it is started.
pub(super) const HANDOVER: &str = "TIDEGATE_HANDOVER";
pub(super) const LISTEN_PID: &str = "LISTEN_PID";
pub(super) const LISTEN_FDS: &str = "LISTEN_FDS";
pub(super) const LISTEN_FDNAMES: &str = "LISTEN_FDNAMES";
/// `SD_LISTEN_FDS_START` (sd_listen_fds(3)).
const LISTEN_FDS_START: RawFd = 3;
const PASSED_MAX: i32 = 4096;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plan(variables: &[(&str, &str)]) -> Result<Plan, PassedError> {
        Plan::from_variables(7, 3, &|name| {
            let found = variables.iter().find(|(own, _)| *own == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn sockets_of_systemd_begin_at_descriptor_3_and_have_names() {
        let found = plan(&[("LISTEN_PID", "7"), ("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "web:x")]);
        let descriptors = vec![(3, "web".to_owned()), (4, "x".to_owned())];
        assert_eq!(found.unwrap(), Plan { descriptors, is_supervised: true, ready: None });
        let unnamed = plan(&[("LISTEN_PID", "7"), ("LISTEN_FDS", "1")]).unwrap();
        assert_eq!(unnamed.descriptors, [(3, String::new())]);
    }

    #[test]
    fn sockets_for_another_process_are_left_alone() {
        assert_eq!(plan(&[]).unwrap(), Plan::default());
        assert_eq!(plan(&[("LISTEN_PID", "8"), ("LISTEN_FDS", "2")]).unwrap(), Plan::default());
        assert_eq!(plan(&[("TIDEGATE_HANDOVER", "4;9;0;5=")]).unwrap(), Plan::default());
    }

    #[test]
    fn what_is_wrong_is_an_error_of_one_line() {
        for variables in [
            &[("LISTEN_PID", "seven")][..],
            &[("LISTEN_PID", "7"), ("LISTEN_FDS", "-1")],
            &[("LISTEN_PID", "7"), ("LISTEN_FDS", "99999999")],
            &[("TIDEGATE_HANDOVER", "3;9;0;1=a")],
            &[("TIDEGATE_HANDOVER", "3;2;0;5=a")],
            &[("TIDEGATE_HANDOVER", "3\n")],
        ] {
            let text = plan(variables).unwrap_err().to_string();
            assert!(!text.contains('\n') && text.starts_with("the environment has "), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_handed_over_arrives(
            descriptors in prop::collection::vec((3..9_000, "[a-z0-9.:-]{0,20}"), 0..20),
            is_supervised: bool,
            ready in 3..9_000,
        ) {
            let sent = Plan { descriptors, is_supervised, ready: Some(ready) };
            prop_assert_eq!(Plan::from_handover(&sent.to_handover(3)), Some((3, sent)));
        }

        #[test]
        fn no_value_panics(value in any::<String>()) {
            let _ = plan(&[("TIDEGATE_HANDOVER", &value)]);
            let _ = plan(&[("LISTEN_PID", "7"), ("LISTEN_FDS", &value)]);
        }
    }
}
