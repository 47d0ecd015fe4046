//! BigQuery: the dataset, the three tables, and the tables of other terms.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::stream::{self, StreamExt};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Finding;
use crate::cli::age;
use crate::config::{self, Config, TABLE_SETTINGS, default};
use crate::failure::Failure;
use crate::google::GoogleCredentials;
use crate::names::Kind;
use crate::warehouse::{Dataset, TableInfo, Warehouse};

/// Tables looked at side by side.
const CONCURRENT_LOOKS: usize = 8;

pub(super) async fn findings(
    config: &Config,
    google: &Arc<GoogleCredentials>,
    max_age: Option<Duration>,
) -> Result<Vec<Finding>, String> {
    let config::Warehouse::BigQuery(place) = &config.warehouse else {
        return Ok(vec![Finding::ok("warehouse", "a SQLite file, created by the first load")]);
    };
    if place.project.is_empty() {
        let advice = "set GOOGLE_CLOUD_PROJECT to the project that has the dataset";
        return Ok(vec![Finding::problem("BigQuery", "no project is known", advice)]);
    }
    let warehouse = Warehouse::new(config, google)?;
    let Some(bigquery) = warehouse.dataset() else { return Ok(Vec::new()) };
    let what = format!("dataset {}", bigquery.id());
    let location = match bigquery.fetch_location().await {
        Ok(location) => location,
        Err(failure) => return Ok(vec![Finding::failure(&what, &failure)]),
    };
    let mut findings = vec![dataset(&what, location.as_deref(), place.location.as_deref())];
    let tables = Kind::ALL.map(|kind| (config.naming.configured_table(kind).to_owned(), kind));
    let others = match bigquery.list_table_names().await {
        Ok(names) => {
            let is_other = |name: &String| !tables.iter().any(|(table, _)| table == name);
            let names = names.into_iter().filter(is_other);
            names.filter_map(|name| kind_of(&name).map(|kind| (name, kind))).collect()
        }
        Err(failure) => {
            findings.push(Finding::failure("tables of other terms", &failure));
            Vec::new()
        }
    };
    let now = SystemTime::now();
    for (name, kind, found) in look(bigquery, tables.to_vec()).await {
        findings.push(match found {
            Ok(None) => absent(&name, kind, max_age),
            Ok(Some(found)) => match found.check(kind, &name) {
                Ok(_) => table(&name, kind, &found, max_age, now),
                Err(failure) => Finding::failure(&format!("table {name}"), &failure),
            },
            Err(failure) => Finding::failure(&format!("table {name}"), &failure),
        });
    }
    for (name, kind, found) in look(bigquery, others).await {
        match found {
            // A table without columns, or with others, is somebody else's.
            Ok(Some(found)) if !found.columns.is_empty() => {
                if found.check(kind, &name).is_ok() {
                    findings.push(table(&name, kind, &found, max_age, now));
                }
            }
            Ok(_) => {}
            Err(failure) => findings.push(Finding::failure(&format!("table {name}"), &failure)),
        }
    }
    Ok(findings)
}

type Look = (String, Kind, Result<Option<TableInfo>, Failure>);

async fn look(bigquery: &Dataset, tables: Vec<(String, Kind)>) -> Vec<Look> {
    let look = |(name, kind): (String, Kind)| async move {
        let found = bigquery.get_table(&name).await;
        (name, kind, found)
    };
    stream::iter(tables).map(look).buffered(CONCURRENT_LOOKS).collect().await
}

fn dataset(what: &str, found: Option<&str>, configured: Option<&str>) -> Finding {
    match (found, configured) {
        (Some(found), Some(configured)) if !found.eq_ignore_ascii_case(configured) => {
            Finding::problem(
                what,
                format!("in {found}, and BIGQUERY_LOCATION is {configured}: no load would find it"),
                format!("unset BIGQUERY_LOCATION, or set it to {found}"),
            )
        }
        (Some(found), _) => Finding::ok(what, format!("in {found}")),
        (None, _) => Finding::ok(what, "there"),
    }
}

