//! What there is in place of the control thread for operators in a program that was built without work for
//! it.

/// No thread.
#[derive(Debug)]
pub(super) struct AdminThread;

/// No thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct AdminThreadRef;

impl AdminThread {
    /// There will be none.
    pub(super) fn idle() -> Self {
        Self
    }

    /// There is none.
    #[expect(clippy::unused_self, reason = "as that of other builds")]
    pub(super) fn downgrade(&self) -> AdminThreadRef {
        AdminThreadRef
    }
}
