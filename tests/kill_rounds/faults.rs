//! Faults of gateways and of their proxies, which are the same for all engines.

use std::time::Instant;

use crate::proxy::Proxy;
use crate::rig::Rig;
use crate::wait::now;

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

/// Cuts the proxies of one gateway or two.
pub(crate) fn cut(rig: &mut Rig, proxies: &[Proxy]) -> Instant {
    let mut chosen = vec![rig.any_gateway(), rig.any_gateway()];
    chosen.dedup();
    let before = rig.outages();
    for &index in &chosen {
        proxies[index].cut();
    }
    rig.move_some();
    // Either they notice, or they do not.
    let is_noticed = rig.random.is_heads();
    for &index in chosen.iter().filter(|_| is_noticed) {
        rig.away_since(index, before[index]);
    }
    for &index in &chosen {
        proxies[index].mend();
    }
    now()
}
