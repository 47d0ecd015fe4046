//! Facts that must be in two places are the same in both: settings, defaults, ports, deadlines, layout, roles.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use spotify_bq::config::SETTINGS;

pub fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn default(name: &str) -> &'static str {
    SETTINGS.iter().find(|setting| setting.name == name).unwrap().default
}

/// Whether a text is written like the name of a setting.
fn is_setting(name: &str) -> bool {
    name.len() > 3 && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

/// The names that a text assigns a value to: `NAME = …` at the start of a line.
fn assigned(text: &str) -> BTreeSet<&str> {
    text.lines()
        .filter_map(|line| line.trim().split_once(" = ").map(|(name, _)| name.trim()))
        .filter(|name| is_setting(name))
        .collect()
}

/// The rows of a page whose first cell is the name of a setting.
fn setting_rows(page: &str) -> Vec<&str> {
    page.lines()
        .filter(|line| {
            let name = line.strip_prefix("| `").and_then(|rest| rest.split_once('`'));
            name.is_some_and(|(name, _)| is_setting(name))
        })
        .collect()
}

#[test]
fn the_settings_page_lists_every_setting() {
    let page = read("docs/settings.md");
    let missing: Vec<String> =
        SETTINGS.iter().map(|setting| setting.row()).filter(|row| !page.contains(row)).collect();
    assert!(missing.is_empty(), "docs/settings.md lacks the rows\n{}", missing.join("\n"));
    let rows = setting_rows(&page);
    assert_eq!(rows.len(), SETTINGS.len(), "docs/settings.md lists an unknown setting: {rows:#?}");
}

#[test]
fn the_portuguese_settings_page_lists_every_setting_with_its_default() {
    let page = read("docs/pt-BR/settings.md");
    let rows = setting_rows(&page);
    for setting in SETTINGS {
        let english = setting.row();
        let start = english.strip_suffix(&format!("{} |", setting.meaning)).unwrap();
        let count = rows.iter().filter(|row| row.starts_with(start)).count();
        assert_eq!(count, 1, "rows of docs/pt-BR/settings.md that start with {start}");
    }
    assert_eq!(rows.len(), SETTINGS.len(), "docs/pt-BR/settings.md lists an unknown setting");
}

#[test]
fn terraform_sets_or_leaves_out_every_setting() {
    let terraform = read("terraform/settings.tf");
    let mut settings: BTreeSet<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
    settings.extend(["GOOGLE_APPLICATION_CREDENTIALS", "GCE_METADATA_HOST"]);
    assert_eq!(assigned(&terraform), settings);
}

/// The text of all scripts in `deploy/`.
fn deploy_scripts() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let scripts = files.filter(|path| path.extension().is_some_and(|ending| ending == "sh"));
    scripts.map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

#[test]
fn the_deploy_page_quotes_messages_as_the_scripts_print_them() {
    let scripts = deploy_scripts();
    for page in ["docs/deploy.md", "docs/pt-BR/deploy.md"] {
        let text = read(page);
        // The symptoms of failed deployments: rows that start with a quoted sentence.
        let quoted: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
            .filter(|quoted| quoted.contains(' '))
            .filter(|quoted| quoted.starts_with(|c: char| c.is_ascii_uppercase()))
            .collect();
        assert!(quoted.len() >= 8, "{page}: {quoted:?}");
        for message in quoted {
            // `…` stands for what differs with each run.
            let printed = message.split('…').all(|part| scripts.contains(part));
            assert!(printed, "{page} quotes a message that no script prints: {message}");
        }
    }
}

#[test]
fn headings_that_the_deploy_scripts_name_exist() {
    let scripts = deploy_scripts();
    let named: Vec<(&str, &str)> = scripts
        .split("docs/")
        .skip(1)
        .filter_map(|rest| rest.split_once(".md, "))
        .filter(|(page, _)| page.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'))
        .map(|(page, rest)| (page, rest.split('.').next().unwrap()))
        .collect();
    assert!(!named.is_empty());
    for (page, heading) in named {
        let has_heading = read(&format!("docs/{page}.md")).contains(&format!("\n## {heading}\n"));
        assert!(has_heading, "docs/{page}.md has no heading {heading}");
    }
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
fn terraform_has_the_defaults_of_the_service() {
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

/// The paths that ARCHITECTURE.md lists, in its order.
fn layout() -> Vec<String> {
    let page = read("ARCHITECTURE.md");
    let layout = page.split("## Layout\n").nth(1).unwrap().split("```").nth(1).unwrap();
    let mut listed = Vec::new();
    for line in layout.lines().filter(|line| !line.is_empty()) {
        // `src/x.rs, x/   description`, or a single path.
        let paths = line.split("  ").next().unwrap();
        for (position, path) in paths.split(", ").enumerate() {
            let path = if position == 0 { path.to_owned() } else { format!("src/{path}") };
            listed.push(path.trim_end_matches('/').to_owned());
        }
    }
    listed
}

#[test]
fn the_architecture_page_shows_the_layout_of_src() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed = layout();
    for path in &listed {
        assert!(root.join(path).exists(), "ARCHITECTURE.md lists {path}, which does not exist");
    }
    for entry in std::fs::read_dir(root.join("src")).unwrap() {
        let path = format!("src/{}", entry.unwrap().file_name().to_str().unwrap());
        assert!(listed.contains(&path), "ARCHITECTURE.md does not list {path}");
    }
}

/// The source files below a folder, except those of tests.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && path.file_stem().is_some_and(|name| name != "tests")
        {
            found.push(path);
        }
    }
}

#[test]
fn modules_import_only_modules_that_the_architecture_page_lists_below_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let layout = layout();
    let modules: Vec<&str> =
        layout.iter().filter_map(|path| path.strip_prefix("src/")?.strip_suffix(".rs")).collect();
    let position = |name: &str| modules.iter().position(|module| *module == name);
    let mut found = Vec::new();
    sources(&root, &mut found);
    let mut wrong = BTreeSet::new();
    for path in found {
        let relative = path.strip_prefix(&root).unwrap().to_str().unwrap();
        let module = relative.split('/').next().unwrap().trim_end_matches(".rs");
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        for import in lines.flat_map(|line| line.split("crate::").skip(1)) {
            let end = import.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let imported = &import[..end.unwrap_or(import.len())];
            if position(imported) < position(module) && position(imported).is_some() {
                wrong.insert(format!("{relative} imports {imported}, which is listed above it"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_role_that_terraform_grants_is_explained() {
    let page = read("docs/least-privilege.md");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("terraform");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|ending| ending == "tf"));
    let terraform: String = files.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let roles: BTreeSet<&str> = terraform
        .split('"')
        .filter_map(|word| word.strip_prefix("roles/"))
        .filter(|role| role.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.'))
        .collect();
    assert!(roles.len() > 5, "{roles:?}");
    for role in roles {
        assert!(page.contains(role), "docs/least-privilege.md does not explain roles/{role}");
    }
}
