//! `demo` of the real binary, with other search terms: which show it chooses, why, and how to choose another.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Output;

use rusqlite::Connection;

use crate::support::World;
use crate::support::binary::command;
use crate::support::spotify::Spotify;

struct Demo {
    settings: BTreeMap<String, String>,
    file: PathBuf,
}

impl Demo {
    fn new(name: &str) -> Self {
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("demo_{name}.sqlite"));
        let _ = std::fs::remove_file(&file);
        let warehouse = format!("sqlite:{}", file.display());
        Self { settings: [("WAREHOUSE".to_owned(), warehouse)].into(), file }
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        command(&[&["demo"], arguments].concat(), &self.settings).output().await.unwrap()
    }

    /// Runs the demo and returns the part of its output that is about the show.
    async fn show(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{stdout}");
        let about = stdout.split("\n\n").find(|part| part.starts_with("The show: "));
        about.unwrap_or_else(|| panic!("{stdout}")).to_owned()
    }

    fn tables(&self) -> Vec<(String, i64)> {
        let connection = Connection::open(&self.file).unwrap();
        let names = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'spotify_bq_loads' ORDER BY 1";
        let mut names = connection.prepare(names).unwrap();
        let names = names.query_map([], |row| row.get(0)).unwrap();
        let names: Vec<String> = names.map(Result::unwrap).collect();
        let count = |name: &String| -> i64 {
            let count = format!("SELECT count(*) FROM {name}");
            connection.query_row(&count, [], |row| row.get(0)).unwrap()
        };
        names.iter().map(|name| (name.clone(), count(name))).collect()
    }

    fn id_of(&self, table: &str, name: &str) -> String {
        let connection = Connection::open(&self.file).unwrap();
        let query = format!("SELECT id FROM {table} WHERE name = ?");
        connection.query_row(&query, [name], |row| row.get(0)).unwrap()
    }
}

fn named(tables: &[(&str, i64)]) -> Vec<(String, i64)> {
    tables.iter().map(|(name, rows)| ((*name).to_owned(), *rows)).collect()
}

#[tokio::test]
async fn another_term_fills_tables_of_its_name() {
    let demo = Demo::new("own");
    let options = ["--search-term", "HORTA na varanda", "--mention", "nada|Sementes Aurora"];
    let about = demo.show(&options).await;
    assert!(about.starts_with("The show: \"Horta na Varanda\", its name equals the search term\n"));
    let id = demo.id_of("podcasts_horta_na_varanda", "Horta na Varanda");
    assert!(about.contains(&format!("\n  https://open.spotify.com/show/{id} (fictitious)\n")));
    assert!(about.contains("--show-id") && about.contains("--search-term"), "{about}");
    let tables = [
        ("episodes_horta_na_varanda", 40),
        ("mentions_horta_na_varanda", 4),
        ("podcasts_horta_na_varanda", 50),
    ];
    assert_eq!(demo.tables(), named(&tables));
}

#[tokio::test]
async fn says_if_the_show_is_the_first_result_and_reads_another_by_id() {
    let demo = Demo::new("first");
    let about = demo.show(&["--search-term", "horta"]).await;
    let first =
        "The show: \"Horta na Varanda\", the first result, because no show is named \"horta\"\n";
    assert!(about.starts_with(first), "{about}");
    let id = demo.id_of("podcasts_horta", "Horta do Vizinho");
    let about = demo.show(&["--search-term", "horta", "--show-id", &id]).await;
    assert!(
        about.starts_with("The show: \"Horta do Vizinho\", chosen with --show-id\n"),
        "{about}"
    );
    assert!(about.contains(&format!("https://open.spotify.com/show/{id}")), "{about}");
    let tables = [("episodes_horta", 20), ("mentions_horta", 0), ("podcasts_horta", 50)];
    assert_eq!(demo.tables(), named(&tables));
}

#[tokio::test]
async fn options_override_settings() {
    let mut demo = Demo::new("settings");
    demo.settings.insert("SEARCH_TERM".to_owned(), "mamilos".to_owned());
    demo.settings.insert("MENTION".to_owned(), "Sementes Aurora".to_owned());
    let about = demo.show(&[]).await;
    assert!(about.contains("the first result, because no show is named \"mamilos\""), "{about}");
    demo.show(&["--search-term", "horta do vizinho"]).await;
    let rows: BTreeMap<String, i64> = demo.tables().into_iter().collect();
    assert_eq!((rows["mentions_mamilos"], rows["mentions_horta_do_vizinho"]), (0, 2));
}

#[tokio::test]
async fn with_credentials_it_calls_the_real_spotify() {
    let world = World::new(Spotify::showing(3, 9).await).await;
    let mut demo = Demo::new("real");
    for name in ["SPOTIFY_CREDENTIALS", "SPOTIFY_API_URL", "SPOTIFY_ACCOUNTS_URL"] {
        demo.settings.insert(name.to_owned(), world.settings[name].clone());
    }
    let about = demo.show(&["--search-term", "programa 0"]).await;
    let show = &world.spotify.catalog.shows[0];
    assert!(about.starts_with("The show: \"Programa 0\", its name equals"), "{about}");
    let link = format!("https://open.spotify.com/show/{}\n", show["id"].as_str().unwrap());
    assert!(about.contains(&link), "{about}");
    // The search of `podcasts` found the show, so there is no second search.
    assert_eq!(world.spotify.stub.calls_to("GET", "/v1/search").len(), 1);
}

#[tokio::test]
async fn invalid_options_are_rejected_before_any_load() {
    let demo = Demo::new("refused");
    for (options, message) in [
        (&["--search-term", "*"][..], "at least one letter or digit"),
        (&["--mention", "a||b"], "no phrase may be empty"),
        (&["--show-id", "1oMIHOXsrLFENAeM743g9"], "22 letters and digits"),
        (&["--serve-spotify", "1", "--mention", "x"], "cannot be used with '--mention"),
    ] {
        let output = demo.run(options).await;
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(options[0]) && stderr.contains(message), "{stderr}");
    }
    assert!(!demo.file.exists());
}
