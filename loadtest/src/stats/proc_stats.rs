//! Reads /proc: the resources of the server's process and of the kernel.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::output::units::Seconds;

/// The resources of one process.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct ProcessStats {
    pub(crate) anonymous_bytes: u64,
    pub(crate) rss_bytes: u64,
    pub(crate) threads: u64,
    /// User and system time since the process began.
    #[serde(rename = "cpu_seconds")]
    pub(crate) cpu: Seconds,
    /// Stands in the report once, not in every snapshot.
    #[serde(skip)]
    pub(crate) anonymous_source: AnonymousSource,
}

/// Which file the anonymous memory was read from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) enum AnonymousSource {
    /// Walks the page tables: exact to the page.
    #[default]
    #[serde(rename = "Anonymous of /proc/PID/smaps_rollup")]
    SmapsRollup,
    /// Running counters: equal to the page tables where compared (Linux 6.18), but the manual
    /// (proc_pid_status(5)) calls them inaccurate.
    #[serde(rename = "RssAnon of /proc/PID/status")]
    Status,
}

impl AnonymousSource {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::SmapsRollup => "Anonymous of /proc/PID/smaps_rollup",
            Self::Status => "RssAnon of /proc/PID/status",
        }
    }
}

/// The resources of the kernel, on the whole machine.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct KernelStats {
    /// All kernel objects: sockets, files, dentries, epoll items, and all that have nothing to do
    /// with connections.
    pub(crate) slab_bytes: u64,
    /// The part that the kernel cannot drop under pressure.
    pub(crate) slab_unreclaimable_bytes: u64,
    pub(crate) sockets_used: u64,
    /// TCP connections in TIME_WAIT, where each stays for a minute after its close.
    #[serde(default)]
    pub(crate) time_wait_sockets: u64,
    /// Socket buffers of TCP. The kernel counts them in batches per CPU, so the figure is off by up
    /// to some hundred KiB.
    pub(crate) tcp_buffer_bytes: u64,
}

/// Reads the resources of the process.
pub(crate) fn read_process(pid: NonZeroU32) -> io::Result<ProcessStats> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let cpu = Seconds(read_cpu(pid)?);
    // The smaps of another user's process are not readable, its status is.
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    parse_process(&status, &rollup, cpu).ok_or_else(|| unreadable("status"))
}

/// Reads the user and system time since the process began, of all its threads.
pub(crate) fn read_cpu(pid: NonZeroU32) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    Ok(cpu_time(parse_cpu_ticks(&stat).ok_or_else(|| unreadable("stat"))?))
}

/// Reads the resident memory of the process in bytes. It costs less than the other figures, which
/// walk the page tables.
pub(crate) fn read_rss(pid: NonZeroU32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    kib_field(&status, "VmRSS:").ok_or_else(|| unreadable("status"))
}

/// Reads how many established TCP connections each of the process's epoll instances watches, in the
/// order of their own descriptors. Listeners, pipes and wakers do not count, as a server may add
/// some at any time.
pub(crate) fn read_epoll_connections(pid: NonZeroU32) -> io::Result<Vec<usize>> {
    let established = read_established(pid)?;
    let is_connection = |descriptor: &str| {
        let link = fs::read_link(format!("/proc/{pid}/fd/{descriptor}"));
        link.is_ok_and(|link| {
            link.to_str().and_then(socket_inode).is_some_and(|inode| established.contains(&inode))
        })
    };
    let mut counts = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let entry = entry?;
        let descriptor: Option<u32> = entry.file_name().to_str().and_then(|name| name.parse().ok());
        // A descriptor that was closed in the meantime is left out.
        if let Some(descriptor) = descriptor
            && fs::read_link(entry.path()).is_ok_and(|link| link == Path::new(EPOLL_LINK))
            && let Ok(info) = fs::read_to_string(format!("/proc/{pid}/fdinfo/{descriptor}"))
        {
            counts.push((
                descriptor,
                watched(&info).filter(|watched| is_connection(watched)).count(),
            ));
        }
    }
    counts.sort_unstable();
    Ok(counts.into_iter().map(|(_, count)| count).collect())
}

