//! The log line of a message: exactly one for each delivery. A panic has its own line instead.

use super::Outcome;
use crate::context::Context;
use crate::envelope::Envelope;
use crate::failure::Failure;
use crate::job::Job;
use crate::names::{ChosenShow, ShowMatch};
use crate::sync;
use crate::text;

/// The longest message ID in a log line. Pub/Sub's IDs are shorter; other senders' may not be.
const MAX_MESSAGE_ID_BYTES: usize = 256;

/// Writes the line of a message. If it is dropped before that, as it is when the client closes the
/// connection, it writes a line that says so.
pub(super) struct LogLine<'a> {
    envelope: &'a Envelope,
    job: Option<&'a Job>,
    context: &'a Context,
    is_written: bool,
}

impl<'a> LogLine<'a> {
    /// `job` is `None` for a fan-out or an invalid message.
    pub(super) fn new(envelope: &'a Envelope, job: Option<&'a Job>, context: &'a Context) -> Self {
        Self { envelope, job, context, is_written: false }
    }

    pub(super) fn write(mut self, outcome: &Outcome) {
        self.is_written = true;
        self.log(outcome);
    }

    /// The severity follows what an operator must notice: INFO for success, WARNING for what is retried
    /// and for a load that someone should check, ERROR for what is not retried.
    fn log(&self, outcome: &Outcome) {
        let Self { envelope, job, context, .. } = self;
        let meter = &context.meter;
        let (failure, origin) = (outcome.failure(), outcome.origin());
        let warning = LoadWarning::of(outcome);
        let text = describe(outcome, *job, warning.as_ref());
        let known_show = sync::lock(&context.show).clone();
        let show = origin.and_then(|origin| origin.show.as_ref()).or(known_show.as_ref());
        let advice = match (failure, &warning) {
            (Some(failure), _) => Some(failure.advice()),
            (None, Some(warning)) => Some(warning.advice().to_owned()),
            (None, None) => None,
        };
        let rows_before = match outcome {
            Outcome::Loaded { rows_before, .. } => *rows_before,
            _ => None,
        };
        let messages = match outcome {
            Outcome::FannedOut { messages } => Some(*messages),
            _ => None,
        };
        // Tracing's levels are constants, so a macro repeats the fields for each.
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    event = "message",
                    outcome = outcome.name(),
                    reason =
                        failure.map(Failure::reason).or(warning.as_ref().map(LoadWarning::reason)),
                    table = job.map(|job| job.table.as_str()),
                    kind = job.map(|job| job.kind.name()),
                    term = job.map(|job| job.term.text()),
                    message_id = text::truncated(&envelope.message.id, MAX_MESSAGE_ID_BYTES),
                    delivery_attempt = envelope.delivery_attempt,
                    show_id = show.map(|show| show.id.as_str()),
                    show = show.and_then(|show| show.name.as_deref()),
                    show_match = show.and_then(|show| show.matched_by).map(ShowMatch::name),
                    read_at = origin.map(|origin| text::rfc3339(origin.read_at)),
                    shared_reading = origin.and_then(|origin| origin.shared),
                    rows = outcome.rows(),
                    rows_before,
                    listed = origin.and_then(|origin| origin.listed),
                    messages,
                    skipped_nulls = meter.nulls.get(),
                    skipped_doubles = meter.duplicates.get(),
                    malformed_fields = meter.malformed.get(),
                    undated = meter.undated.get(),
                    pages = meter.pages.get(),
                    spotify_calls = meter.calls.get(),
                    throttled_ms = meter.throttled_ms.get(),
                    extraction_ms = meter.extraction_ms.get(),
                    load_ms = meter.load_ms.get(),
                    duration_ms = context.deadline.age_ms(),
                    job_id = outcome.job_id(),
                    advice,
                    "{text}"
                )
            };
        }
        match outcome {
            Outcome::Loaded { .. } if warning.is_some() => line!(warn),
            Outcome::Loaded { .. } | Outcome::AlreadyLoaded { .. } | Outcome::FannedOut { .. } => {
                line!(info)
            }
            Outcome::Retry(_) => line!(warn),
            Outcome::DeadLettered(_) | Outcome::Refused { .. } => line!(error),
        }
    }
}

