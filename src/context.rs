//! The state that all steps of one message share: its deadline, its cancellation, its counters, and
//! the step that it has reached.

mod deadline;
mod meter;

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use crate::names::ChosenShow;
use crate::{sync, text};
pub use deadline::{Deadline, max_wait};
pub use meter::Meter;

/// The work on one message.
#[derive(Debug)]
pub struct Context {
    /// When the message must be answered.
    pub deadline: Deadline,
    /// Set once the message is answered, or its client has disconnected: no new load job may be inserted.
    pub(crate) cancelled: CancellationToken,
    /// For the log line.
    pub(crate) meter: Meter,
    /// The show whose episodes the message asks for, once it is known. For the log line.
    pub(crate) show: Mutex<Option<ChosenShow>>,
    pub(crate) progress: Progress,
}

impl Context {
    /// Returns the context of a message received now, which must be answered within `time`.
    pub fn new(time: Duration) -> Self {
        Self {
            deadline: Deadline::new(time),
            cancelled: CancellationToken::new(),
            meter: Meter::default(),
            show: Mutex::default(),
            progress: Progress::default(),
        }
    }

    /// Describes how far the message has come, for errors.
    pub(crate) fn describe_progress(&self) -> String {
        let Position { stage, job, read, listed } = self.progress.lock().clone();
        if let Some(FollowedJob { id, state, since }) = job {
            return format!(
                "the load job {id} has been {state} since {}; the next delivery waits for it",
                text::rfc3339(since)
            );
        }
        let (pages, calls) = (self.meter.pages.get(), self.meter.calls.get());
        match (stage, listed) {
            (Stage::Waiting, _) => "it was waiting for other messages".to_owned(),
            (Stage::LookingUp, _) => "its earlier loads were being looked up".to_owned(),
            (Stage::Reading, 0) if calls == 0 => "no call to Spotify was made".to_owned(),
            (Stage::Reading, 0) => format!("{pages} pages were read in {calls} calls"),
            (Stage::Reading, listed) => {
                format!("{read} of {listed} items were read in {calls} calls")
            }
            (Stage::Loading, _) => {
                "Spotify was read; BigQuery had not yet accepted the load job".to_owned()
            }
            (Stage::PublishingEvent, _) => {
                "the table is loaded; its event was not yet published".to_owned()
            }
            (Stage::FanningOut, _) => "its messages were being published".to_owned(),
            (Stage::DeadLettering, _) => "its dead letter was being published".to_owned(),
        }
    }
}

/// How far the work on a message has come.
#[derive(Debug, Default)]
pub(crate) struct Progress(Mutex<Position>);

#[derive(Clone, Debug, Default)]
struct Position {
    stage: Stage,
    job: Option<FollowedJob>,
    /// Items of the current listing: those that were read, and those that it says it has.
    read: u64,
    listed: u64,
}

/// What a message is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Waiting for its table, or for a slot.
    #[default]
    Waiting,
    /// Looking up its earlier loads.
    LookingUp,
    /// Reading Spotify.
    Reading,
    Loading,
    PublishingEvent,
    FanningOut,
    DeadLettering,
}

/// A load job whose end a message waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FollowedJob {
    pub(crate) id: String,
    /// As BigQuery spells it.
    pub(crate) state: String,
    /// When the state began.
    pub(crate) since: SystemTime,
}

impl Progress {
    /// Records what the message is doing now.
    pub(crate) fn enter(&self, stage: Stage) {
        self.lock().stage = stage;
    }

    /// Records the load job whose end the message waits for, if any.
    pub(crate) fn follow(&self, job: Option<FollowedJob>) {
        self.lock().job = job;
    }

    /// Returns the ID of the load job whose end the message waits for.
    pub(crate) fn followed(&self) -> Option<String> {
        self.lock().job.as_ref().map(|job| job.id.clone())
    }

    /// Records how many items of the current listing were read, and how many it says it has.
    pub(crate) fn set_items(&self, (read, listed): (u64, u64)) {
        let mut position = self.lock();
        (position.read, position.listed) = (read, listed);
    }

    fn lock(&self) -> MutexGuard<'_, Position> {
        sync::lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_progress_states_facts() {
        let context = Context::new(Duration::ZERO);
        assert!(context.describe_progress().contains("waiting for other messages"));
        context.progress.enter(Stage::Reading);
        assert_eq!(context.describe_progress(), "no call to Spotify was made");
        context.meter.calls.add(2);
        assert_eq!(context.describe_progress(), "0 pages were read in 2 calls");
        let since = SystemTime::UNIX_EPOCH + Duration::from_millis(1_764_000_000_123);
        let job = FollowedJob { id: "j".to_owned(), state: "PENDING".to_owned(), since };
        context.progress.follow(Some(job));
        assert_eq!(
            context.describe_progress(),
            "the load job j has been PENDING since 2025-11-24T16:00:00Z; the next delivery waits for it"
        );
        context.progress.follow(None);
        assert_eq!(context.describe_progress(), "0 pages were read in 2 calls");
    }
}
