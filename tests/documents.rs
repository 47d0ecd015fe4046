//! What must stand in two places stands alike in both: settings, ports, deadlines.

use std::collections::BTreeSet;
use std::path::Path;

use spotify_bq::config::SETTINGS;

pub fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn default(name: &str) -> &'static str {
    SETTINGS.iter().find(|setting| setting.name == name).unwrap().default
}

/// The words of a text that look like `NAME = …` at the start of a line.
fn assigned(text: &str) -> BTreeSet<&str> {
    text.lines()
        .filter_map(|line| line.trim().split_once(" = ").map(|(name, _)| name.trim()))
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'))
        .collect()
}

#[test]
fn the_readme_lists_every_setting_as_it_is() {
    let readme = read("README.md");
    for setting in SETTINGS {
        assert!(readme.contains(&setting.row()), "README.md lacks the row\n{}", setting.row());
    }
    let rows = readme.lines().filter(|line| {
        line.strip_prefix("| `").and_then(|rest| rest.split_once('`')).is_some_and(|(name, _)| {
            name.len() > 3 && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
        })
    });
    assert_eq!(rows.count(), SETTINGS.len(), "README.md lists a setting that there is not");
}

#[test]
fn terraform_sets_every_setting_or_leaves_it_out_on_purpose() {
    let terraform = read("terraform/settings.tf");
    let mut ours: BTreeSet<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
    ours.extend(["GOOGLE_APPLICATION_CREDENTIALS", "GCE_METADATA_HOST"]);
    assert_eq!(assigned(&terraform), ours);
}

#[test]
fn port_and_health_path_are_the_same_everywhere() {
    assert!(read("Dockerfile").contains(&format!("\nEXPOSE {}\n", default("PORT"))));
    let service = read("terraform/service.tf");
    assert!(service.contains(&format!("container_port = {}", default("PORT"))));
    assert!(service.contains("path = \"/health\""));
    assert!(read("src/server.rs").contains(".route(\"/health\""));
}

#[test]
fn defaults_of_terraform_are_those_of_the_service() {
    let variables = read("terraform/variables-data.tf");
    for name in ["SEARCH_TERM", "MENTION", "SPOTIFY_MARKET", "BIGQUERY_DATASET"] {
        let quoted = format!("default     = \"{}\"", default(name));
        assert!(variables.contains(&quoted), "{name}: {quoted}");
    }
    for name in ["PODCASTS_TABLE", "EPISODES_TABLE", "MENTIONS_TABLE"] {
        assert!(variables.contains(&format!("optional(string, \"{}\")", default(name))), "{name}");
    }
}

#[test]
fn a_message_is_answered_before_its_ack_deadline() {
    let all: String = [
        "terraform/settings.tf",
        "terraform/pubsub.tf",
        "terraform/service.tf",
        "terraform/variables.tf",
    ]
    .iter()
    .map(|path| read(path))
    .collect();
    let deadline = default("MESSAGE_DEADLINE_SECONDS");
    let line = all.lines().find(|line| line.trim().starts_with("message_deadline_seconds"));
    assert!(line.is_some_and(|line| line.ends_with(deadline)), "{line:?} is not {deadline}");
}

#[test]
fn the_house_is_laid_out_as_the_architecture_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = read("ARCHITECTURE.md");
    let house = page.split("## The house\n\n```\n").nth(1).unwrap().split("```").next().unwrap();
    let mut listed = BTreeSet::new();
    for line in house.lines() {
        // `src/x.rs, x/   what it is`, or one path alone.
        let paths = line.split("  ").next().unwrap();
        for (at, path) in paths.split(", ").enumerate() {
            let path = if at == 0 { path.to_owned() } else { format!("src/{path}") };
            assert!(root.join(&path).exists(), "ARCHITECTURE.md lists {path}, which is not there");
            listed.insert(path.trim_end_matches('/').to_owned());
        }
    }
    for entry in std::fs::read_dir(root.join("src")).unwrap() {
        let path = format!("src/{}", entry.unwrap().file_name().to_str().unwrap());
        assert!(listed.contains(&path), "ARCHITECTURE.md does not list {path}");
    }
}
