//! What the process does for each signal, in each stage of its life. It knows no signal handler, no server
//! and no clock.

use crate::os::Request;

/// The stages after the start, in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    #[default]
    Serving,
    /// A new process was started and is to take over.
    HandingOver,
    /// The clients are told to go, or will be after the grace.
    Draining,
}

/// What happens to the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Signal(Request),
    /// The new process serves.
    NewReady,
    /// The new process is to go on where the channels of this one are.
    NewAsksForSnapshot,
    /// It has ended, or its time is over; the text tells which.
    NewFailed(String),
}

/// What the process does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Logs the counters.
    Report,
    /// Reads files again.
    Reload,
    /// Says in the log why nothing is done.
    Warn(String),
    /// Starts the new process.
    StartNew,
    /// Has channels stand still, and writes down for the new process where they are.
    Snapshot,
    /// Kills it, and has channels go on.
    KillNew,
    /// Tells that this process stays, and why.
    Stay(String),
    /// Leaves the accept queues to the new process, and drains.
    Leave,
    /// Drains.
    Drain { is_paced: bool },
    /// Ends at once.
    End { exit_code: u8 },
}

/// The process, as far as signals go.
#[derive(Debug, Default)]
pub(super) struct Lifecycle {
    stage: Stage,
}

impl Lifecycle {
    /// What follows from `event`. `is_ready` tells whether the server itself is not draining, as it may
    /// for others than signals.
    pub(super) fn on(&mut self, event: Event, is_ready: bool) -> Vec<Action> {
        match event {
            Event::Signal(request) => self.on_signal(request, is_ready),
            Event::NewReady => match self.stage {
                Stage::HandingOver => {
                    self.stage = Stage::Draining;
                    vec![Action::Leave]
                }
                Stage::Serving | Stage::Draining => Vec::new(),
            },
            Event::NewAsksForSnapshot => match self.stage {
                Stage::HandingOver => vec![Action::Snapshot],
                Stage::Serving | Stage::Draining => Vec::new(),
            },
            Event::NewFailed(why) => match self.stage {
                Stage::HandingOver => {
                    self.stage = Stage::Serving;
                    vec![Action::KillNew, Action::Stay(why)]
                }
                Stage::Serving | Stage::Draining => Vec::new(),
            },
        }
    }

