//! Remembers for some minutes what BigQuery denied, for all messages of the process, so that the service
//! does not spend Spotify's quota on rows that it can't load.
//!
//! If BigQuery denied checking or creating a table, the service tries that again before it reads Spotify.
//! If BigQuery denied a load job (no right to create jobs, no quota left), only another load job could
//! find out more, so messages are answered 503 until the denial expires.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::error_text;
use crate::failure::{Failure, Obstacle};
use crate::sync::ExpiringMap;

/// How long to wait after `quotaExceeded`: ten minutes or more
/// (<https://cloud.google.com/bigquery/docs/error-messages>).
pub(super) const QUOTA_PAUSE: Duration = Duration::from_secs(600);

/// What a denial applies to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Scope {
    Dataset,
    Table(String),
    /// All load jobs: the right to create them, or the project's quota.
    LoadJobs,
}

/// The call that was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// Checking or creating the table, which needs no rows.
    TableCheck,
    LoadJob,
}

#[derive(Clone, Debug)]
struct Denied {
    failure: Arc<Failure>,
    call: Call,
    /// When the denial expires, by the wall clock, for the log.
    until: SystemTime,
}

/// The denials of this process.
#[derive(Debug)]
pub(in crate::warehouse) struct Denials {
    ttl: Duration,
    by_scope: ExpiringMap<Scope, Denied>,
}

impl Denials {
    pub(super) fn new(ttl: Duration) -> Self {
        Self { ttl, by_scope: ExpiringMap::default() }
    }

    /// Returns whether the table must be checked before Spotify is read.
    pub(in crate::warehouse) fn must_check_first(&self, table: &str) -> bool {
        self.find(table, Call::TableCheck).is_some()
    }

    /// Fails if a load job into this table was denied, until that denial expires.
    pub(in crate::warehouse) fn fail_if_denied(&self, table: &str) -> Result<(), Failure> {
        self.find(table, Call::LoadJob).map_or(Ok(()), Err)
    }

    fn find(&self, table: &str, call: Call) -> Option<Failure> {
        [Scope::LoadJobs, Scope::Dataset, Scope::Table(table.to_owned())]
            .iter()
            .filter_map(|scope| self.by_scope.get(scope))
            .find(|(denied, _)| denied.call == call)
            .map(|(denied, remaining)| denied.to_failure(remaining))
    }

    /// Remembers a failure if it is a denial, and adds to the failure when the denial expires.
    pub(super) fn remember(&self, table: &str, call: Call, failure: Failure) -> Failure {
        let Some(scope) = scope(table, call, &failure) else { return failure };
        let ttl = match &failure {
            // An exceeded quota takes longer to recover.
            Failure::WarehouseUnavailable { .. } => self.ttl * 2,
            _ => self.ttl,
        };
        if ttl.is_zero() {
            return failure;
        }
        let until = SystemTime::now() + ttl;
        let denied = Denied { failure: Arc::new(failure), call, until };
        self.by_scope.insert(scope, denied.clone(), ttl);
        denied.to_failure(ttl)
    }

    /// Forgets the denials that a successful call about this table disproves: a load disproves all of them.
    pub(super) fn succeeded(&self, table: &str, call: Call) {
        self.by_scope.retain(|scope, denied| {
            let applies = !matches!(scope, Scope::Table(name) if name != table);
            let is_disproved = call == Call::LoadJob || denied.call == Call::TableCheck;
            !(applies && is_disproved)
        });
    }
}

impl Denied {
    fn to_failure(&self, remaining: Duration) -> Failure {
        Failure::RememberedDenial {
            failure: Arc::clone(&self.failure),
            until: self.until,
            after: (self.call == Call::LoadJob).then_some(remaining),
        }
    }
}

