//! The date, by which signatures expire.

use crate::os::SystemClock;
use crate::timer::{Clock as _, WallTime};

/// The date.
pub(super) fn wall_now() -> WallTime {
    SystemClock::start().wall_now()
}