    fn on_signal(&mut self, request: Request, is_ready: bool) -> Vec<Action> {
        match (request, self.stage) {
            (Request::Report, _) => vec![Action::Report],
            (Request::Ignore { name }, _) => {
                vec![Action::Warn(format!("{name} is ignored: it has no meaning here"))]
            }
            (Request::Reload, Stage::Serving | Stage::HandingOver) => vec![Action::Reload],
            (Request::Reload, Stage::Draining) => {
                vec![Action::Warn("SIGHUP is ignored: the gateway is shutting down".to_owned())]
            }
            (Request::HandOver, Stage::Serving) if is_ready => {
                self.stage = Stage::HandingOver;
                vec![Action::StartNew]
            }
            (Request::HandOver, Stage::Serving | Stage::Draining) => {
                vec![Action::Warn("SIGUSR2 is ignored: the gateway is shutting down".to_owned())]
            }
            (Request::HandOver, Stage::HandingOver) => {
                let text = "SIGUSR2 is ignored: a new process was started and is not ready yet";
                vec![Action::Warn(text.to_owned())]
            }
            (Request::Stop { is_paced, .. }, Stage::Serving) => {
                self.stage = Stage::Draining;
                vec![Action::Drain { is_paced }]
            }
            (Request::Stop { is_paced, .. }, Stage::HandingOver) => {
                self.stage = Stage::Draining;
                // It would serve on although the gateway was told to stop.
                vec![Action::KillNew, Action::Drain { is_paced }]
            }
            (Request::Stop { exit_code, .. }, Stage::Draining) => vec![Action::End { exit_code }],
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STOP: Request = Request::Stop { is_paced: true, exit_code: 143 };

    fn signal(request: Request) -> Event {
        Event::Signal(request)
    }

    fn after(events: &[Event]) -> Lifecycle {
        let mut lifecycle = Lifecycle::default();
        for event in events {
            let _ = lifecycle.on(event.clone(), true);
        }
        lifecycle
    }

    fn is_warning(actions: &[Action], begins: &str) -> bool {
        matches!(actions, [Action::Warn(text)] if text.starts_with(begins))
    }

    #[test]
    fn a_stop_drains_and_a_second_one_ends() {
        let mut lifecycle = Lifecycle::default();
        assert_eq!(lifecycle.on(signal(STOP), true), [Action::Drain { is_paced: true }]);
        assert!(is_warning(&lifecycle.on(signal(Request::HandOver), false), "SIGUSR2 is ignored"));
        assert!(is_warning(&lifecycle.on(signal(Request::Reload), false), "SIGHUP is ignored"));
        assert_eq!(lifecycle.on(signal(Request::Report), false), [Action::Report]);
        assert_eq!(lifecycle.on(signal(STOP), false), [Action::End { exit_code: 143 }]);
    }

    #[test]
    fn a_new_process_that_is_ready_takes_over() {
        let mut lifecycle = Lifecycle::default();
        assert_eq!(lifecycle.on(signal(Request::HandOver), true), [Action::StartNew]);
        assert!(is_warning(&lifecycle.on(signal(Request::HandOver), true), "SIGUSR2 is ignored"));
        assert_eq!(lifecycle.on(signal(Request::Reload), true), [Action::Reload]);
        assert_eq!(lifecycle.on(Event::NewReady, true), [Action::Leave]);
        assert!(is_warning(&lifecycle.on(signal(Request::HandOver), false), "SIGUSR2 is ignored"));
        assert_eq!(lifecycle.on(signal(STOP), false), [Action::End { exit_code: 143 }]);
    }

    #[test]
    fn a_new_process_that_fails_changes_nothing() {
        let mut lifecycle = after(&[signal(Request::HandOver)]);
        let failed = Event::NewFailed("late".to_owned());
        let stays = [Action::KillNew, Action::Stay("late".to_owned())];
        assert_eq!(lifecycle.on(failed, true), stays);
        assert_eq!(lifecycle.on(signal(Request::HandOver), true), [Action::StartNew], "once more");
    }

    #[test]
    fn a_stop_before_the_new_process_is_ready_ends_both() {
        let mut lifecycle = after(&[signal(Request::HandOver)]);
        let drains = [Action::KillNew, Action::Drain { is_paced: true }];
        assert_eq!(lifecycle.on(signal(STOP), true), drains);
        assert_eq!(lifecycle.on(Event::NewReady, false), [], "too late");
    }

    #[test]
    fn a_server_that_drains_for_others_starts_no_new_process() {
        let mut lifecycle = Lifecycle::default();
        assert!(is_warning(&lifecycle.on(signal(Request::HandOver), false), "SIGUSR2 is ignored"));
        assert_eq!(lifecycle.on(signal(STOP), false), [Action::Drain { is_paced: true }]);
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(signal(STOP)),
            Just(signal(Request::HandOver)),
            Just(signal(Request::Reload)),
            Just(signal(Request::Report)),
            Just(signal(Request::Ignore { name: "SIGIO" })),
            Just(Event::NewReady),
            Just(Event::NewAsksForSnapshot),
            Just(Event::NewFailed("late".to_owned())),
        ]
    }

    proptest! {
        /// There is at most one new process, it is never left behind, and the process drains once.
        #[test]
        fn no_order_of_events_starts_two_processes_or_loses_one(
            events in prop::collection::vec(event(), 0..30),
        ) {
            let mut lifecycle = Lifecycle::default();
            let (mut new, mut drains) = (0, 0);
            for event in events {
                for action in lifecycle.on(event, true) {
                    match action {
                        Action::StartNew => new += 1,
                        Action::KillNew => new -= 1,
                        Action::Leave => {
                            prop_assert_eq!(new, 1);
                            drains += 1;
                        }
                        Action::Drain { .. } => {
                            prop_assert_eq!(new, 0);
                            drains += 1;
                        }
                        Action::End { .. } => prop_assert_eq!(drains, 1),
                        Action::Snapshot => prop_assert_eq!(new, 1),
                        Action::Report | Action::Reload | Action::Warn(_) | Action::Stay(_) => {}
                    }
                }
                prop_assert!((0..=1).contains(&new) && drains <= 1);
            }
        }
    }
}