/// The kind of table that has this name for another term: `<kind>_<slug>`, or one of the names that
/// tables have by default.
fn kind_of(name: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| {
        let slug = name.strip_prefix(kind.name()).and_then(|rest| rest.strip_prefix('_'));
        slug.is_some_and(|slug| !slug.is_empty()) || default(TABLE_SETTINGS[*kind as usize]) == name
    })
}

fn absent(name: &str, kind: Kind, max_age: Option<Duration>) -> Finding {
    let what = format!("table {name}");
    let finding = match max_age {
        None => Finding::ok(&what, "not there yet; the first load makes it"),
        Some(_) => Finding::problem(&what, "not there: it was never loaded", late(kind)),
    };
    finding.with("table", name).with("kind", kind.name())
}

fn table(
    name: &str,
    kind: Kind,
    found: &TableInfo,
    max_age: Option<Duration>,
    now: SystemTime,
) -> Finding {
    let what = format!("table {name}");
    let rows = found.rows.map_or(String::new(), |rows| format!(", {rows} rows"));
    let passed = found.modified.map(|at| now.duration_since(at).unwrap_or_default());
    let at = found.modified.and_then(|at| OffsetDateTime::from(at).format(&Rfc3339).ok());
    let changed = match (&at, passed) {
        (Some(at), Some(passed)) => {
            format!(", last changed {} ({at})", age(i64::try_from(passed.as_secs()).unwrap_or(0)))
        }
        _ => String::new(),
    };
    let detail = format!("its columns are ours{rows}{changed}");
    let finding = match (max_age, passed) {
        (Some(max_age), Some(passed)) if passed > max_age => {
            let limit = max_age.as_secs();
            Finding::problem(&what, format!("{detail}: older than {limit} s"), late(kind))
        }
        (Some(_), None) => Finding::problem(
            &what,
            format!("{detail}: BigQuery does not say when it changed"),
            late(kind),
        ),
        _ => Finding::ok(&what, detail),
    };
    finding
        .with("table", name)
        .with("kind", kind.name())
        .with("rows", found.rows)
        .with("changed", at)
}

fn late(kind: Kind) -> String {
    format!(
        "search the service's log for the table's messages, see the dead letters with `spotify-bq redrive --dry-run`, or load it with `spotify-bq publish --table {kind} --wait`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_compared_without_case() {
        assert!(dataset("d", Some("US"), Some("us")).ok);
        assert!(dataset("d", Some("US"), None).ok && dataset("d", None, Some("us")).ok);
        let wrong = dataset("d", Some("southamerica-east1"), Some("US"));
        assert!(!wrong.ok && wrong.detail.contains("southamerica-east1"), "{}", wrong.detail);
    }

    #[test]
    fn tables_of_ours_are_known_by_their_names() {
        for (name, kind) in [
            ("podcasts_cafe", Some(Kind::Podcasts)),
            ("episodes__1a2b3c4d", Some(Kind::Episodes)),
            ("tb_datahackers_episodios_boticario", Some(Kind::Mentions)),
            ("episodes", None),
            ("episodes_", None),
            ("my_episodes_cafe", None),
        ] {
            assert_eq!(kind_of(name), kind, "{name}");
        }
    }

    #[test]
    fn an_old_table_is_a_problem_if_an_age_is_asked_for() {
        let now = SystemTime::now();
        let at = |hours: u64| now.checked_sub(Duration::from_secs(hours * 3600));
        let found = |modified| TableInfo { modified, rows: Some(7), ..TableInfo::default() };
        let day = Some(Duration::from_secs(26 * 3600));
        for (modified, max_age, is_ok) in [
            (at(25), day, true),
            (at(27), day, false),
            (at(27), None, true),
            (None, day, false),
            (None, None, true),
            (now.checked_add(Duration::from_secs(60)), day, true),
        ] {
            let finding = table("t", Kind::Podcasts, &found(modified), max_age, now);
            assert_eq!(finding.ok, is_ok, "{}", finding.detail);
            assert!(finding.detail.contains("7 rows"));
        }
        assert!(absent("t", Kind::Podcasts, None).ok && !absent("t", Kind::Podcasts, day).ok);
    }
}
