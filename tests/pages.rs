//! The pages can be followed: links resolve, commands parse, example messages are valid, and the
//! Portuguese pages have the structure of the English ones.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser;
use spotify_bq::cli::Cli;
use spotify_bq::envelope::{Data, Message};
use spotify_bq::job;
use spotify_bq::names::{Naming, Term};

use crate::documents::{default, read};

/// A README is read from top to bottom; details go to docs/.
const MAX_README_LINES: usize = 150;

/// Every page, by its path in the repository.
fn pages() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = BTreeMap::new();
    for folder in ["", "docs", "docs/pt-BR", "deploy", "terraform", "examples/dbt"] {
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

/// Splits a page into its code blocks, each with its language, and its other lines.
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
    assert!(block.is_none(), "a code block has no end");
    (blocks, prose)
}

fn headings(page: &str) -> Vec<&str> {
    parts(page).1.into_iter().filter(|line| line.starts_with('#')).collect()
}

fn levels(page: &str) -> Vec<usize> {
    headings(page).iter().map(|line| line.find(' ').unwrap()).collect()
}

/// The anchors of a page's headings in their order, as GitHub generates them.
fn anchors(page: &str) -> Vec<String> {
    let anchor = |line: &str| {
        let text = line.trim_start_matches('#').trim().to_lowercase();
        let kept = text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings(page).into_iter().map(anchor).collect()
}

/// The targets of a page's links.
fn links(page: &str) -> Vec<String> {
    let prose = parts(page).1.join("\n");
    let ends = prose.match_indices("](").map(|(at, _)| &prose[at + 2..]);
    ends.map(|rest| rest.split(')').next().unwrap().to_owned()).collect()
}

/// Splits a link of a page into its path in the repository and its anchor.
fn resolved<'a>(page: &str, link: &'a str) -> (String, &'a str) {
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    if path.is_empty() {
        return (page.to_owned(), anchor);
    }
    let mut full = PathBuf::from(page);
    full.pop();
    for part in path.split('/') {
        match part {
            ".." => assert!(full.pop(), "{page} links out of the repository: {path}"),
            "." | "" => {}
            part => full.push(part),
        }
    }
    (full.to_str().unwrap().to_owned(), anchor)
}

fn is_external(link: &str) -> bool {
    link.starts_with("https://")
}