/// The inodes of the established TCP connections in the process's network namespace
/// (`man 5 proc_pid_net`).
fn read_established(pid: NonZeroU32) -> io::Result<HashSet<u64>> {
    let mut inodes = HashSet::new();
    for table in ["tcp", "tcp6"] {
        match fs::read_to_string(format!("/proc/{pid}/net/{table}")) {
            Ok(text) => inodes.extend(text.lines().skip(1).filter_map(established_inode)),
            // A kernel without IPv6 has no second table.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(inodes)
}

/// The inode in a line of the kernel's table of TCP sockets, if its connection is established.
fn established_inode(line: &str) -> Option<u64> {
    let mut fields = line.split_ascii_whitespace();
    let state = fields.nth(3)?;
    let inode = fields.nth(5)?;
    if state == TCP_ESTABLISHED { inode.parse().ok() } else { None }
}

/// The inode in the link of a descriptor, if it is a socket's.
fn socket_inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The descriptors that an epoll instance watches, from its `fdinfo` (`man 5 proc_pid_fdinfo`).
fn watched(info: &str) -> impl Iterator<Item = &str> {
    info.lines().filter_map(|line| line.strip_prefix("tfd:")?.split_ascii_whitespace().next())
}

/// Reads the resources of the kernel.
pub(crate) fn read_kernel() -> io::Result<KernelStats> {
    let meminfo = fs::read_to_string("/proc/meminfo")?;
    let sockstat = fs::read_to_string("/proc/net/sockstat")?;
    let page_bytes = rustix::param::page_size() as u64;
    parse_kernel(&meminfo, &sockstat, page_bytes).ok_or_else(|| unreadable("meminfo or sockstat"))
}

/// Reads how much memory programs can still have, in bytes.
pub(crate) fn read_available_memory() -> io::Result<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo")?;
    kib_field(&meminfo, "MemAvailable:").ok_or_else(|| unreadable("meminfo"))
}

/// Reads the range of ports that the kernel assigns to connecting sockets.
pub(crate) fn read_ephemeral_ports() -> io::Result<RangeInclusive<u16>> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")?;
    parse_port_range(&range).ok_or_else(|| unreadable("ip_local_port_range"))
}

fn parse_process(status: &str, rollup: &str, cpu: Seconds) -> Option<ProcessStats> {
    let threads = field(status, "Threads:")?;
    let exact = kib_field(rollup, "Anonymous:").zip(kib_field(rollup, "Rss:"));
    let (anonymous_source, (anonymous_bytes, rss_bytes)) = match exact {
        Some(bytes) => (AnonymousSource::SmapsRollup, bytes),
        None => {
            let bytes = kib_field(status, "RssAnon:").zip(kib_field(status, "VmRSS:"))?;
            (AnonymousSource::Status, bytes)
        }
    };
    Some(ProcessStats { anonymous_bytes, rss_bytes, threads, cpu, anonymous_source })
}

fn parse_kernel(meminfo: &str, sockstat: &str, page_bytes: u64) -> Option<KernelStats> {
    let sockets = sockstat.lines().find_map(|line| line.strip_prefix("sockets:"))?;
    let tcp = sockstat.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    Some(KernelStats {
        slab_bytes: kib_field(meminfo, "Slab:")?,
        slab_unreclaimable_bytes: kib_field(meminfo, "SUnreclaim:")?,
        sockets_used: named_number(sockets, "used")?,
        time_wait_sockets: named_number(tcp, "tw")?,
        tcp_buffer_bytes: named_number(tcp, "mem")?.checked_mul(page_bytes)?,
    })
}

/// The sum of `utime` and `stime`, the 14th and 15th field. The second field is the program's name
/// in parentheses and may contain spaces and parentheses, so the fields are counted from its last
/// one.
fn parse_cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}

fn parse_port_range(range: &str) -> Option<RangeInclusive<u16>> {
    let mut ports = range.split_ascii_whitespace().map(u16::from_str);
    match (ports.next(), ports.next()) {
        (Some(Ok(first)), Some(Ok(last))) if first <= last => Some(first..=last),
        _ => None,
    }
}

/// The number after `name` at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_ascii_whitespace().next()?.parse().ok()
}

fn kib_field(text: &str, name: &str) -> Option<u64> {
    field(text, name)?.checked_mul(1024)
}

/// The number that follows the word `name` on a line of `name number` pairs.
fn named_number(line: &str, name: &str) -> Option<u64> {
    line.split_ascii_whitespace().skip_while(|word| *word != name).nth(1)?.parse().ok()
}