/// Returns what a denial applies to, or `None` if the failure is not a denial.
fn scope(table: &str, call: Call, failure: &Failure) -> Option<Scope> {
    let this_table = || Scope::Table(table.to_owned());
    Some(match failure {
        Failure::ForeignColumns { .. } | Failure::NotATable { .. } => this_table(),
        Failure::DatasetMissing { .. } => Scope::Dataset,
        Failure::LoadRefused { obstacle: Obstacle::Billing, .. } => Scope::LoadJobs,
        Failure::LoadRefused { .. } => this_table(),
        Failure::WarehouseDenied { detail, obstacle, .. } => match (call, obstacle) {
            (Call::TableCheck, Obstacle::Rights) => this_table(),
            (Call::TableCheck, _) => Scope::Dataset,
            (Call::LoadJob, Obstacle::Rights) if error_text::is_about_one_table(detail) => {
                this_table()
            }
            (Call::LoadJob, _) => Scope::LoadJobs,
        },
        // Only an exceeded quota sets `after`.
        Failure::WarehouseUnavailable { detail, after: Some(_), .. } => match call {
            Call::LoadJob if !error_text::is_about_one_table(detail) => Scope::LoadJobs,
            _ => this_table(),
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::CLEANUP_THRESHOLD;

    const TTL: Duration = Duration::from_secs(300);

    fn rights(detail: &str) -> Failure {
        let (what, detail) = ("a load job".to_owned(), detail.to_owned());
        Failure::WarehouseDenied { what, detail, obstacle: Obstacle::Rights }
    }

    fn quota(detail: &str) -> Failure {
        let (what, detail) = ("a load job".to_owned(), detail.to_owned());
        Failure::WarehouseUnavailable { what, detail, after: Some(QUOTA_PAUSE) }
    }

    fn foreign() -> Failure {
        Failure::ForeignColumns { table: "a".to_owned(), differences: "x".to_owned() }
    }

    /// Returns what happens to a message for the table.
    fn reaction(denials: &Denials, table: &str) -> String {
        match denials.fail_if_denied(table) {
            Ok(()) if denials.must_check_first(table) => "check first".to_owned(),
            Ok(()) => "read Spotify".to_owned(),
            Err(Failure::RememberedDenial { after, .. }) => {
                format!("503 for {} s", after.unwrap().as_secs())
            }
            Err(other) => panic!("{other}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_denial_holds_for_its_scope_until_it_expires() {
        use Call::{LoadJob, TableCheck};
        for (call, failure, a, b) in [
            (TableCheck, foreign(), "check first", "read Spotify"),
            (TableCheck, rights("Access Denied: Table p:d.a"), "check first", "read Spotify"),
            (LoadJob, foreign(), "503 for 300 s", "read Spotify"),
            (LoadJob, rights("Access Denied: Table p:d.a"), "503 for 300 s", "read Spotify"),
            (LoadJob, rights("Access Denied: Project p"), "503 for 300 s", "503 for 300 s"),
            (LoadJob, quota("Your project exceeded quota"), "503 for 600 s", "503 for 600 s"),
            (
                LoadJob,
                quota("Your table exceeded quota for imports"),
                "503 for 600 s",
                "read Spotify",
            ),
        ] {
            let denials = Denials::new(TTL);
            let failure = denials.remember("a", call, failure);
            assert!(matches!(failure, Failure::RememberedDenial { .. }), "{failure}");
            assert_eq!((reaction(&denials, "a"), reaction(&denials, "b")), (a.into(), b.into()));
            tokio::time::advance(TTL * 2).await;
            for table in ["a", "b"] {
                assert_eq!(reaction(&denials, table), "read Spotify", "{failure}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_ends_the_denials_that_it_disproves() {
        let denials = Denials::new(TTL);
        denials.remember("a", Call::TableCheck, foreign());
        denials.succeeded("b", Call::TableCheck);
        assert_eq!(reaction(&denials, "a"), "check first");
        denials.succeeded("a", Call::TableCheck);
        assert_eq!(reaction(&denials, "a"), "read Spotify");

        denials.remember("a", Call::LoadJob, rights("Access Denied: Project p"));
        denials.succeeded("a", Call::TableCheck);
        assert_eq!(reaction(&denials, "b"), "503 for 300 s");
        denials.succeeded("b", Call::LoadJob);
        assert_eq!(reaction(&denials, "a"), "read Spotify");
        denials.remember("a", Call::LoadJob, rights("Access Denied: Table p:d.a"));
        denials.succeeded("b", Call::LoadJob);
        assert_eq!(reaction(&denials, "a"), "503 for 300 s");
    }

    #[tokio::test]
    async fn other_failures_are_not_remembered() {
        let denials = Denials::new(TTL);
        let invalid = Failure::InvalidRows { table: "a".to_owned(), detail: String::new() };
        let transient = Failure::WarehouseUnavailable {
            what: String::new(),
            detail: "503".to_owned(),
            after: None,
        };
        for failure in [invalid, transient, Failure::GoogleCredentials(String::new())] {
            let failure = denials.remember("a", Call::LoadJob, failure);
            assert!(!matches!(failure, Failure::RememberedDenial { .. }), "{failure}");
            assert_eq!(reaction(&denials, "a"), "read Spotify");
        }
        let failure = Denials::new(Duration::ZERO).remember("a", Call::TableCheck, foreign());
        assert!(matches!(failure, Failure::ForeignColumns { .. }), "remembered for no time");
    }

    #[tokio::test(start_paused = true)]
    async fn denials_are_bounded() {
        let denials = Denials::new(TTL);
        for n in 0..CLEANUP_THRESHOLD {
            denials.remember(&n.to_string(), Call::TableCheck, foreign());
        }
        tokio::time::advance(TTL).await;
        denials.remember("a", Call::TableCheck, foreign());
        assert_eq!(denials.by_scope.len(), 1);
    }
}
