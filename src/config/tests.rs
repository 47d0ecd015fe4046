use std::path::PathBuf;

use super::*;
use crate::names::Kind;

fn read(settings: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let get = |name: &str| {
        settings.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    };
    Config::read(&get, None, Purpose::Serve)
}

/// The least that `serve` needs.
const REQUIRED: [(&str, &str); 2] =
    [("GOOGLE_CLOUD_PROJECT", "p1"), ("SPOTIFY_CREDENTIALS_FILE", "/secrets/spotify")];

fn with(settings: &[(&'static str, &'static str)]) -> Result<Config, ConfigError> {
    read(&[settings, &REQUIRED].concat())
}

fn problem(name: &'static str, value: &'static str) -> String {
    with(&[(name, value)]).unwrap_err().to_string()
}

#[test]
fn project_and_credentials_are_enough() {
    let config = with(&[]).unwrap();
    assert_eq!(config.naming.term.text(), "data hackers");
    assert_eq!(config.naming.tables[1], "tb_datahackers_episodios_total");
    assert_eq!(config.timing.message_deadline, Duration::from_secs(540));
    let Warehouse::BigQuery(bigquery) = config.warehouse else { panic!() };
    assert_eq!((bigquery.project.as_str(), bigquery.dataset.as_str()), ("p1", "spotify_podcasts"));
    assert!(!config.log.json && config.push_auth.is_none());
}

#[test]
fn table_names_that_are_not_set_follow_from_the_term() {
    let tables = |settings: &[(&'static str, &'static str)]| with(settings).unwrap().naming.tables;
    let old = Kind::ALL.map(|kind| default(TABLE_SETTINGS[kind as usize]).to_owned());
    for term in ["", "data hackers", "DATA\u{a0} Háckers\u{200d}"] {
        assert_eq!(tables(&[("SEARCH_TERM", term)]), old, "{term:?}");
    }
    assert_eq!(
        tables(&[
            ("SEARCH_TERM", "Café da Manhã"),
            ("EPISODES_TABLE", "ours"),
            ("MENTIONS_TABLE", "")
        ]),
        ["podcasts_cafe_da_manha", "ours", "mentions_cafe_da_manha"]
    );
    // A term that had the default names before keeps them by setting them.
    let [podcasts, episodes, mentions] = TABLE_SETTINGS.map(|name| (name, default(name)));
    assert_eq!(tables(&[("SEARCH_TERM", "c++"), podcasts, episodes, mentions]), old);
    // printf 'c++' | sha256sum
    assert_eq!(tables(&[("SEARCH_TERM", "C++")])[0], "podcasts_c_cedb1bac");
}

#[test]
fn a_table_name_that_is_set_must_differ_from_one_that_follows_from_the_term() {
    for (name, value, other) in [
        ("PODCASTS_TABLE", "episodes_mamilos", "EPISODES_TABLE"),
        ("MENTIONS_TABLE", "Podcasts_Mamilos", "PODCASTS_TABLE"),
    ] {
        let error = with(&[("SEARCH_TERM", "mamilos"), (name, value)]).unwrap_err().to_string();
        let expected = format!("{name} must differ from {other}");
        assert!(error.contains(&expected) && error.contains("1 setting"), "{error}");
    }
}

#[test]
fn all_problems_are_reported_at_once() {
    let error = read(&[
        ("PORT", "70000"),
        ("SPOTIFY_MARKET", "brazil"),
        ("EPISODES_TABLE", "tb_datahackers_limitada"),
        ("PUSH_AUDIENCE", "https://x"),
    ])
    .unwrap_err()
    .to_string();
    for name in [
        "PORT is \"70000\": must be a whole number from 0 to 65535",
        "GOOGLE_CLOUD_PROJECT is not set",
        "SPOTIFY_CREDENTIALS_FILE is not set",
        "SPOTIFY_MARKET is \"brazil\": must be two capital letters",
        "EPISODES_TABLE must differ",
        "PUSH_SERVICE_ACCOUNT must be set together",
        "6 settings are wrong",
    ] {
        assert!(error.contains(name), "{name} in:\n{error}");
    }
}

