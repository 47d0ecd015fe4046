//! What came of a message: the one log line that tells it, and what the server answers by.

use std::fmt;
use std::time::Duration;

use super::Done;
use crate::context::Context;
use crate::envelope::Envelope;
use crate::failure::{Decision, Failure};
use crate::job::{Job, Request};
use crate::names::{ChosenShow, ShowMatch};
use crate::text;
use crate::warehouse::{CompletedLoad, Origin};

/// What came of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The table was replaced.
    Loaded,
    /// The table had been replaced by an earlier delivery.
    AlreadyLoaded,
    /// Its messages were published.
    FannedOut,
    /// It can never succeed, and is a dead letter now.
    DeadLettered,
    /// It comes again, not before `after` where that is known.
    Retry {
        /// When trying again makes sense.
        after: Option<Duration>,
    },
    /// It is handed back: no message of ours, or one for which there is no dead-letter topic.
    Refused(Decision),
}

impl Outcome {
    /// The word for it in log lines and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::AlreadyLoaded => "already_loaded",
            Self::FannedOut => "fanned_out",
            Self::DeadLettered => "dead_lettered",
            Self::Retry { .. } => "retry",
            Self::Refused(_) => "refused",
        }
    }
}

/// The one line of a message. If the work on it is dropped, which the server does when the client has
/// gone, the line says so.
pub(super) struct Line<'a> {
    envelope: &'a Envelope,
    job: Option<Job>,
    context: &'a Context,
    is_written: bool,
}

impl<'a> Line<'a> {
    pub(super) fn new(envelope: &'a Envelope, context: &'a Context) -> Self {
        Self { envelope, job: None, context, is_written: false }
    }

    /// Lets the line name the table that the message asks for.
    pub(super) fn names(&mut self, request: &Request) {
        if let Request::Load(job) = request {
            self.job = Some(job.clone());
        }
    }

    pub(super) fn write(mut self, report: &Report) {
        self.is_written = true;
        report.log(self.envelope, self.job.as_ref(), self.context);
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        // A panic has a line of its own.
        if !self.is_written && !std::thread::panicking() {
            let report =
                Report::failed(Failure::ClientGone { progress: self.context.describe_progress() });
            report.log(self.envelope, self.job.as_ref(), self.context);
        }
    }
}

/// What came of a message, and why.
#[derive(Debug)]
pub struct Report {
    /// What came of it.
    pub outcome: Outcome,
    /// Why it was not done.
    pub failure: Option<Failure>,
    /// Why it could not even become a dead letter.
    undelivered: Option<String>,
    rows: Option<u64>,
    rows_before: Option<u64>,
    about: Option<Origin>,
    messages: Option<u64>,
    job_id: Option<String>,
}

