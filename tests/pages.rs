//! What the pages say can be followed: links lead somewhere, commands parse, example messages are
//! messages of ours, and the two READMEs say the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser;
use spotify_bq::cli::Cli;
use spotify_bq::envelope::{Data, Message};
use spotify_bq::job;
use spotify_bq::names::{Naming, Term};

use crate::documents::{default, read};

const READMES: [&str; 2] = ["README.md", "README.pt-BR.md"];

/// Every page of the repository, by its path in it.
fn pages() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = BTreeMap::new();
    for folder in ["", "docs", "deploy", "terraform", "examples/dbt"] {
        let Ok(files) = std::fs::read_dir(root.join(folder)) else { continue };
        for file in files.map(|file| file.unwrap().path()) {
            if file.extension().is_some_and(|extension| extension == "md") {
                let name = file.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                pages.insert(name.clone(), read(&name));
            }
        }
    }
    pages
}

/// A page's blocks of code, each with its language, and the rest of its lines.
fn parts(page: &str) -> (Vec<(String, String)>, Vec<&str>) {
    let (mut blocks, mut prose, mut block) = (Vec::new(), Vec::new(), None);
    for line in page.lines() {
        match (line.strip_prefix("```"), block.take()) {
            (Some(language), None) => block = Some((language.to_owned(), String::new())),
            (Some(_), Some(done)) => blocks.push(done),
            (None, Some((language, text))) => block = Some((language, text + line + "\n")),
            (None, None) => prose.push(line),
        }
    }
    assert!(block.is_none(), "a block of code has no end");
    (blocks, prose)
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = parts(page).1.into_iter().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let text = line.trim_start_matches('#').trim().to_lowercase();
            let kept = text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

/// The targets of a page's links.
fn links(page: &str) -> Vec<String> {
    let prose = parts(page).1.join("\n");
    let ends = prose.match_indices("](").map(|(at, _)| &prose[at + 2..]);
    ends.map(|rest| rest.split(')').next().unwrap().to_owned()).collect()
}

#[test]
fn links_lead_somewhere() {
    let pages = pages();
    assert!(pages.len() >= 9, "{:?}", pages.keys());
    let mut dead = Vec::new();
    for (name, page) in &pages {
        for link in links(page) {
            if link.starts_with("https://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() { name.clone() } else { resolved(name, path) };
            let there = Path::new(env!("CARGO_MANIFEST_DIR")).join(&target).exists();
            let anchored = anchor.is_empty()
                || pages.get(&target).is_some_and(|page| anchors(page).contains(anchor));
            if !there || !anchored {
                dead.push(format!("{name}: {link}"));
            }
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
}

/// A link's path in the repository.
fn resolved(page: &str, path: &str) -> String {
    let mut full = PathBuf::from(page);
    full.pop();
    for part in path.split('/') {
        match part {
            ".." => assert!(full.pop(), "{page} links out of the repository: {path}"),
            "." | "" => {}
            part => full.push(part),
        }
    }
    full.to_str().unwrap().to_owned()
}

#[test]
fn a_page_has_one_title_and_skips_no_level() {
    for (name, page) in pages() {
        let headings = parts(&page).1.into_iter().filter(|line| line.starts_with('#'));
        let levels: Vec<usize> = headings.map(|line| line.find(' ').unwrap()).collect();
        assert_eq!(levels.iter().filter(|level| **level == 1).count(), 1, "{name}");
        let skips = levels.windows(2).any(|pair| pair[1] > pair[0] + 1);
        assert!(levels[0] == 1 && !skips, "{name}: {levels:?}");
    }
}

#[test]
fn both_readmes_say_the_same() {
    let [english, portuguese] = READMES.map(read);
    let ((blocks, prose), (their_blocks, their_prose)) = (parts(&english), parts(&portuguese));
    let levels = |prose: &[&str]| -> Vec<usize> {
        let headings = prose.iter().filter(|line| line.starts_with('#'));
        headings.map(|line| line.find(' ').unwrap()).collect()
    };
    assert_eq!(levels(&prose), levels(&their_prose), "headings");

    let languages = |blocks: &[(String, String)]| -> Vec<String> {
        blocks.iter().map(|(language, _)| language.clone()).collect()
    };
    assert_eq!(languages(&blocks), languages(&their_blocks));
    for (ours, theirs) in blocks.iter().zip(&their_blocks).filter(|(ours, _)| ours.0 != "mermaid") {
        assert_eq!(ours, theirs, "blocks of code");
    }

    // Of each row of a table: what is code in its first cell, and how many cells it has.
    let rows = |prose: &[&str]| -> Vec<(Vec<String>, usize)> {
        let rows = prose.iter().filter(|line| line.starts_with('|'));
        rows.map(|row| {
            let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
            (codes(cells[0]), cells.len())
        })
        .collect()
    };
    assert_eq!(rows(&prose), rows(&their_prose), "tables");

    let settings = |prose: &[&str]| -> Vec<String> {
        let rows =
            prose.iter().filter(|line| line.starts_with("| `") && line.split('|').count() == 5);
        rows.map(|row| row.rsplit_once("| ").unwrap().0.to_owned())
            .filter(|row| row.bytes().skip(3).take(3).all(|byte| byte.is_ascii_uppercase()))
            .collect()
    };
    assert_eq!(settings(&prose), settings(&their_prose), "settings and their defaults");
    assert_eq!(settings(&prose).len(), spotify_bq::config::SETTINGS.len());

    let targets = |page: &str| -> Vec<String> {
        let mut links = links(page);
        links.retain(|link| !READMES.contains(&link.as_str()));
        links
    };
    assert_eq!(targets(&english), targets(&portuguese), "links");
}

/// What stands between backticks.
fn codes(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// All that is a command: lines of shell, lines after a prompt, and code in a sentence.
fn commands(page: &str) -> Vec<String> {
    let (blocks, prose) = parts(page);
    let mut commands = Vec::new();
    for (language, text) in blocks {
        let joined = text.replace("\\\n", " ");
        let shell = joined.lines().filter_map(|line| match language.as_str() {
            "sh" => Some(line),
            "text" => line.strip_prefix("$ "),
            _ => None,
        });
        commands.extend(shell.map(str::to_owned));
    }
    commands.extend(prose.iter().flat_map(|line| codes(line)));
    commands
}

/// A command's words; quotes hold a word together, and settings before the command are left out.
fn words(command: &str) -> Vec<String> {
    let command = command.split(" # ").next().unwrap_or_default();
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in command.chars() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('\'' | '"', None) => quote = Some(c),
            (' ', None) => words.push(std::mem::take(&mut word)),
            (c, _) => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    let is_setting = |word: &String| {
        word.split_once('=').is_some_and(|(name, _)| {
            name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
        })
    };
    words.into_iter().skip_while(is_setting).collect()
}

#[test]
fn every_command_of_ours_parses() {
    let mut parsed = 0;
    for (name, page) in pages() {
        for command in commands(&page) {
            let words = words(&command);
            let ours = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                ["cargo", "run", "--", ..] => &words[2..],
                ["spotify-bq", _, ..] => &words[..],
                _ => continue,
            };
            // Help and version are no command's run, and no error either.
            if let Some(error) = Cli::try_parse_from(ours).err().filter(clap::Error::use_stderr) {
                panic!("{name}: {command}\n{error}");
            }
            parsed += 1;
        }
    }
    assert!(parsed > 20, "{parsed} commands were found");
}

#[test]
fn options_of_the_deploy_scripts_exist() {
    let mut looked_at = 0;
    for (name, page) in pages() {
        for command in commands(&page) {
            let words = words(&command);
            let Some(script) = words.first().map(|word| word.trim_start_matches("../")) else {
                continue;
            };
            if !script.starts_with("deploy/") || !script.ends_with(".sh") {
                continue;
            }
            let text = read(script);
            for option in words[1..].iter().filter(|word| word.starts_with("--")) {
                let known = text.contains(&format!("    {option})")) || option == "--help";
                assert!(known, "{name}: {script} has no option {option}");
                looked_at += 1;
            }
        }
    }
    assert!(looked_at > 8, "{looked_at} options were found");
}

#[test]
fn variables_that_are_named_are_terraforms() {
    let variables: String = ["", "-access", "-data"]
        .iter()
        .map(|part| read(&format!("terraform/variables{part}.tf")))
        .collect();
    // A variable of its own, or a key of one that is an object.
    let is_known = |name: &str| {
        let key = |line: &str| line.trim().split_once('=').map(|(key, _)| key.trim() == name);
        variables.contains(&format!("variable \"{name}\""))
            || variables.lines().any(|line| key(line) == Some(true))
    };
    for (page, text) in pages() {
        let (blocks, prose) = parts(&text);
        let in_blocks =
            blocks.iter().filter(|(language, _)| language == "hcl").flat_map(|(_, text)| {
                let top = text.lines().filter(|line| !line.starts_with([' ', '}', '#']));
                top.filter_map(|line| line.split_once('=')).map(|(name, _)| name.trim().to_owned())
            });
        let in_prose = prose.iter().flat_map(|line| codes(line)).filter_map(|code| {
            let (name, _) = code.split_once(" = ")?;
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
                .then(|| name.to_owned())
        });
        for name in in_blocks.chain(in_prose) {
            assert!(is_known(&name), "{page}: terraform has no variable {name}");
        }
    }
}

#[test]
fn every_example_message_is_a_message_of_ours() {
    let naming = Naming {
        term: Term::parse(default("SEARCH_TERM")).unwrap(),
        tables: ["PODCASTS_TABLE", "EPISODES_TABLE", "MENTIONS_TABLE"]
            .map(|name| default(name).to_owned()),
    };
    let mut messages = 0;
    for (name, page) in pages() {
        for word in commands(&page).iter().flat_map(|command| words(command)) {
            let message = |data: &str, attributes: &[(&str, &str)]| Message {
                id: "1".to_owned(),
                publish_time: String::new(),
                data: Data::Bytes(data.as_bytes().to_vec()),
                attributes: attributes
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                    .collect(),
            };
            let message = if let Some(data) = word.strip_prefix("--message=") {
                message(data, &[])
            } else if let Some(attribute) = word.strip_prefix("--attribute=") {
                message("", &[attribute.split_once('=').unwrap()])
            } else {
                continue;
            };
            if let Err(refused) = job::parse(&message, &naming) {
                panic!("{name}: {word}: {refused}");
            }
            messages += 1;
        }
    }
    assert!(messages >= 6, "{messages} messages were found");
}

#[test]
fn the_query_asks_where_the_dataset_is_made() {
    let variables = read("terraform/variables-data.tf");
    let variable = variables.split("variable \"bigquery_location\"").nth(1).unwrap();
    let location = variable.split("default     = \"").nth(1).unwrap().split('"').next().unwrap();
    assert!(read("docs/tables.md").contains(&format!("`region-{}`", location.to_lowercase())));
}

#[test]
fn the_demo_looks_as_it_is_shown() {
    let folder = std::env::temp_dir().join(format!("spotify-bq-demo-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let demo = Command::new(env!("CARGO_BIN_EXE_spotify-bq"))
        .arg("demo")
        .env_clear()
        .current_dir(&folder)
        .output()
        .unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(demo.status.success(), "{demo:?}");
    let seen = same_each_time(&String::from_utf8(demo.stdout).unwrap());
    let page = read("docs/captures.md");
    let (blocks, _) = parts(&page);
    let shown = blocks.iter().find_map(|(_, text)| text.strip_prefix("$ spotify-bq demo\n"));
    assert_eq!(same_each_time(shown.unwrap()), seen);
    assert!(
        seen.lines().all(|line| line.contains(".sqlite") || line.chars().count() <= 80),
        "{seen}"
    );
}

/// An output without what differs with each run: ports, times, where the file is.
fn same_each_time(output: &str) -> String {
    let line = |line: &str| match line.split_once("127.0.0.1:").or_else(|| line.rsplit_once(" (")) {
        Some((before, after)) if after.ends_with(" s)") => before.to_owned(),
        Some((before, after)) if line.contains("127.0.0.1") => {
            format!("{before}{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
        }
        _ if line.contains(".sqlite") => line.split('/').next().unwrap().to_owned(),
        _ => line.to_owned(),
    };
    output.trim_end().lines().map(line).collect::<Vec<_>>().join("\n")
}
