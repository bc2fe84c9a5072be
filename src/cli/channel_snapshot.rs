//! Channels in a handover: the old process has them stand still and writes a file, from which the new one
//! goes on before it opens.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};

use crate::channels::{
    HEADER_BYTES, SNAPSHOT_KEY_BYTES, SnapshotError, SnapshotHeader, SnapshotWriter, StreamCopy,
    parse_snapshot, snapshot_bytes_max,
};
use crate::config::{ResolvedConfig, ServiceKind};
use crate::inspect::{ChannelAnswer, ChannelQuestion, Query};
use crate::mail::{NoReply, Reply, ReplyReceiver};
use crate::os::{ReadyPipe, SystemClock};
use crate::server::Handle;
use crate::timer::{Clock as _, Millis};

/// A file with the streams of all channels, which stand still since.
#[derive(Debug)]
pub(super) struct ChannelSnapshot {
    path: PathBuf,
    key: [u8; SNAPSHOT_KEY_BYTES],
}

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error(transparent)]
    Loop(#[from] NoReply),
    #[error("the event loops have not answered within channels.snapshot_ms")]
    Late,
    #[error("it would have more than {0} bytes")]
    TooLong(u64),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    File(#[from] io::Error),
}

impl ChannelSnapshot {
    /// Has channels stand still and writes them down, within `channels.snapshot_ms`. `None`, and they go on, if
    /// that fails or is not configured.
    pub(super) fn write(
        server: &Handle,
        settings: &ResolvedConfig,
        clock: SystemClock,
    ) -> Option<Self> {
        let path = path_of(settings)?;
        let until = clock.now().plus(settings.channels.snapshot_ms);
        let bytes_max = snapshot_bytes_max(settings.channels.limits().history);
        let written = write_all(server, path, bytes_max, (clock, until));
        match written {
            Ok((key, streams)) => {
                log::info!("channels stand still: {streams} streams are in {}", path.display());
                Some(Self { path: path.to_owned(), key })
            }
            Err(error) => {
                log::error!(
                    "channels begin anew in the new process: cannot write channels.snapshot = {}: \
                     {error}",
                    path.display()
                );
                tell_all(server, &ChannelQuestion::Thaw { are_new: false });
                None
            }
        }
    }

    /// Which handover it belongs to.
    pub(super) fn key(&self) -> [u8; SNAPSHOT_KEY_BYTES] {
        self.key
    }

    /// The new process has not taken over, so channels go on here. Where it `has_opened` they are new streams:
    /// some publications may have been made there.
    pub(super) fn discard(self, server: &Handle, has_opened: bool) {
        tell_all(server, &ChannelQuestion::Thaw { are_new: has_opened });
        // The new process may have removed it.
        let _ = fs::remove_file(&self.path);
        if has_opened {
            log::warn!(
                "channels go on as new streams: the process that is gone may have published"
            );
        }
    }

    /// The new process has taken over: clients that ask for something are sent there.
    pub(super) fn leave(server: &Handle) {
        tell_all(server, &ChannelQuestion::Leave);
    }
}

/// The streams of the process that this one takes over from; none if it has no snapshot, which the log says
/// where one is configured. With some, the other process knows from here on that this one opens.
pub(super) fn take_over(
    settings: &ResolvedConfig,
    ready: Option<&mut ReadyPipe>,
    clock: SystemClock,
) -> Vec<StreamCopy> {
    let (Some(path), Some(ready)) = (path_of(settings), ready) else { return Vec::new() };
    // The other process keeps to its own setting of the same.
    let patience = Duration::from_millis(settings.channels.snapshot_ms.saturating_mul(2));
    let key = match ready.ask_snapshot(patience) {
        Ok(Some(key)) => key,
        Ok(None) => {
            log::warn!("channels begin anew: the process before has no snapshot of them");
            return Vec::new();
        }
        Err(error) => {
            log::warn!("channels begin anew: the process before gives no snapshot: {error}");
            return Vec::new();
        }
    };
    let bytes_max = snapshot_bytes_max(settings.channels.limits().history);
    let read = read(path, bytes_max, &key, clock);
    // It is for one handover, and its publications need not lie about.
    let removed = fs::remove_file(path);
    match (read, removed) {
        (Ok(streams), Ok(())) => {
            log::info!("channels go on: {} streams of {}", streams.len(), path.display());
            // If it has ended, none is there to go on.
            let _ = ready.say_opens();
            streams
        }
        (Err(error), _) => {
            log::error!("channels begin anew: {} is refused: {error}", path.display());
            Vec::new()
        }
        (Ok(_), Err(error)) => {
            log::error!("channels begin anew: cannot remove {}: {error}", path.display());
            Vec::new()
        }
    }
}

/// Where the snapshot lies, if there are channels and they have one.
fn path_of(settings: &ResolvedConfig) -> Option<&Path> {
    let has_channels =
        settings.routes.iter().any(|own| own.service.kind() == ServiceKind::Channels);
    settings.channels.snapshot.as_ref().filter(|_| has_channels).map(|own| own.path())
}

fn write_all(
    server: &Handle,
    path: &Path,
    bytes_max: u64,
    (clock, until): (SystemClock, Millis),
) -> Result<([u8; SNAPSHOT_KEY_BYTES], usize), WriteError> {
    let mut key = [0; SNAPSHOT_KEY_BYTES];
    SystemRandom::new().fill(&mut key).map_err(|_| io::Error::other("no random numbers"))?;
    let loops = server.metrics().count();
    let asked: Vec<_> =
        (0..loops).map(|number| ask(server, number, ChannelQuestion::Freeze)).collect();
    for receiver in asked {
        answer(receiver?, (clock, until))?;
    }
    let beside = beside(path);
    let mut file = create(&beside)?;
    let mut writer = SnapshotWriter::default();
    file.write_all(&[0; HEADER_BYTES])?;
    let mut streams = 0;
    for number in 0..loops {
        let mut cursor = Some(0);
        while let Some(from) = cursor {
            let asked = ask(server, number, ChannelQuestion::Copies(from))?;
            let ChannelAnswer::Copies(copies, next) = answer(asked, (clock, until))? else {
                return Err(NoReply::Ended.into());
            };
            streams += copies.len();
            file.write_all(&writer.append(&copies)?)?;
            if writer.body_bytes() + HEADER_BYTES as u64 > bytes_max {
                let _ = fs::remove_file(&beside);
                return Err(WriteError::TooLong(bytes_max));
            }
            cursor = next;
        }
    }
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&writer.finish(SnapshotHeader { key, made_at: clock.wall_now() }))?;
    fs::rename(&beside, path)?;
    Ok((key, streams))
}