impl Report {
    fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            failure: None,
            undelivered: None,
            rows: None,
            rows_before: None,
            about: None,
            messages: None,
            job_id: None,
        }
    }

    pub(super) fn done(done: Done) -> Self {
        match done {
            Done::Loaded { rows, rows_before, job_id, about } => {
                let (rows, job_id, about) = (Some(rows), Some(job_id), Some(about));
                Self { rows, rows_before, job_id, about, ..Self::new(Outcome::Loaded) }
            }
            Done::AlreadyLoaded(CompletedLoad { job_id, rows, origin, .. }) => Self {
                job_id: Some(job_id),
                rows,
                about: origin,
                ..Self::new(Outcome::AlreadyLoaded)
            },
            Done::FannedOut { messages } => {
                Self { messages: Some(messages), ..Self::new(Outcome::FannedOut) }
            }
        }
    }

    /// A failure that is decided without a dead letter.
    pub(crate) fn failed(failure: Failure) -> Self {
        let outcome = match failure.decision() {
            Decision::Retry { after } => Outcome::Retry { after },
            other => Outcome::Refused(other),
        };
        let job_id = match &failure {
            Failure::DeadlinePassed { job_id, .. } => job_id.clone(),
            Failure::EventNotPublished { job_id, .. } => Some(job_id.clone()),
            _ => None,
        };
        Self { failure: Some(failure), job_id, ..Self::new(outcome) }
    }

    pub(super) fn dead_lettered(failure: Failure) -> Self {
        Self { failure: Some(failure), ..Self::new(Outcome::DeadLettered) }
    }

    pub(super) fn undeliverable(failure: Failure, why: &str) -> Self {
        Self {
            failure: Some(failure),
            undelivered: Some(why.to_owned()),
            ..Self::new(Outcome::Refused(Decision::BadRequest))
        }
    }

    /// Returns how many rows the table had, if it was loaded and has less than half of them now: a
    /// listing that Spotify shortens can look exactly like a healthy one.
    fn shrunk_from(&self) -> Option<u64> {
        self.rows_before.filter(|before| self.rows.is_some_and(|rows| rows < before.div_ceil(2)))
    }

    /// What a person should look at although the table was loaded.
    fn concern(&self) -> Option<Concern> {
        let about = self.about.as_ref()?;
        if let Some(before) = self.shrunk_from() {
            Some(Concern::Shrunk { before })
        } else if let Some(listed) = about.listed {
            Some(Concern::WithinTolerance { listed })
        } else {
            let show =
                about.show.as_ref().filter(|show| show.matched_by == Some(ShowMatch::First))?;
            Some(Concern::FirstShow(show.clone()))
        }
    }

    /// The message in one line. Severity is what an operator must know by: INFO for what is done,
    /// WARNING for what comes again, ERROR for what does not.
    fn log(&self, envelope: &Envelope, job: Option<&Job>, context: &Context) {
        let table = job.map(|job| job.table.as_str());
        let text = self.text(job);
        let concern = self.concern();
        let about = self.about.as_ref();
        let show = about.and_then(|about| about.show.as_ref()).or(context.show.get());
        let concerned = concern.as_ref().map(Concern::reason);
        let advised = concern.as_ref().map(Concern::advice);
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    event = "message",
                    outcome = self.outcome.name(),
                    reason = self.failure.as_ref().map(Failure::reason).or(concerned),
                    table,
                    kind = job.map(|job| job.kind.name()),
                    term = job.map(|job| job.term.text()),
                    message_id = text::truncated(&envelope.message.id, 256),
                    delivery_attempt = envelope.delivery_attempt,
                    show_id = show.map(|show| show.id.as_str()),
                    show = show.and_then(|show| show.name.as_deref()),
                    show_match = show.and_then(|show| show.matched_by).map(ShowMatch::name),
                    read_at = about.map(|about| text::rfc3339(about.read_at)),
                    shared_reading = about.and_then(|about| about.shared),
                    rows = self.rows,
                    rows_before = self.rows_before,
                    listed = about.and_then(|about| about.listed),
                    messages = self.messages,
                    skipped_nulls = context.meter.nulls.get(),
                    skipped_doubles = context.meter.doubles.get(),
                    malformed_fields = context.meter.malformed.get(),
                    undated = context.meter.undated.get(),
                    pages = context.meter.pages.get(),
                    spotify_calls = context.meter.calls.get(),
                    throttled_ms = context.meter.throttled_ms.get(),
                    extraction_ms = context.meter.extraction_ms.get(),
                    load_ms = context.meter.load_ms.get(),
                    duration_ms = context.deadline.age_ms(),
                    job_id = self.job_id.as_deref(),
                    advice = self.failure.as_ref().map(Failure::advice).or(advised),
                    "{text}"
                )
            };
        }
        match self.outcome {
            Outcome::Loaded if concern.is_some() => line!(warn),
            Outcome::Loaded | Outcome::AlreadyLoaded | Outcome::FannedOut => line!(info),
            Outcome::Retry { .. } => line!(warn),
            Outcome::DeadLettered | Outcome::Refused(_) => line!(error),
        }
    }

    /// A request that never became a message, in one line.
    pub(crate) fn log_refused_request(&self) {
        tracing::warn!(
            event = "message",
            outcome = self.outcome.name(),
            reason = self.failure.as_ref().map(Failure::reason),
            advice = self.failure.as_ref().map(Failure::advice),
            "{}",
            self.text(None)
        );
    }

    fn text(&self, job: Option<&Job>) -> String {
        let table = job.map_or_else(
            || "the message".to_owned(),
            |job| format!("{} (term {:?})", job.table, job.term.text()),
        );
        let why = self.failure.as_ref().map(ToString::to_string).unwrap_or_default();
        match (self.outcome, &self.undelivered) {
            (Outcome::Loaded, _) => {
                let rows = self.rows.unwrap_or_default();
                let loaded = format!(
                    "{table} was replaced by {rows} row{}",
                    if rows == 1 { "" } else { "s" }
                );
                match self.concern() {
                    Some(Concern::Shrunk { before }) => {
                        format!(
                            "{table} shrank from {before} to {rows} rows: if Spotify did not remove that much, docs/restore.md says how to compare and bring rows back"
                        )
                    }
                    Some(concern) => format!("{loaded}, but {concern}"),
                    None => loaded,
                }
            }
            (Outcome::AlreadyLoaded, _) => {
                format!("{table} had been replaced by an earlier delivery of this message")
            }
            (Outcome::FannedOut, _) => {
                format!("published as {} messages", self.messages.unwrap_or_default())
            }
            (Outcome::DeadLettered, _) => format!("{table} is now a dead letter: {why}"),
            (Outcome::Retry { .. }, _) => format!("{table} will be tried again: {why}"),
            (Outcome::Refused(_), Some(undelivered)) => {
                format!("{table} can never succeed and is no dead letter ({undelivered}): {why}")
            }
            (Outcome::Refused(_), None) => format!("refused: {why}"),
        }
    }
}

/// Why a person should look at a table although it was loaded.
enum Concern {
    /// It has less than half of the rows that it had. A listing that Spotify shortens in every way at once
    /// looks exactly like a healthy one.
    Shrunk { before: u64 },
    /// Some of the listed items were not shown.
    WithinTolerance { listed: u64 },
    /// No show has the term as its name, and the first result was taken.
    FirstShow(ChosenShow),
}

impl Concern {
    fn reason(&self) -> &'static str {
        match self {
            Self::Shrunk { .. } => "table_shrank",
            Self::WithinTolerance { .. } => "within_tolerance",
            Self::FirstShow(_) => "first_show",
        }
    }

    fn advice(&self) -> &'static str {
        match self {
            Self::Shrunk { .. } => {
                "compare the table with its former rows, and bring them back if Spotify still has them: docs/restore.md"
            }
            Self::WithinTolerance { .. } => {
                "nothing, if the missing items are in the table after a later load; else compare with Spotify"
            }
            Self::FirstShow(_) => {
                "check that this is the show you want; to fix the choice, publish the message with its show_id"
            }
        }
    }
}

impl fmt::Display for Concern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shrunk { before } => write!(f, "it had {before} rows before"),
            Self::WithinTolerance { listed } => {
                write!(f, "Spotify lists {listed} items and did not show all of them")
            }
            Self::FirstShow(show) => {
                let name = show.name.as_deref().unwrap_or_default();
                write!(
                    f,
                    "no show is named like the term: these are the episodes of {name:?} ({}), the first result",
                    show.id
                )
            }
        }
    }
}
