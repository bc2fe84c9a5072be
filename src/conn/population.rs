//! How many connections are in which part of their lives.

/// Counts of one loop's connections.
#[derive(Debug, Default)]
pub(super) struct Population {
    open: usize,
    refused: usize,
    is_draining: bool,
}

impl Population {
    /// A connection is open from now on.
    pub(super) fn opened(&mut self) {
        self.open += 1;
    }

    /// A connection no longer is.
    pub(super) fn closed(&mut self) {
        self.open -= 1;
    }

    /// Open connections.
    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// A connection is there only to be told 503.
    pub(super) fn refused_one(&mut self) {
        self.refused += 1;
    }

    /// Such a connection is no more.
    pub(super) fn released_refused(&mut self) {
        self.refused -= 1;
    }

    /// Connections that are there only to be told 503.
    pub(super) fn refused(&self) -> usize {
        self.refused
    }

    /// From now on every request is answered 503.
    pub(super) fn start_draining(&mut self) {
        self.is_draining = true;
    }

    /// Whether every request is answered 503.
    pub(super) fn is_draining(&self) -> bool {
        self.is_draining
    }
}
