//! Faults of gateways and of their links, which are the same for all engines.

use std::time::{Duration, Instant};

use crate::rig::Rig;
use crate::wait::{now, pass};

/// How long an engine stands still in one round, for those who may give it up by a time of their own.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// An engine stands still for [`LONG`], under load.
pub(crate) fn stopped_long(rig: &mut Rig, pause: impl FnOnce(), resume: impl FnOnce()) -> Instant {
    let before = rig.outages();
    pause();
    rig.move_some();
    rig.all_away_since(&before);
    pass(LONG);
    resume();
    now()
}

/// Kills a gateway, and starts it again while the members are at another.
pub(crate) fn gateway_killed(rig: &mut Rig) -> Instant {
    let index = rig.any_gateway();
    rig.kill_gateway(index);
    let since = now();
    if rig.random.is_heads() {
        rig.publish_some(20);
    }
    rig.restart_gateway(index);
    since
}

/// Stops a gateway while something is published at another.
pub(crate) fn gateway_stopped(rig: &mut Rig) -> Instant {
    let index = rig.any_gateway();
    rig.pause_gateway(index);
    rig.publish_some(40);
    rig.resume_gateway(index);
    now()
}

/// A link between a gateway and its engine.
pub(crate) trait NetworkLink {
    /// From now on nothing goes either way, and neither end is told.
    fn cut(&self);

    fn mend(&self);
}

/// Cuts the links of one gateway or two.
pub(crate) fn cut(rig: &mut Rig, links: &[impl NetworkLink]) -> Instant {
    let mut chosen = vec![rig.any_gateway(), rig.any_gateway()];
    chosen.dedup();
    let before = rig.outages();
    for &index in &chosen {
        links[index].cut();
    }
    rig.move_some();
    // Either they notice, or they do not.
    let is_noticed = rig.random.is_heads();
    for &index in chosen.iter().filter(|_| is_noticed) {
        rig.away_since(index, before[index]);
    }
    for &index in &chosen {
        links[index].mend();
    }
    now()
}
