//! The commands of a frame, which may be taken out in several turns.

use super::command::Command;
use super::decode::{self, BadFrame};
use super::format::Format;
use super::protobuf;

/// Commands in one frame.
pub const COMMANDS_MAX: usize = 1024;

/// The commands of a frame in JSON, whatever number of channels they name.
#[must_use]
pub fn commands(frame: &[u8]) -> Commands<'_> {
    Commands::of(Format::Json, frame, usize::MAX)
}

/// The commands of a frame in Protobuf, whatever number of channels they name.
#[must_use]
pub fn protobuf_commands(frame: &[u8]) -> Commands<'_> {
    Commands::of(Format::Protobuf, frame, usize::MAX)
}

/// The commands of a frame, one after the other. An error is the last item: what came before it holds.
#[derive(Clone, Debug)]
pub struct Commands<'c> {
    format: Format,
    /// What is still to be read; `None` if nothing is. A frame without any command is none.
    rest: Option<&'c [u8]>,
    /// Commands that were taken out.
    count: usize,
    channels_max: usize,
}

impl<'c> Commands<'c> {
    /// Those of a whole frame. One that names more channels than `channels_max` comes with one more than that, however
    /// many it names.
    #[must_use]
    pub fn of(format: Format, frame: &'c [u8], channels_max: usize) -> Self {
        let frame = match format {
            // One line break may stand at the end (sheet of the protocol: §1, batching).
            Format::Json => frame.strip_suffix(b"\n").unwrap_or(frame),
            Format::Protobuf => frame,
        };
        Self::behind(0, format, frame, channels_max)
    }

    /// As above, of the [`rest`](Self::rest) of a frame of which this many were taken out.
    #[must_use]
    pub fn behind(count: usize, format: Format, rest: &'c [u8], channels_max: usize) -> Self {
        Self { format, rest: Some(rest), count, channels_max }
    }

    /// What is still to be read, behind how many commands; `None` if nothing is.
    #[must_use]
    pub fn rest(&self) -> Option<(&'c [u8], usize)> {
        self.rest.map(|rest| (rest, self.count))
    }

    /// Bytes that are still to be read.
    #[must_use]
    pub fn bytes_left(&self) -> usize {
        self.rest.map_or(0, <[u8]>::len)
    }

    /// Nothing more is read.
    pub fn skip_rest(&mut self) {
        self.rest = None;
    }
}

impl<'c> Iterator for Commands<'c> {
    type Item = Result<Command<'c>, BadFrame>;

    fn next(&mut self) -> Option<Self::Item> {
        let frame = self.rest.take()?;
        if self.count >= COMMANDS_MAX {
            return Some(Err(BadFrame));
        }
        let (found, rest) = match self.format {
            Format::Json => {
                let (line, rest) = match memchr::memchr(b'\n', frame) {
                    Some(end) => (&frame[..end], Some(&frame[end + 1..])),
                    None => (frame, None),
                };
                (decode::command(line, self.channels_max), rest)
            }
            Format::Protobuf => protobuf::first_command(frame, self.channels_max),
        };
        self.count += 1;
        self.rest = rest.filter(|_| found.is_ok());
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_frame_is_read_as_if_it_had_been_read_at_once() {
        for frame in
            ["{\"id\":1}\n{\"id\":2}\n{}", "{}\n{}\n", "{}\n\n", "{}\n\n{}", "\n", "", "{}x\n{}"]
        {
            let whole: Vec<_> = Commands::of(Format::Json, frame.as_bytes(), 9).collect();
            let mut parts = Vec::new();
            let mut left = Commands::of(Format::Json, frame.as_bytes(), 9);
            while let Some((rest, count)) = left.rest() {
                assert_eq!(count, parts.len());
                left = Commands::behind(count, Format::Json, rest, 9);
                parts.extend(left.next());
            }
            assert_eq!(parts, whole, "{frame:?}");
        }
    }

    #[test]
    fn no_frame_has_more_commands_because_it_was_read_in_parts() {
        for (format, frame) in [(Format::Json, vec![b'\n'; 4]), (Format::Protobuf, vec![0; 4])] {
            let mut left = Commands::behind(COMMANDS_MAX, format, &frame, 9);
            assert_eq!((left.next(), left.next()), (Some(Err(BadFrame)), None));
        }
    }
}
