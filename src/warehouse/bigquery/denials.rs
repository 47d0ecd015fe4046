//! What BigQuery denied, remembered for some minutes under what was denied, for all messages of the
//! process: Spotify's quota is not spent on rows that can't be loaded.
//!
//! A denial that a question finds out (a look at the table, creating it) is asked about before Spotify
//! is read. One that only a load job finds out (the right to make jobs, a quota) is not asked about:
//! messages are handed back until its time is over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::words;
use crate::failure::{Denial, Failure, Obstacle};

/// Above this many, denials whose time is over are dropped.
const KEPT: usize = 1000;

/// What was denied.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Dataset,
    Table(String),
    /// Making load jobs, by rights or by the project's quota.
    Jobs,
}

/// How a denial was found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// By a question, which can be asked again before Spotify is read.
    ByAsking,
    /// By a load job, after Spotify was read.
    ByLoading,
}

#[derive(Debug)]
struct Remembered {
    failure: Arc<Failure>,
    found: Found,
    until: Instant,
    /// The same moment on the wall's clock.
    told_until: SystemTime,
}

/// What is remembered.
#[derive(Debug)]
pub(super) struct Denials {
    memory: Duration,
    remembered: Mutex<HashMap<Subject, Remembered>>,
}

impl Denials {
    pub(super) fn new(memory: Duration) -> Self {
        Self { memory, remembered: Mutex::default() }
    }

    /// Returns whether BigQuery must be asked before Spotify is read for this table, or the denial
    /// whose time is not over.
    pub(super) fn check(&self, table: &str) -> Result<bool, Failure> {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let subjects = [Subject::Jobs, Subject::Dataset, Subject::Table(table.to_owned())];
        let mut ask = false;
        for denial in subjects.iter().filter_map(|subject| remembered.get(subject)) {
            match denial.found {
                _ if denial.until <= now => {}
                Found::ByAsking => ask = true,
                Found::ByLoading => return Err(denial.told(now)),
            }
        }
        Ok(ask)
    }

    /// Remembers a failure if it is a denial, and returns it with the time until which it is.
    pub(super) fn remember(&self, table: &str, found: Found, failure: Failure) -> Failure {
        let memory = match &failure {
            Failure::WarehouseUnavailable { after: Some(_), .. } => self.memory * 2,
            _ => self.memory,
        };
        let Some(subject) = subject(table, found, &failure).filter(|_| !memory.is_zero()) else {
            return failure;
        };
        let now = Instant::now();
        let denial = Remembered {
            failure: Arc::new(failure),
            found,
            until: now + memory,
            told_until: SystemTime::now() + memory,
        };
        let told = denial.told(now);
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= KEPT {
            remembered.retain(|_, denial| denial.until > now);
        }
        remembered.insert(subject, denial);
        told
    }

    /// The table may be asked about again like any other.
    pub(super) fn asked(&self, table: &str) {
        self.forget(table, |denial| denial.found == Found::ByAsking);
    }

    /// The table was loaded: whatever stood in the way does no longer.
    pub(super) fn loaded(&self, table: &str) {
        self.forget(table, |_| true);
    }

    fn forget(&self, table: &str, which: impl Fn(&Remembered) -> bool) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.retain(|subject, denial| {
            let concerned = match subject {
                Subject::Table(denied) => denied == table,
                Subject::Dataset | Subject::Jobs => true,
            };
            !(concerned && which(denial))
        });
    }
}

impl Remembered {
    fn told(&self, now: Instant) -> Failure {
        Failure::Denied {
            failure: Arc::clone(&self.failure),
            until: self.told_until,
            after: (self.found == Found::ByLoading).then(|| self.until - now),
        }
    }
}