impl Drop for LogLine<'_> {
    fn drop(&mut self) {
        // A panic has a line of its own.
        if !self.is_written && !std::thread::panicking() {
            let progress = self.context.describe_progress();
            self.log(&Outcome::failed(Failure::ClientGone { progress }));
        }
    }
}

/// Writes the line of a request that contains no message.
pub(crate) fn log_refused_request(outcome: &Outcome) {
    tracing::warn!(
        event = "message",
        outcome = outcome.name(),
        reason = outcome.failure().map(Failure::reason),
        advice = outcome.failure().map(Failure::advice),
        "{}",
        describe(outcome, None, None)
    );
}

fn describe(outcome: &Outcome, job: Option<&Job>, warning: Option<&LoadWarning>) -> String {
    let table = job.map_or_else(
        || "the message".to_owned(),
        |job| format!("{} (term {:?})", job.table, job.term.text()),
    );
    match outcome {
        Outcome::Loaded { rows, .. } => {
            let s = if *rows == 1 { "" } else { "s" };
            let loaded = format!("{table} was replaced by {rows} row{s}");
            match warning {
                None => loaded,
                Some(LoadWarning::Shrunk { before }) => {
                    format!(
                        "{table} shrank from {before} to {rows} rows: if Spotify did not remove that many, restore them as docs/restore.md describes"
                    )
                }
                Some(LoadWarning::WithinTolerance { listed }) => {
                    format!(
                        "{loaded}, but Spotify did not show all of the {listed} items that it lists"
                    )
                }
                Some(LoadWarning::FirstShow(ChosenShow { id, name, .. })) => {
                    let name = name.as_deref().unwrap_or_default();
                    format!(
                        "{loaded}, but no show has the term as its name: these are the episodes of the first result, {name:?} ({id})"
                    )
                }
            }
        }
        Outcome::AlreadyLoaded { .. } => {
            format!("{table} was already replaced by an earlier delivery of this message")
        }
        Outcome::FannedOut { messages } => {
            format!("published as {messages} messages, one for each table and term")
        }
        Outcome::DeadLettered(why) => {
            format!("{table} failed permanently and was dead-lettered: {why}")
        }
        Outcome::Retry(why) => format!("{table} will be retried: {why}"),
        Outcome::Refused { failure: why, undelivered: Some(undelivered) } => {
            format!(
                "{table} failed permanently and could not be dead-lettered ({undelivered}): {why}"
            )
        }
        Outcome::Refused { failure: why, undelivered: None } => format!("refused: {why}"),
    }
}

/// Why someone should check a table although it was loaded.
enum LoadWarning {
    /// It has less than half of the rows that it had. A listing that Spotify shortens in every way at once
    /// looks exactly like a healthy one.
    Shrunk { before: u64 },
    /// Some of the listed items were not shown.
    WithinTolerance { listed: u64 },
    /// No show has the term as its name, and the first result was taken.
    FirstShow(ChosenShow),
}

impl LoadWarning {
    fn of(outcome: &Outcome) -> Option<Self> {
        if let Outcome::Loaded { rows, rows_before: Some(before), .. } = outcome
            && *rows < before.div_ceil(2)
        {
            return Some(Self::Shrunk { before: *before });
        }
        let origin = outcome.origin()?;
        if let Some(listed) = origin.listed {
            return Some(Self::WithinTolerance { listed });
        }
        let show = origin.show.as_ref().filter(|show| show.matched_by == Some(ShowMatch::First))?;
        Some(Self::FirstShow(show.clone()))
    }

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
                "compare the table with its previous rows, and restore those that Spotify still has: docs/restore.md"
            }
            Self::WithinTolerance { .. } => {
                "no action is needed if a later load contains the missing items; otherwise, compare the table with Spotify"
            }
            Self::FirstShow(_) => {
                "check that this is the show you want; if not, publish the message with the show_id of the right one"
            }
        }
    }
}