#[test]
fn each_problem_says_what_is_allowed() {
    for (name, value, expected) in [
        ("WAREHOUSE", "duckdb", "`bigquery` or `sqlite:FILE`"),
        ("WAREHOUSE", "sqlite:", "`bigquery` or `sqlite:FILE`"),
        ("BIGQUERY_DATASET", "a-b", "letters, digits and _"),
        ("PODCASTS_TABLE", "a;drop", "letters, digits and _"),
        ("SPOTIFY_API_URL", "ftp://x", "http or https"),
        ("SPOTIFY_API_URL", "https://u:p@x", "http or https"),
        ("SPOTIFY_SEARCH_PAGE_SIZE", "51", "from 1 to 50"),
        ("SPOTIFY_CONCURRENT_CALLS", "0", "from 1 to 50"),
        ("MAX_CONCURRENT_MESSAGES", "none", "from 1 to 1000"),
        ("SEARCH_TERM", "\u{301}", "visible character"),
        ("SEARCH_TERM", "*", "at least one letter or digit"),
        ("MENTION", "a||b", "is \"a||b\": no phrase may be empty"),
        ("MENTION", "a|", "no phrase may be empty"),
        ("TRIGGER_TOPIC", "projects/p/subscriptions/s", "projects/PROJECT/topics/ID"),
        ("TRIGGER_TOPIC", "a", "projects/PROJECT/topics/ID"),
        ("TRIGGER_TOPIC", "projects//topics/abc", "projects/PROJECT/topics/ID"),
        ("DEAD_LETTER_SUBSCRIPTION", "projects/p/topics/abc", "projects/PROJECT/subscriptions/ID"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "{\"private_key\":\"hush\"}", "the file's path"),
        ("PUSH_SERVICE_ACCOUNT", "a@b", "PUSH_AUDIENCE must be set together"),
        ("LOG_FORMAT", "xml", "`json` or `text`"),
        ("RUST_LOG", "a=b=c", "is not a filter"),
        ("GOOGLE_CLOUD_PROJECT", "P 1", "a project's id"),
        ("BIGQUERY_EMULATOR_HOST", "http://", "http or https"),
        ("MESSAGE_DEADLINE_SECONDS", "5", "from 10 to 570"),
    ] {
        let error = if name == "GOOGLE_CLOUD_PROJECT" {
            read(&[(name, value), REQUIRED[1]]).unwrap_err().to_string()
        } else {
            problem(name, value)
        };
        assert!(error.contains(name) && error.contains(expected), "{error}");
    }
}

#[test]
fn ids_become_full_names_and_empty_variables_are_unset() {
    let config = with(&[
        ("TRIGGER_TOPIC", "spotify-bq"),
        ("DEAD_LETTER_TOPIC", "projects/other/topics/dead"),
        ("PORT", ""),
        ("BIGQUERY_EMULATOR_HOST", "127.0.0.1:9050"),
        ("K_SERVICE", "spotify-bq"),
    ])
    .unwrap();
    assert_eq!(config.pubsub.trigger_topic.unwrap(), "projects/p1/topics/spotify-bq");
    assert_eq!(config.pubsub.dead_letter_topic.unwrap(), "projects/other/topics/dead");
    assert_eq!(config.port, 8080);
    assert!(config.log.json);
    let Warehouse::BigQuery(bigquery) = config.warehouse else { panic!() };
    assert!(bigquery.emulator && bigquery.url == "http://127.0.0.1:9050");
}

#[test]
fn topics_must_differ() {
    for (one, other) in [
        ("TRIGGER_TOPIC", "DEAD_LETTER_TOPIC"),
        ("TRIGGER_TOPIC", "LOADED_TOPIC"),
        ("DEAD_LETTER_TOPIC", "LOADED_TOPIC"),
    ] {
        let error = with(&[(one, "topic"), (other, "projects/p1/topics/topic")]).unwrap_err();
        assert!(error.to_string().contains(&format!("{other} must differ from {one}")), "{error}");
        assert!(with(&[(one, "topic"), (other, "projects/p2/topics/topic")]).is_ok());
    }
}

#[test]
fn googles_variables_may_be_empty() {
    let google =
        with(&[("GOOGLE_APPLICATION_CREDENTIALS", " "), ("GCE_METADATA_HOST", ""), ("HOME", "")])
            .unwrap()
            .google;
    assert_eq!((google.credentials_file, google.gcloud_file), (None, None));
    assert_eq!(google.metadata_host, "metadata.google.internal");
    let google = with(&[
        ("GOOGLE_APPLICATION_CREDENTIALS", "/key.json"),
        ("GCE_METADATA_HOST", "http://127.0.0.1:8080/"),
        ("HOME", "/home/me"),
    ])
    .unwrap()
    .google;
    assert_eq!(google.credentials_file.unwrap(), PathBuf::from("/key.json"));
    assert!(google.gcloud_file.unwrap().starts_with("/home/me/.config/gcloud"));
    assert_eq!(google.metadata_host, "127.0.0.1:8080");
    for key in ["{\"private_key\":\"hush\"}", &"aHVzaGh1c2g=".repeat(200)] {
        let key: &'static str = key.to_owned().leak();
        let error = problem("GOOGLE_APPLICATION_CREDENTIALS", key);
        assert!(!error.contains("hush") && !error.contains("aHVzaA"), "{error}");
    }
}

#[test]
fn secrets_are_not_printed() {
    let config = with(&[("SPOTIFY_CREDENTIALS", "{\"client_secret\":\"hush\"}")]).unwrap();
    assert!(!format!("{config:?}").contains("hush"));
    let without_file = read(&[
        ("GOOGLE_CLOUD_PROJECT", "p1"),
        ("SPOTIFY_CREDENTIALS", "{\"client_secret\":\"hush\"}"),
    ]);
    assert!(!format!("{without_file:?}").contains("hush"));
}

#[test]
fn the_settings_that_are_read_are_those_listed() {
    let read = std::cell::RefCell::new(std::collections::BTreeSet::new());
    let get = |name: &str| {
        read.borrow_mut().insert(name.to_owned());
        None
    };
    let _ = Config::read(&get, None, Purpose::Serve);
    let known = SETTINGS.iter().chain(settings::PLATFORM).map(|setting| setting.name.to_owned());
    assert_eq!(read.into_inner(), known.collect());
}