/// The file beside the one at this path.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

/// A new file that only this user reads.
fn create(path: &Path) -> io::Result<File> {
    // One that an earlier handover has left is in the way.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("it has more than {0} bytes")]
    TooLong(u64),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    File(#[from] io::Error),
}

fn read(
    path: &Path,
    bytes_max: u64,
    key: &[u8; SNAPSHOT_KEY_BYTES],
    clock: SystemClock,
) -> Result<Vec<StreamCopy>, ReadError> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(ReadError::TooLong(bytes_max));
    }
    let (made_at, mut streams) = parse_snapshot(&bytes, key)?;
    let age_ms = clock.wall_now().0.saturating_sub(made_at.0);
    streams.iter_mut().for_each(|own| own.age(age_ms));
    Ok(streams)
}

/// Asks a loop, over the limits of its mailbox: there are a few questions for each handover.
fn ask(
    server: &Handle,
    number: usize,
    question: ChannelQuestion,
) -> Result<ReplyReceiver<ChannelAnswer>, NoReply> {
    let (reply, receiver) = Reply::channel();
    server.query_reserved(number, Query::Channels { question, reply })?;
    Ok(receiver)
}

fn answer(
    receiver: ReplyReceiver<ChannelAnswer>,
    (clock, until): (SystemClock, Millis),
) -> Result<ChannelAnswer, WriteError> {
    let patience = Duration::from_millis(until.since(clock.now()));
    receiver.wait(patience).map_err(|error| match error {
        NoReply::Late => WriteError::Late,
        NoReply::Busy | NoReply::Ended => error.into(),
    })
}

/// Tells all loops, and waits for none: what follows is behind it in their mailboxes.
fn tell_all(server: &Handle, question: &ChannelQuestion) {
    for number in 0..server.metrics().count() {
        // A loop that has ended has no channels.
        let _ = ask(server, number, question.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::MemoryLimits;

    #[test]
    fn the_file_is_written_beside_and_is_of_this_user_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("channels");
        let other = beside(&path);
        assert_eq!(other, folder.path().join("channels.new"));
        fs::write(&other, b"left over").unwrap();
        let file = create(&other).unwrap();
        let metadata = file.metadata().unwrap();
        assert_eq!((metadata.len(), metadata.permissions().mode() & 0o777), (0, 0o600));
    }

    #[test]
    fn a_file_that_is_too_long_or_foreign_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("channels");
        let bytes_max = snapshot_bytes_max(MemoryLimits { streams_max: 1, bytes_max: 1 });
        let refusal = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            let refused = read(&path, bytes_max, &[0; 16], SystemClock::start());
            refused.unwrap_err().to_string()
        };
        assert_eq!(refusal(&vec![0; 600]), format!("it has more than {bytes_max} bytes"));
        assert_eq!(refusal(b"something else"), "it is no snapshot of channels");
    }
}
