//! The failures since the last success, and whether they are an outage.

#[derive(Debug, Default)]
pub(super) struct Failures {
    /// The number of failures, without those of calls that were in flight when the breaker opened.
    total: u64,
    /// `total` at the last success.
    total_at_success: u64,
    /// The calls that have failed since the last success.
    calls: FailedCalls,
    /// Whether calls were failed for an outage that has not ended. One more failure confirms it.
    is_outage: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum FailedCalls {
    #[default]
    None,
    One(u64),
    Several,
}

/// The counters from when a call began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Snapshot {
    total: u64,
    is_outage: bool,
}

impl Failures {
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot { total: self.total, is_outage: self.is_outage }
    }

    /// Records which call has failed: one, or `None` for all.
    pub(super) fn add_call(&mut self, failed: Option<u64>) {
        self.calls = match (failed, self.calls) {
            (Some(id), FailedCalls::None) => FailedCalls::One(id),
            (Some(id), FailedCalls::One(only)) if id == only => self.calls,
            _ => FailedCalls::Several,
        };
    }

    /// Counts a failure.
    pub(super) fn count(&mut self) {
        self.total += 1;
    }

    /// Starts from zero, after a success.
    pub(super) fn reset(&mut self) {
        *self = Self { total: self.total, total_at_success: self.total, ..Self::default() };
    }

    pub(super) fn in_a_row(&self) -> u32 {
        u32::try_from(self.total - self.total_at_success).unwrap_or(u32::MAX)
    }

    pub(super) fn are_of_several_calls(&self) -> bool {
        self.calls == FailedCalls::Several
    }

    /// Returns whether at least `attempts` failures, of several calls, have been counted since this call began.
    /// If an outage was known then and has not ended, one failure is enough. Records the outage.
    pub(super) fn detect_outage(&mut self, since: Snapshot, attempts: u32) -> bool {
        let failures = self.total - self.total_at_success.max(since.total);
        let enough = if since.is_outage && self.is_outage { 1 } else { attempts };
        let is_outage = self.are_of_several_calls() && failures >= u64::from(enough);
        self.is_outage |= is_outage;
        is_outage
    }
}
