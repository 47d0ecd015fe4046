//! BigQuery: the dataset, the three configured tables, and the tables of other terms.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::stream::{self, StreamExt};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::finding::Finding;
use crate::cli::age::format_age;
use crate::config::{self, Config, TABLE_SETTINGS, default};
use crate::failure::Failure;
use crate::google::GoogleCredentials;
use crate::names::Kind;
use crate::warehouse::{Dataset, TableInfo, Warehouse};

const MAX_CONCURRENT_CALLS: usize = 8;

pub(super) async fn findings(
    config: &Config,
    google: &Arc<GoogleCredentials>,
    max_age: Option<Duration>,
) -> Result<Vec<Finding>, String> {
    let config::Warehouse::BigQuery(settings) = &config.warehouse else {
        return Ok(vec![Finding::ok("warehouse", "a SQLite file, created by the first load")]);
    };
    if settings.project.is_empty() {
        let advice = "set GOOGLE_CLOUD_PROJECT to the project that contains the dataset";
        return Ok(vec![Finding::problem("BigQuery", "GOOGLE_CLOUD_PROJECT is not set", advice)]);
    }
    let warehouse = Warehouse::new(config, google)?;
    let Some(dataset) = warehouse.dataset() else { return Ok(Vec::new()) };
    let what = format!("dataset {}", dataset.id());
    let location = match dataset.fetch_location().await {
        Ok(location) => location,
        Err(failure) => return Ok(vec![Finding::failure(&what, &failure)]),
    };
    let mut findings =
        vec![location_finding(&what, location.as_deref(), settings.location.as_deref())];
    let tables = Kind::ALL.map(|kind| (config.naming.configured_table(kind).to_owned(), kind));
    let others = match dataset.list_table_names().await {
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
    for (name, kind, result) in get_tables(dataset, tables.to_vec()).await {
        findings.push(match result {
            Ok(None) => missing_table(&name, kind, max_age),
            Ok(Some(info)) => match info.check(kind, &name) {
                Ok(_) => valid_table(&name, kind, &info, max_age, now),
                Err(failure) => Finding::failure(&format!("table {name}"), &failure),
            },
            Err(failure) => Finding::failure(&format!("table {name}"), &failure),
        });
    }
    for (name, kind, result) in get_tables(dataset, others).await {
        match result {
            // A table with other columns is not one of the service's.
            Ok(Some(info)) if !info.columns.is_empty() && info.check(kind, &name).is_ok() => {
                findings.push(valid_table(&name, kind, &info, max_age, now));
            }
            Ok(_) => {}
            Err(failure) => findings.push(Finding::failure(&format!("table {name}"), &failure)),
        }
    }
    Ok(findings)
}

type TableResult = (String, Kind, Result<Option<TableInfo>, Failure>);

async fn get_tables(dataset: &Dataset, tables: Vec<(String, Kind)>) -> Vec<TableResult> {
    let get_table = |(name, kind): (String, Kind)| async move {
        let result = dataset.get_table(&name).await;
        (name, kind, result)
    };
    stream::iter(tables).map(get_table).buffered(MAX_CONCURRENT_CALLS).collect().await
}

fn location_finding(what: &str, actual: Option<&str>, configured: Option<&str>) -> Finding {
    match (actual, configured) {
        (Some(actual), Some(configured)) if !actual.eq_ignore_ascii_case(configured) => {
            Finding::problem(
                what,
                format!(
                    "in {actual}, but BIGQUERY_LOCATION is {configured}: every load would fail"
                ),
                format!("unset BIGQUERY_LOCATION, or set it to {actual}"),
            )
        }
        (Some(actual), _) => Finding::ok(what, format!("in {actual}")),
        (None, _) => Finding::ok(what, "exists"),
    }
}

/// Returns the kind of another term's table: its name is `<kind>_<slug>` or a default name.
fn kind_of(name: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| {
        let slug = name.strip_prefix(kind.name()).and_then(|rest| rest.strip_prefix('_'));
        slug.is_some_and(|slug| !slug.is_empty()) || default(TABLE_SETTINGS[*kind as usize]) == name
    })
}

fn missing_table(name: &str, kind: Kind, max_age: Option<Duration>) -> Finding {
    let what = format!("table {name}");
    let finding = match max_age {
        None => Finding::ok(&what, "does not exist yet; the first load creates it"),
        Some(_) => {
            Finding::problem(&what, "does not exist: it was never loaded", reload_advice(kind))
        }
    };
    finding.with("table", name).with("kind", kind.name())
}

fn valid_table(
    name: &str,
    kind: Kind,
    info: &TableInfo,
    max_age: Option<Duration>,
    now: SystemTime,
) -> Finding {
    let what = format!("table {name}");
    let rows = info.rows.map_or(String::new(), |rows| format!(", {rows} rows"));
    let age = info.modified.map(|at| now.duration_since(at).unwrap_or_default());
    let changed_at = info.modified.and_then(|at| OffsetDateTime::from(at).format(&Rfc3339).ok());
    let changed = match (&changed_at, age) {
        (Some(at), Some(age)) => {
            let age = format_age(i64::try_from(age.as_secs()).unwrap_or(0));
            format!(", last changed {age} ({at})")
        }
        _ => String::new(),
    };
    let detail = format!("columns match{rows}{changed}");
    let finding = match (max_age, age) {
        (Some(max_age), Some(age)) if age > max_age => {
            let limit = max_age.as_secs();
            Finding::problem(&what, format!("{detail}: older than {limit} s"), reload_advice(kind))
        }
        (Some(_), None) => Finding::problem(
            &what,
            format!("{detail}: BigQuery reports no modification time"),
            reload_advice(kind),
        ),
        _ => Finding::ok(&what, detail),
    };
    finding
        .with("table", name)
        .with("kind", kind.name())
        .with("rows", info.rows)
        .with("changed", changed_at)
}

fn reload_advice(kind: Kind) -> String {
    format!(
        "search the service's log for the table's name and run `spotify-bq redrive --dry-run` to see why, or load the table with `spotify-bq publish --table {kind} --wait` (for the table of another term, add --search-term)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_compared_ignoring_case() {
        let finding = location_finding;
        assert!(finding("d", Some("US"), Some("us")).ok);
        assert!(finding("d", Some("US"), None).ok && finding("d", None, Some("us")).ok);
        let wrong = finding("d", Some("southamerica-east1"), Some("US"));
        assert!(!wrong.ok && wrong.detail.contains("southamerica-east1"), "{}", wrong.detail);
    }

    #[test]
    fn tables_of_other_terms_are_recognized_by_name() {
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
    fn an_old_table_is_a_problem_only_with_max_age() {
        let now = SystemTime::now();
        let hours_ago = |hours: u64| now.checked_sub(Duration::from_secs(hours * 3600));
        let info = |modified| TableInfo { modified, rows: Some(7), ..TableInfo::default() };
        let max_age = Some(Duration::from_secs(26 * 3600));
        for (modified, max_age, is_ok) in [
            (hours_ago(25), max_age, true),
            (hours_ago(27), max_age, false),
            (hours_ago(27), None, true),
            (None, max_age, false),
            (None, None, true),
            (now.checked_add(Duration::from_secs(60)), max_age, true),
        ] {
            let finding = valid_table("t", Kind::Podcasts, &info(modified), max_age, now);
            assert_eq!(finding.ok, is_ok, "{}", finding.detail);
            assert!(finding.detail.contains("7 rows"));
        }
        assert!(missing_table("t", Kind::Podcasts, None).ok);
        assert!(!missing_table("t", Kind::Podcasts, max_age).ok);
    }
}
