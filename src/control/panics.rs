//! What a panic on a control thread said and where, for the one line that the log gets.
//!
//! Only a panic hook knows the place, and hooks belong to the program: one that hands its panics to
//! [`keep`] gets the place into that line, and prints nothing itself.

use std::cell::RefCell;
use std::panic::PanicHookInfo;
use std::thread;

use super::role::ControlRole;

thread_local! {
    static KEPT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps what a panic hook was told; whether it was called on the control thread.
pub fn keep(panic: &PanicHookInfo<'_>) -> bool {
    let is_control =
        ControlRole::ALL.iter().any(|role| thread::current().name() == Some(role.name()));
    if is_control {
        let place = panic.location().map(|place| format!(" at {place}")).unwrap_or_default();
        let text = panic.payload_as_str().unwrap_or("without a text");
        KEPT.set(Some(format!("panicked{place}: {text}")));
    }
    is_control
}

/// What the last panic said.
pub(super) fn take_text() -> String {
    KEPT.take().unwrap_or_else(|| "panicked".to_owned())
}