/// Returns what a failure denies; `None` if it denies nothing that would be denied again.
fn subject(table: &str, found: Found, failure: &Failure) -> Option<Subject> {
    let this_table = || Subject::Table(table.to_owned());
    Some(match failure {
        Failure::ForeignColumns { .. } | Failure::NotATable { .. } => this_table(),
        Failure::DatasetMissing { .. } => Subject::Dataset,
        Failure::LoadRefused { obstacle: Obstacle::Billing, .. } => Subject::Jobs,
        Failure::LoadRefused { .. } => this_table(),
        Failure::WarehouseDenied { detail, denial, .. } => match (found, denial) {
            (Found::ByAsking, Denial::Rights) => this_table(),
            (Found::ByAsking, _) => Subject::Dataset,
            (Found::ByLoading, Denial::Rights) if words::is_about_a_table(detail) => this_table(),
            (Found::ByLoading, _) => Subject::Jobs,
        },
        // Only a quota that is used up is worth another try after a while.
        Failure::WarehouseUnavailable { detail, after: Some(_), .. } => {
            if found == Found::ByAsking || words::is_about_a_table(detail) {
                this_table()
            } else {
                Subject::Jobs
            }
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY: Duration = Duration::from_secs(300);

    fn rights(detail: &str) -> Failure {
        let (what, detail) = ("a load job".to_owned(), detail.to_owned());
        Failure::WarehouseDenied { what, detail, denial: Denial::Rights }
    }

    fn quota(detail: &str) -> Failure {
        let after = Some(Duration::from_secs(600));
        let (what, detail) = ("a load job".to_owned(), detail.to_owned());
        Failure::WarehouseUnavailable { what, detail, after }
    }

    fn foreign() -> Failure {
        Failure::ForeignColumns { table: "a".to_owned(), differences: "x".to_owned() }
    }

    /// What is done with a table: it is read as ever, asked about first, or handed back for so many
    /// seconds.
    fn done(denials: &Denials, table: &str) -> String {
        match denials.check(table) {
            Ok(false) => "read".to_owned(),
            Ok(true) => "asked".to_owned(),
            Err(Failure::Denied { after, .. }) => format!("back for {}", after.unwrap().as_secs()),
            Err(other) => panic!("{other}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_denial_concerns_what_was_denied_for_some_minutes() {
        use Found::{ByAsking, ByLoading};
        for (found, failure, a, b) in [
            (ByAsking, foreign(), "asked", "read"),
            (ByAsking, rights("Access Denied: Table p:d.a"), "asked", "read"),
            (ByLoading, foreign(), "back for 300", "read"),
            (ByLoading, rights("Access Denied: Table p:d.a"), "back for 300", "read"),
            (ByLoading, rights("Access Denied: Project p"), "back for 300", "back for 300"),
            (ByLoading, quota("Your project exceeded quota"), "back for 600", "back for 600"),
            (ByLoading, quota("Your table exceeded quota for imports"), "back for 600", "read"),
        ] {
            let denials = Denials::new(MEMORY);
            let told = denials.remember("a", found, failure);
            assert!(matches!(told, Failure::Denied { .. }), "{told}");
            assert_eq!(
                (done(&denials, "a").as_str(), done(&denials, "b").as_str()),
                (a, b),
                "{told}"
            );
            tokio::time::advance(MEMORY * 2).await;
            assert_eq!((done(&denials, "a"), done(&denials, "b")), ("read".into(), "read".into()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_ends_it() {
        let denials = Denials::new(MEMORY);
        denials.remember("a", Found::ByAsking, foreign());
        denials.asked("b");
        assert_eq!(done(&denials, "a"), "asked");
        denials.asked("a");
        assert_eq!(done(&denials, "a"), "read");

        denials.remember("a", Found::ByLoading, rights("Access Denied: Project p"));
        denials.asked("a");
        assert_eq!(done(&denials, "b"), "back for 300");
        denials.loaded("b");
        assert_eq!(done(&denials, "a"), "read");
        denials.remember("a", Found::ByLoading, rights("Access Denied: Table p:d.a"));
        denials.loaded("b");
        assert_eq!(done(&denials, "a"), "back for 300");
    }

    #[tokio::test]
    async fn what_may_pass_is_not_remembered() {
        let denials = Denials::new(MEMORY);
        let invalid = Failure::InvalidRows { table: "a".to_owned(), detail: String::new() };
        let passing = Failure::WarehouseUnavailable {
            what: String::new(),
            detail: "503".to_owned(),
            after: None,
        };
        for failure in [invalid, passing, Failure::GoogleCredentials(String::new())] {
            let told = denials.remember("a", Found::ByLoading, failure);
            assert!(!matches!(told, Failure::Denied { .. }), "{told}");
            assert_eq!(done(&denials, "a"), "read");
        }
        let told = Denials::new(Duration::ZERO).remember("a", Found::ByAsking, foreign());
        assert!(matches!(told, Failure::ForeignColumns { .. }), "no memory");
    }

    #[tokio::test(start_paused = true)]
    async fn denials_are_bounded() {
        let denials = Denials::new(MEMORY);
        for n in 0..KEPT {
            denials.remember(&n.to_string(), Found::ByAsking, foreign());
        }
        tokio::time::advance(MEMORY).await;
        denials.remember("a", Found::ByAsking, foreign());
        assert_eq!(denials.remembered.lock().unwrap().len(), 1);
    }
}