fn cpu_time(ticks: u64) -> Duration {
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// The link in `/proc/PID/fd` of an epoll instance.
const EPOLL_LINK: &str = "anon_inode:[eventpoll]";
/// The state of an established connection in the kernel's table.
const TCP_ESTABLISHED: &str = "01";

fn unreadable(file: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{file} has an unexpected format"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\ttidegate\nVmPeak:\t    9000 kB\nVmRSS:\t    3172 kB\n\
                          RssAnon:\t     640 kB\nRssFile:\t    2532 kB\nThreads:\t3\n";
    const ROLLUP: &str = "55f27d9f5000-7fff3687b000 ---p 00000000 00:00 0    [rollup]\n\
                          Rss:                3200 kB\nPss_Anon:            111 kB\n\
                          Anonymous:           612 kB\nAnonHugePages:         0 kB\n";
    const MEMINFO: &str = "MemTotal:       24683620 kB\nKReclaimable:      20960 kB\n\
                           Slab:              48128 kB\nSReclaimable:      20960 kB\n\
                           SUnreclaim:        27168 kB\n";
    const SOCKSTAT: &str = "sockets: used 13\nTCP: inuse 1 orphan 0 tw 7 alloc 1 mem 60\n\
                            UDP: inuse 0 mem 7\n";

    #[test]
    fn smaps_rollup_is_preferred_to_status() {
        let stats = parse_process(STATUS, ROLLUP, Seconds(Duration::ZERO)).unwrap();
        assert_eq!(stats.anonymous_source, AnonymousSource::SmapsRollup);
        assert_eq!((stats.anonymous_bytes, stats.rss_bytes), (612 << 10, 3200 << 10));
        assert_eq!(stats.threads, 3);
    }

    #[test]
    fn without_smaps_the_status_is_read() {
        let stats = parse_process(STATUS, "", Seconds(Duration::ZERO)).unwrap();
        assert_eq!(stats.anonymous_source, AnonymousSource::Status);
        assert_eq!((stats.anonymous_bytes, stats.rss_bytes), (640 << 10, 3172 << 10));
    }

    #[test]
    fn a_zombie_without_memory_figures_is_none() {
        assert_eq!(parse_process("Name:\tgone\nThreads:\t1\n", "", Seconds(Duration::ZERO)), None);
    }

    #[test]
    fn kernel_figures_are_in_bytes() {
        let stats = KernelStats {
            slab_bytes: 48_128 << 10,
            slab_unreclaimable_bytes: 27_168 << 10,
            sockets_used: 13,
            time_wait_sockets: 7,
            tcp_buffer_bytes: 60 * 4096,
        };
        assert_eq!(parse_kernel(MEMINFO, SOCKSTAT, 4096), Some(stats));
        assert_eq!(parse_kernel(MEMINFO, "", 4096), None);
    }

    #[test]
    fn cpu_ticks_are_parsed_after_any_program_name() {
        let fields = "S 1 42 42 0 -1 4194304 900 0 0 0 150 27 0 0 20 0 3 0 8000 1 2";
        for name in ["(tidegate)", "(a b)", "(:) 1 2 (x))"] {
            assert_eq!(parse_cpu_ticks(&format!("42 {name} {fields}")), Some(177));
        }
        assert_eq!(parse_cpu_ticks("42 (cut"), None);
        assert_eq!(parse_cpu_ticks("42 (cut) S 1"), None);
    }

    #[test]
    fn port_ranges_are_two_numbers_in_order() {
        assert_eq!(parse_port_range("32768\t60999\n"), Some(32_768..=60_999));
        for range in ["", "32768", "60999 32768", "a b"] {
            assert_eq!(parse_port_range(range), None, "{range:?}");
        }
    }

    #[test]
    fn the_proc_files_of_this_machine_can_be_read() {
        let pid = NonZeroU32::new(std::process::id()).unwrap();
        assert!(read_process(pid).unwrap().anonymous_bytes > 0);
        assert!(read_kernel().unwrap().slab_bytes > 0);
        assert!(read_ephemeral_ports().is_ok());
    }

    #[test]
    fn only_connections_count_as_watched_by_an_epoll_instance() {
        let pid = NonZeroU32::new(std::process::id()).unwrap();
        let poll = mio::Poll::new().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let ends = [0; 3].map(|_| {
            let connected = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            [connected, listener.accept().unwrap().0]
        });
        let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
        let mut listener = mio::net::TcpListener::from_std(listener);
        let mut streams: Vec<_> =
            ends.into_iter().flatten().map(mio::net::TcpStream::from_std).collect();
        let interest = mio::Interest::READABLE;
        poll.registry().register(&mut listener, mio::Token(1), interest).unwrap();
        for stream in &mut streams {
            poll.registry().register(stream, mio::Token(2), interest).unwrap();
        }
        assert!(read_epoll_connections(pid).unwrap().contains(&6));
        drop((streams, waker));
    }

    #[test]
    fn the_table_of_sockets_names_state_and_inode() {
        let line = "0: 0100007F:1F90 0100007F:C350 01 0:0 00:0 0 1000 0 9137 1 ffff 20 4 30 10 -1";
        assert_eq!(established_inode(line), Some(9137));
        assert_eq!(established_inode(&line.replacen(" 01 ", " 08 ", 1)), None);
        assert_eq!(established_inode("0: 0100007F:1F90"), None);
    }
}
