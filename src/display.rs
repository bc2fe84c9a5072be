//! Errors that a program may give back from `main`, which prints them with `Debug`.

/// Implements [`Debug`](std::fmt::Debug) of an error as its [`Display`](std::fmt::Display): one line
/// for a person.
macro_rules! debug_as_display {
    ($error:ty) => {
        impl std::fmt::Debug for $error {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }
    };
}

pub(crate) use debug_as_display;
