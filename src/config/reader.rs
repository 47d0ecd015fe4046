//! Reads settings one by one and collects what is wrong with them.

use std::fmt;
use std::ops::RangeInclusive;

use url::Url;

use super::settings::{PLATFORM, SETTINGS, default};

/// The largest name of a dataset, in bytes (<https://cloud.google.com/bigquery/quotas>).
const MAX_IDENTIFIER_BYTES: usize = 1024;

/// All problems of the settings.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        write!(f, "{count} setting{} wrong:", if count == 1 { " is" } else { "s are" })?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for ConfigError {}

pub(super) struct Reader<'a> {
    get: &'a dyn Fn(&str) -> Option<String>,
    problems: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(get: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { get, problems: Vec::new() }
    }

    /// Returns `config` if there was no problem.
    pub(super) fn finish<T>(self, config: T) -> Result<T, ConfigError> {
        if self.problems.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError { problems: self.problems })
        }
    }

    /// Adds a problem. `what` continues the setting's name.
    pub(super) fn problem(&mut self, name: &str, what: &str) {
        self.problems.push(format!("{name} {what}"));
    }

    /// Returns the value, otherwise the default, without white space around it. An empty variable
    /// counts as not set, because Cloud Run, compose files and shells unset variables that way.
    pub(super) fn optional(&self, name: &str) -> Option<String> {
        let setting = SETTINGS.iter().chain(PLATFORM).find(|setting| setting.name == name);
        debug_assert!(setting.is_some(), "{name} is not in the list of settings");
        let value = (self.get)(name).map(|value| value.trim().to_owned());
        let default = || setting.map(|setting| setting.default.to_owned());
        value.filter(|value| !value.is_empty()).or_else(default).filter(|value| !value.is_empty())
    }

    /// Returns whether the variable is set, regardless of its default.
    pub(super) fn is_set(&self, name: &str) -> bool {
        (self.get)(name).is_some_and(|value| !value.trim().is_empty())
    }

    /// Parses a setting that has a default. The error of `parse` says what a value must be.
    pub(super) fn parsed<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> T {
        let value = self.optional(name).unwrap_or_default();
        match parse(&value) {
            Ok(parsed) => parsed,
            Err(why) => {
                self.problem(name, &format!("is {}: {why}", quoted(&value)));
                // The caller needs some value until `finish` returns the problem.
                match parse(default(name)) {
                    Ok(parsed) => parsed,
                    Err(why) => unreachable!("the default of {name} {why}"),
                }
            }
        }
    }

    pub(super) fn number(&mut self, name: &str, range: RangeInclusive<u64>) -> u64 {
        self.parsed(name, |value| {
            value.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
                format!("must be a whole number from {} to {}", range.start(), range.end())
            })
        })
    }

    /// Returns the name of a dataset or table. Only letters, digits and `_` are allowed: a dataset
    /// can't have others, and SQL needs no quotes for them.
    pub(super) fn identifier(&mut self, name: &str) -> String {
        self.parsed(name, |value| {
            let is_valid = (1..=MAX_IDENTIFIER_BYTES).contains(&value.len())
                && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            is_valid.then(|| value.to_owned()).ok_or_else(|| {
                format!("must be letters, digits and _ (at most {MAX_IDENTIFIER_BYTES})")
            })
        })
    }

    pub(super) fn project(&mut self, name: &str) -> Option<String> {
        let project = self.optional(name)?;
        if !is_project_id(&project) {
            self.problem(
                name,
                &format!("is {project:?}: must be a project's id: lowercase letters, digits and -"),
            );
        }
        Some(project)
    }

    pub(super) fn url(&mut self, name: &str) -> Url {
        self.parsed(name, parse_url)
    }

    /// Returns an emulator's URL without a trailing slash. The scheme may be missing, as in
    /// `host:port`.
    pub(super) fn emulator_url(&mut self, name: &str) -> Option<String> {
        let value = self.optional(name)?;
        let full = if value.contains("://") { value } else { format!("http://{value}") };
        match parse_url(&full) {
            Ok(url) => Some(url.as_str().trim_end_matches('/').to_owned()),
            Err(why) => {
                self.problem(name, &format!("is {}: {why}", quoted(&full)));
                None
            }
        }
    }

    /// Returns the full name of a topic or subscription, which may be set to its ID alone.
    pub(super) fn resource_name(
        &mut self,
        name: &str,
        collection: &str,
        project: Option<&str>,
    ) -> Option<String> {
        let value = self.optional(name)?;
        resource_name(&value, collection, project).map_err(|why| self.problem(name, &why)).ok()
    }
}

/// Returns the full name of a topic or subscription. The error continues the setting's name.
pub(crate) fn resource_name(
    value: &str,
    collection: &str,
    project: Option<&str>,
) -> Result<String, String> {
    let parts: Vec<&str> = value.split('/').collect();
    match (parts.as_slice(), project) {
        (["projects", project, part, id], _)
            if *part == collection && is_resource_id(id) && is_project_id(project) =>
        {
            Ok(value.to_owned())
        }
        ([id], Some(project)) if is_resource_id(id) => {
            Ok(format!("projects/{project}/{collection}/{id}"))
        }
        ([id], None) if is_resource_id(id) => Err(format!(
            "is an id: set GOOGLE_CLOUD_PROJECT too, or use the full name \
             projects/PROJECT/{collection}/{id}"
        )),
        _ => Err(format!("is {value:?}: must be an id or projects/PROJECT/{collection}/ID")),
    }
}

/// Returns whether `id` is valid for a topic or subscription
/// (<https://cloud.google.com/pubsub/docs/pubsub-basics#resource_names>).
fn is_resource_id(id: &str) -> bool {
    (3..=255).contains(&id.len())
        && id.starts_with(|first: char| first.is_ascii_alphabetic())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~+%".contains(&byte))
}

/// Returns whether `id` is valid for a project. Old projects have IDs such as `example.com:name`.
pub(crate) fn is_project_id(id: &str) -> bool {
    (1..=63).contains(&id.len())
        && id.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:".contains(&byte)
        })
}

/// Quotes an invalid value for an error, without a URL's user and password.
fn quoted(value: &str) -> String {
    match value.rsplit_once('@') {
        Some((_, host)) if value.contains("://") => format!("\"…@{host}\""),
        _ => format!("{value:?}"),
    }
}

fn parse_url(value: &str) -> Result<Url, String> {
    Url::parse(value)
        .ok()
        .filter(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.host().is_some()
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none()
        })
        .ok_or_else(|| "must be an http or https URL without user, query or fragment".to_owned())
}
