//! Remembers for some minutes what BigQuery denied, for all messages of the process, so that Spotify's
//! quota is not spent on rows that can't be loaded.
//!
//! If a look at the table (or creating it) was denied, the service asks again before it reads Spotify.
//! If only a load job can be denied (the right to create jobs, a quota), messages are answered 503
//! until the time is over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::words;
use crate::failure::{Denial, Failure, Obstacle};

/// Above this many denials, expired ones are dropped.
const MAX_KEPT: usize = 1000;

/// What was denied.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Dataset,
    Table(String),
    /// Creating load jobs: the right to do so, or the project's quota.
    Jobs,
}

/// Which call was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// One that can be made before Spotify is read.
    Look,
    /// The load job, which needs the rows.
    Load,
}

#[derive(Debug)]
struct Remembered {
    failure: Arc<Failure>,
    call: Call,
    until: Instant,
    /// The same moment in wall-clock time.
    told_until: SystemTime,
}

/// The denials of this process.
#[derive(Debug)]
pub(super) struct Denials {
    memory: Duration,
    remembered: Mutex<HashMap<Subject, Remembered>>,
}

impl Denials {
    pub(super) fn new(memory: Duration) -> Self {
        Self { memory, remembered: Mutex::default() }
    }

    /// Returns whether BigQuery must be asked before Spotify is read for this table. Fails with a
    /// denial that only another load job could test.
    pub(super) fn check(&self, table: &str) -> Result<bool, Failure> {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let subjects = [Subject::Jobs, Subject::Dataset, Subject::Table(table.to_owned())];
        let mut ask = false;
        for denial in subjects.iter().filter_map(|subject| remembered.get(subject)) {
            match denial.call {
                _ if denial.until <= now => {}
                Call::Look => ask = true,
                Call::Load => return Err(denial.told(now)),
            }
        }
        Ok(ask)
    }

    /// Remembers a failure if it is a denial, and returns it with the time until which it holds.
    pub(super) fn remember(&self, table: &str, call: Call, failure: Failure) -> Failure {
        let memory = match &failure {
            Failure::WarehouseUnavailable { after: Some(_), .. } => self.memory * 2,
            _ => self.memory,
        };
        let Some(subject) = subject(table, call, &failure).filter(|_| !memory.is_zero()) else {
            return failure;
        };
        let now = Instant::now();
        let denial = Remembered {
            failure: Arc::new(failure),
            call,
            until: now + memory,
            told_until: SystemTime::now() + memory,
        };
        let told = denial.told(now);
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= MAX_KEPT {
            remembered.retain(|_, denial| denial.until > now);
        }
        remembered.insert(subject, denial);
        told
    }

    /// Forgets denials that asking has disproved.
    pub(super) fn asked(&self, table: &str) {
        self.forget(table, |denial| denial.call == Call::Look);
    }

    /// Forgets all denials that a load of this table disproves.
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
        Failure::RememberedDenial {
            failure: Arc::clone(&self.failure),
            until: self.told_until,
            after: (self.call == Call::Load).then(|| self.until - now),
        }
    }
}

/// Returns what a failure denies, or `None` if the next try may well succeed.
fn subject(table: &str, call: Call, failure: &Failure) -> Option<Subject> {
    let this_table = || Subject::Table(table.to_owned());
    Some(match failure {
        Failure::ForeignColumns { .. } | Failure::NotATable { .. } => this_table(),
        Failure::DatasetMissing { .. } => Subject::Dataset,
        Failure::LoadRefused { obstacle: Obstacle::Billing, .. } => Subject::Jobs,
        Failure::LoadRefused { .. } => this_table(),
        Failure::WarehouseDenied { detail, denial, .. } => match (call, denial) {
            (Call::Look, Denial::Rights) => this_table(),
            (Call::Look, _) => Subject::Dataset,
            (Call::Load, Denial::Rights) if words::is_about_a_table(detail) => this_table(),
            (Call::Load, _) => Subject::Jobs,
        },
        // `after` is set only for an exhausted quota.
        Failure::WarehouseUnavailable { detail, after: Some(_), .. } => {
            if call == Call::Look || words::is_about_a_table(detail) {
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
            Err(Failure::RememberedDenial { after, .. }) => {
                format!("back for {}", after.unwrap().as_secs())
            }
            Err(other) => panic!("{other}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_denial_concerns_what_was_denied_for_some_minutes() {
        use Call::{Load, Look};
        for (call, failure, a, b) in [
            (Look, foreign(), "asked", "read"),
            (Look, rights("Access Denied: Table p:d.a"), "asked", "read"),
            (Load, foreign(), "back for 300", "read"),
            (Load, rights("Access Denied: Table p:d.a"), "back for 300", "read"),
            (Load, rights("Access Denied: Project p"), "back for 300", "back for 300"),
            (Load, quota("Your project exceeded quota"), "back for 600", "back for 600"),
            (Load, quota("Your table exceeded quota for imports"), "back for 600", "read"),
        ] {
            let denials = Denials::new(MEMORY);
            let told = denials.remember("a", call, failure);
            assert!(matches!(told, Failure::RememberedDenial { .. }), "{told}");
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
        denials.remember("a", Call::Look, foreign());
        denials.asked("b");
        assert_eq!(done(&denials, "a"), "asked");
        denials.asked("a");
        assert_eq!(done(&denials, "a"), "read");

        denials.remember("a", Call::Load, rights("Access Denied: Project p"));
        denials.asked("a");
        assert_eq!(done(&denials, "b"), "back for 300");
        denials.loaded("b");
        assert_eq!(done(&denials, "a"), "read");
        denials.remember("a", Call::Load, rights("Access Denied: Table p:d.a"));
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
            let told = denials.remember("a", Call::Load, failure);
            assert!(!matches!(told, Failure::RememberedDenial { .. }), "{told}");
            assert_eq!(done(&denials, "a"), "read");
        }
        let told = Denials::new(Duration::ZERO).remember("a", Call::Look, foreign());
        assert!(matches!(told, Failure::ForeignColumns { .. }), "no memory");
    }

    #[tokio::test(start_paused = true)]
    async fn denials_are_bounded() {
        let denials = Denials::new(MEMORY);
        for n in 0..MAX_KEPT {
            denials.remember(&n.to_string(), Call::Look, foreign());
        }
        tokio::time::advance(MEMORY).await;
        denials.remember("a", Call::Look, foreign());
        assert_eq!(denials.remembered.lock().unwrap().len(), 1);
    }
}
