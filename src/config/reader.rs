//! Reads variables one by one and collects what is wrong with them.

use std::fmt;
use std::ops::RangeInclusive;

use secrecy::SecretString;
use url::Url;

use super::settings::{PLATFORM, SETTINGS};

/// Everything that is wrong with the environment.
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

    pub(super) fn finish<T>(self, config: T) -> Result<T, ConfigError> {
        if self.problems.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError { problems: self.problems })
        }
    }

    pub(super) fn problem(&mut self, name: &str, what: &str) {
        self.problems.push(format!("{name} {what}"));
    }

    /// The value or the default; nothing when both are empty. A variable set to nothing counts as
    /// unset: that is how Cloud Run, compose files and shells take one away.
    pub(super) fn optional(&self, name: &str) -> Option<String> {
        let setting = SETTINGS.iter().chain(PLATFORM).find(|setting| setting.name == name);
        debug_assert!(setting.is_some(), "{name} is read and is no setting");
        let value = (self.get)(name).map(|value| value.trim().to_owned());
        let default = || setting.map(|setting| setting.default.to_owned());
        value.filter(|value| !value.is_empty()).or_else(default).filter(|value| !value.is_empty())
    }

    /// Whether the variable is set, whatever its default is.
    pub(super) fn is_given(&self, name: &str) -> bool {
        (self.get)(name).is_some_and(|value| !value.trim().is_empty())
    }

    /// A value that has a default, through `parse`, whose error continues the variable's name.
    pub(super) fn parsed<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> T {
        let value = self.optional(name).unwrap_or_default();
        match parse(&value) {
            Ok(parsed) => parsed,
            Err(why) => {
                self.problem(name, &format!("is {}: {why}", shown(&value)));
                // The problem ends the reading; the default only fills the place.
                let default = SETTINGS.iter().find(|setting| setting.name == name);
                match parse(default.map_or("", |setting| setting.default)) {
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

    /// A dataset's or table's name: letters, digits and `_`, which is what datasets may have and
    /// what SQL reads without quotes.
    pub(super) fn identifier(&mut self, name: &str) -> String {
        self.parsed(name, |value| {
            let fits = (1..=1024).contains(&value.len())
                && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            fits.then(|| value.to_owned())
                .ok_or_else(|| "must be letters, digits and _ (at most 1024)".to_owned())
        })
    }

    pub(super) fn project(&mut self, name: &str) -> Option<String> {
        let project = self.optional(name)?;
        if !is_project_id(&project) {
            self.problem(name, "must be a project's id: lower-case letters, digits and -");
        }
        Some(project)
    }

    pub(super) fn url(&mut self, name: &str) -> Url {
        self.parsed(name, parse_url)
    }

    /// An emulator's URL without a slash at the end; `host:port` is taken for http.
    pub(super) fn url_of(&mut self, name: &str) -> Option<String> {
        let value = self.optional(name)?;
        let full = if value.contains("://") { value } else { format!("http://{value}") };
        match parse_url(&full) {
            Ok(url) => Some(url.as_str().trim_end_matches('/').to_owned()),
            Err(why) => {
                self.problem(name, &format!("is {}: {why}", shown(&full)));
                None
            }
        }
    }

    pub(super) fn secret(&self, name: &str) -> Option<SecretString> {
        self.optional(name).map(SecretString::from)
    }

    /// A topic or subscription: its full name, or its id in the project.
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

/// A topic's or subscription's full name, or what is wrong with it, to follow the setting's name.
pub(crate) fn resource_name(
    value: &str,
    collection: &str,
    project: Option<&str>,
) -> Result<String, String> {
    let parts: Vec<&str> = value.split('/').collect();
    let id = |id: &str| {
        (3..=255).contains(&id.len())
            && id.starts_with(|first: char| first.is_ascii_alphabetic())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~+%".contains(&byte))
    };
    match (parts.as_slice(), project) {
        (["projects", project, part, last], _)
            if *part == collection && id(last) && is_project_id(project) =>
        {
            Ok(value.to_owned())
        }
        ([last], Some(project)) if id(last) => {
            Ok(format!("projects/{project}/{collection}/{last}"))
        }
        ([last], None) if id(last) => {
            let full = format!("projects/…/{collection}/{last}");
            Err(format!("is an id: set GOOGLE_CLOUD_PROJECT too, or write {full}"))
        }
        _ => Err(format!("is {value:?}: must be an id or projects/PROJECT/{collection}/ID")),
    }
}

/// Whether a text is a project's id, as Google's older ones with a domain are too.
pub(crate) fn is_project_id(id: &str) -> bool {
    (1..=63).contains(&id.len())
        && id.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:".contains(&byte)
        })
}

/// A wrong value, but for a URL's user and password.
fn shown(value: &str) -> String {
    match value.rsplit_once('@') {
        Some((_, host)) if value.contains("://") => format!("\"…@{host}\""),
        _ => format!("{value:?}"),
    }
}

fn parse_url(value: &str) -> Result<Url, String> {
    let wrong = "must be an http or https URL without user, query or fragment".to_owned();
    let url = Url::parse(value).map_err(|_| wrong.clone())?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.host().is_some()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if plain { Ok(url) } else { Err(wrong) }
}
