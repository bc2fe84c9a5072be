//! The handover to another process: streams stand still, are copied, and go on there or here.

use super::service::Channels;
use crate::channels::StreamCopy;
use crate::inspect::{ChannelAnswer, ChannelQuestion};
use crate::key::home_loop;
use crate::services::Effects;
use crate::timer::Millis;

impl Channels {
    /// Takes over the streams of another process before the first connection, as far as their home is this
    /// loop.
    pub fn restore(&mut self, mut streams: Vec<StreamCopy>) {
        streams.retain(|own| home_loop(&own.channel, self.site.count) == self.site.index);
        let count = streams.len();
        // The clock of a loop begins with the loop.
        let taken = streams.into_iter().map(|own| self.home.restore(own, Millis(0)));
        let lost = count - taken.filter(|is_taken| *is_taken).count();
        if lost > 0 {
            log::warn!(
                "channels: {lost} of {count} streams have no room and begin anew; raise \
                 channels.histories_max"
            );
        }
    }

    /// Takes a step of the handover.
    pub(super) fn on_handover(
        &mut self,
        step: &ChannelQuestion,
        effects: &mut Effects<'_>,
    ) -> ChannelAnswer {
        match step {
            ChannelQuestion::Freeze => self.home.freeze(),
            ChannelQuestion::Copies(cursor) => {
                let (copies, next) = self.home.copies(*cursor, effects.now());
                let entries: usize = copies.iter().map(|own| 1 + own.entries.len()).sum();
                effects.charge_work(entries as u64 * COPY_WORK);
                return ChannelAnswer::Copies(copies, next);
            }
            ChannelQuestion::Thaw { are_new } => self.home.thaw(*are_new),
            ChannelQuestion::Leave => self.is_leaving = true,
            ChannelQuestion::Publish { .. }
            | ChannelQuestion::Presence(_)
            | ChannelQuestion::PresenceStats(_)
            | ChannelQuestion::History { .. }
            | ChannelQuestion::Forget(_)
            | ChannelQuestion::Close(_)
            | ChannelQuestion::List(_)
            | ChannelQuestion::Count
            | ChannelQuestion::Rpc { .. }
            | ChannelQuestion::Subscribe { .. }
            | ChannelQuestion::Refresh { .. }
            | ChannelQuestion::Unsubscribe { .. }
            | ChannelQuestion::Disconnect { .. } => {}
        }
        ChannelAnswer::Done
    }
}

/// Of each publication that is copied, in units of [`crate::work`].
const COPY_WORK: u64 = 50;