#[test]
fn links_resolve() {
    let pages = pages();
    assert!(pages.len() >= 9, "{:?}", pages.keys());
    let mut dead = Vec::new();
    for (name, page) in &pages {
        for link in links(page).iter().filter(|link| !is_external(link)) {
            let (target, anchor) = resolved(name, link);
            let exists = Path::new(env!("CARGO_MANIFEST_DIR")).join(&target).exists();
            let has_anchor = anchor.is_empty()
                || pages.get(&target).is_some_and(|page| anchors(page).iter().any(|a| a == anchor));
            if !exists || !has_anchor {
                dead.push(format!("{name}: {link}"));
            }
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
}

#[test]
fn a_page_has_one_title_and_skips_no_level() {
    for (name, page) in pages() {
        let levels = levels(&page);
        assert_eq!(levels.iter().filter(|level| **level == 1).count(), 1, "{name}");
        let skips = levels.windows(2).any(|pair| pair[1] > pair[0] + 1);
        assert!(levels[0] == 1 && !skips, "{name}: {levels:?}");
    }
}

#[test]
fn the_readmes_are_short() {
    for name in ["README.md", "README.pt-BR.md"] {
        let lines = read(name).lines().count();
        assert!(lines <= MAX_README_LINES, "{name} has {lines} lines: move details to docs/");
    }
}

/// The English page of a Portuguese one; `None` if the page is not a translation.
fn english_of(path: &str) -> Option<String> {
    let name = path.strip_prefix("docs/pt-BR/").map(|name| format!("docs/{name}"));
    name.or_else(|| path.strip_suffix(".pt-BR.md").map(|name| format!("{name}.md")))
}

/// The links of a page in a form that is the same in both languages: the English page, and the
/// position of the heading.
fn comparable_links(name: &str, page: &str, pages: &BTreeMap<String, String>) -> Vec<String> {
    let comparable = |link: String| {
        if is_external(&link) {
            return link;
        }
        let (target, anchor) = resolved(name, &link);
        let heading = pages
            .get(&target)
            .and_then(|page| anchors(page).iter().position(|candidate| candidate == anchor));
        format!("{} {heading:?}", english_of(&target).unwrap_or(target))
    };
    // Sorted, because the order of words in a sentence differs.
    let mut links: Vec<String> = links(page).into_iter().map(comparable).collect();
    links.sort();
    links
}

/// For each row of a page's tables: the code in its first cell, and the number of its cells.
fn rows(page: &str) -> Vec<(Vec<String>, usize)> {
    let rows = parts(page).1.into_iter().filter(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        (codes(cells[0]), cells.len())
    })
    .collect()
}

#[test]
fn each_portuguese_page_has_the_structure_of_its_english_page() {
    let pages = pages();
    let pairs: Vec<(&String, String)> =
        pages.keys().filter_map(|name| Some((name, english_of(name)?))).collect();
    for english in ["README.md", "docs/settings.md", "docs/deploy.md", "docs/from-the-notebook.md"]
    {
        assert!(pairs.iter().any(|(_, name)| name == english), "{english} has no translation");
    }
    for (name, english_name) in pairs {
        let (page, english) = (&pages[name], &pages[&english_name]);
        assert_eq!(levels(page), levels(english), "{name}: headings");
        let (blocks, english_blocks) = (parts(page).0, parts(english).0);
        assert_eq!(blocks.len(), english_blocks.len(), "{name}: code blocks");
        for (block, english) in blocks.iter().zip(&english_blocks) {
            assert_eq!(block.0, english.0, "{name}: language of a code block");
            // The labels of a diagram are translated.
            assert!(block.0 == "mermaid" || block == english, "{name}: {block:?}\n{english:?}");
        }
        assert_eq!(rows(page), rows(english), "{name}: tables");
        assert_eq!(
            comparable_links(name, page, &pages),
            comparable_links(&english_name, english, &pages),
            "{name}: links"
        );
    }
}

#[test]
fn portuguese_pages_link_to_portuguese_pages() {
    let pages = pages();
    let translation: BTreeMap<String, &String> =
        pages.keys().filter_map(|name| Some((english_of(name)?, name))).collect();
    let mut wrong = Vec::new();
    for (name, page) in &pages {
        let Some(english) = english_of(name) else { continue };
        for link in links(page).iter().filter(|link| !is_external(link)) {
            let (target, _) = resolved(name, link);
            // Each page links to its own other language.
            if target != english
                && let Some(translated) = translation.get(&target)
            {
                wrong.push(format!("{name}: {link} has a translation, {translated}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The text between backticks.
fn codes(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The commands of a page: shell lines, lines after a prompt, and code in sentences.
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

/// Splits a command into words, respecting quotes, without the settings before it.
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
fn every_command_parses() {
    let mut parsed = 0;
    for (name, page) in pages() {
        for command in commands(&page) {
            let words = words(&command);
            let arguments = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                ["cargo", "run", "--", ..] => &words[2..],
                ["spotify-bq", _, ..] => &words[..],
                _ => continue,
            };
            // clap reports --help and --version as errors that do not go to stderr.
            if let Some(error) =
                Cli::try_parse_from(arguments).err().filter(clap::Error::use_stderr)
            {
                panic!("{name}: {command}\n{error}");
            }
            parsed += 1;
        }
    }
    assert!(parsed > 20, "{parsed} commands were found");
}

#[test]
fn options_of_the_deploy_scripts_exist() {
    let mut checked = 0;
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
                checked += 1;
            }
        }
    }
    assert!(checked > 8, "{checked} options were found");
}

#[test]
fn every_terraform_variable_in_a_page_exists() {
    let variables: String = ["", "-access", "-data"]
        .iter()
        .map(|part| read(&format!("terraform/variables{part}.tf")))
        .collect();
    // A variable, or a key of a variable that is an object.
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
fn every_example_message_is_valid() {
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
fn the_query_uses_the_default_location_of_the_dataset() {
    let variables = read("terraform/variables-data.tf");
    let variable = variables.split("variable \"bigquery_location\"").nth(1).unwrap();
    let location = variable.split("default     = \"").nth(1).unwrap().split('"').next().unwrap();
    assert!(read("docs/tables.md").contains(&format!("`region-{}`", location.to_lowercase())));
}

#[test]
fn the_demo_prints_what_the_page_shows() {
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
    let printed = comparable_output(&String::from_utf8(demo.stdout).unwrap());
    let page = read("docs/captures.md");
    let (blocks, _) = parts(&page);
    let shown = blocks.iter().find_map(|(_, text)| text.strip_prefix("$ spotify-bq demo\n"));
    assert_eq!(comparable_output(shown.unwrap()), printed);
    assert!(
        printed.lines().all(|line| line.contains(".sqlite") || line.chars().count() <= 80),
        "{printed}"
    );
}

#[test]
fn the_readme_shows_a_part_of_what_the_demo_prints() {
    let captures = read("docs/captures.md");
    let (_, full) = captures.split_once("$ spotify-bq demo\n").unwrap();
    let full = comparable_output(full.split("```").next().unwrap());
    let readme = read("README.md");
    let (_, shown) = readme.split_once("$ cargo run -- demo\n").unwrap();
    let shown = comparable_output(shown.split("$ cargo test").next().unwrap());
    let mut printed = full.lines();
    for line in shown.lines().filter(|line| *line != "…") {
        assert!(
            printed.any(|printed| printed == line),
            "the demo does not print this here: {line}"
        );
    }
}

/// An output without what differs with each run: ports, times, and the path of the file.
fn comparable_output(output: &str) -> String {
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
