//! The date, by which signatures expire.

use std::time::SystemTime;

use crate::timer::WallTime;

/// The date.
pub(super) fn wall_now() -> WallTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
