//! The sample's catalogue: invented shows and episodes, combined from the word lists of `data.json`.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use time::{Date, Duration, Month};

use crate::text::fold;

/// What a sample Spotify shows. Items may be null, as in Spotify's pages.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// The shows that every search finds, in its order.
    pub shows: Vec<Value>,
    /// The shows that only a search for a part of their name finds, before all others.
    pub more: Vec<Value>,
    /// The episodes of each show, newest first.
    pub episodes: HashMap<String, Vec<Value>>,
}

impl Catalog {
    /// The shows that a search finds.
    pub(super) fn found(&self, query: &str) -> Vec<&Value> {
        let query = fold(query);
        let is_named =
            |show: &&Value| show["name"].as_str().is_some_and(|name| fold(name).contains(&query));
        self.more.iter().filter(is_named).chain(&self.shows).collect()
    }
}

#[derive(Deserialize)]
struct Words {
    show: Show,
    show_themes: Vec<String>,
    show_formats: Vec<String>,
    show_descriptions: Vec<String>,
    #[serde(flatten)]
    episodes: EpisodeWords,
    more: Vec<ShowWithEpisodes>,
}

/// What titles and descriptions are combined from.
#[derive(Deserialize)]
struct EpisodeWords {
    episode_themes: Vec<String>,
    episode_guests: Vec<String>,
    episode_descriptions: Vec<String>,
    mentions: Vec<String>,
}

#[derive(Deserialize)]
struct ShowWithEpisodes {
    #[serde(flatten)]
    show: Show,
    #[serde(flatten)]
    episodes: EpisodeWords,
}

#[derive(Deserialize)]
struct Show {
    name: String,
    description: String,
}

/// Every this many episodes, one mentions the sponsor.
const MENTION_EVERY: usize = 9;

/// The demo's catalogue: 66 shows of which one is null; the default term's own has 75 episodes and two
/// nulls. Two shows more have episodes on other themes, for those who try a term of their own.
pub fn sample() -> Catalog {
    // Compiled in, and read by every run of the tests.
    let Ok(words) = serde_json::from_str::<Words>(include_str!("data.json")) else {
        return Catalog::default();
    };
    let mut shows: Vec<Value> = Vec::new();
    let mut all = HashMap::new();
    let mut add = |name: &str, description: &str, of: &EpisodeWords, most: usize| {
        let mut episodes = episodes(of, name);
        episodes.truncate(most);
        let total = episodes.iter().filter(|episode| !episode.is_null()).count();
        let show = show(name, description, total);
        all.insert(id(name), episodes);
        show
    };
    let own = add(&words.show.name, &words.show.description, &words.episodes, usize::MAX);
    for (at, format) in words.show_formats.iter().enumerate() {
        for (also, theme) in words.show_themes.iter().enumerate() {
            let name = format!("{theme} {format}");
            let description = &words.show_descriptions[(at + also) % words.show_descriptions.len()];
            let most = 7 + (at * 31 + also * 17) % 60;
            shows.push(add(name.trim(), description, &words.episodes, most));
        }
    }
    // As in life, the show that has the term's name is not the first that the search finds.
    shows.insert(2, own);
    shows[7] = Value::Null;
    let more = words.more.iter();
    let more = more
        .map(|more| add(&more.show.name, &more.show.description, &more.episodes, usize::MAX))
        .collect();
    Catalog { shows, more, episodes: all }
}

fn show(name: &str, description: &str, total_episodes: usize) -> Value {
    let id = id(name);
    json!({
        "id": id, "name": name, "description": description,
        "html_description": format!("<p>{description}</p>"),
        "explicit": false, "languages": ["pt-BR"], "media_type": "audio", "type": "show",
        "total_episodes": total_episodes, "uri": format!("spotify:show:{id}"),
        "images": [], "copyrights": [], "external_urls": {}, "is_externally_hosted": null,
    })
}

fn episodes(words: &EpisodeWords, show: &str) -> Vec<Value> {
    let newest = Date::from_calendar_date(2026, Month::November, 17).unwrap_or(Date::MIN);
    let mut episodes = Vec::new();
    for (at, guest) in words.episode_guests.iter().enumerate() {
        for (also, theme) in words.episode_themes.iter().enumerate() {
            let number = at * words.episode_themes.len() + also;
            let mut description =
                words.episode_descriptions[number % words.episode_descriptions.len()].clone();
            if number % MENTION_EVERY == 4 {
                let mention = &words.mentions[number / MENTION_EVERY % words.mentions.len()];
                description = format!("{mention} {description}");
            }
            let date = newest - Duration::weeks(number as i64);
            let (release_date, precision) = match number {
                73 => ("2025-06".to_owned(), "month"),
                74 => ("2025".to_owned(), "year"),
                _ => (date.to_string(), "day"),
            };
            let name = format!("{theme} — {guest}");
            let id = id(&format!("{show} {name}"));
            let mut episode = json!({
                "id": id, "name": name, "description": description,
                "html_description": format!("<p>{description}</p>"),
                "release_date": release_date, "release_date_precision": precision,
                "duration_ms": 1_500_000 + number * 12_345, "explicit": number % 25 == 3,
                "languages": ["pt-BR"], "type": "episode", "is_playable": true,
                "uri": format!("spotify:episode:{id}"), "images": [], "external_urls": {},
                "audio_preview_url": null, "is_externally_hosted": false,
            });
            // Deprecated, and often absent.
            if number.is_multiple_of(2) {
                episode["language"] = json!("pt-BR");
            }
            episodes.push(episode);
        }
    }
    for null in [20, 55] {
        if null < episodes.len() {
            episodes.insert(null, Value::Null);
        }
    }
    episodes
}

/// An id with the form of Spotify's: 22 characters of base62.
pub fn id(name: &str) -> String {
    const DIGITS: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let hash = Sha256::digest(name.as_bytes());
    hash.iter().take(22).map(|byte| char::from(DIGITS[usize::from(*byte) % 62])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(query: &str) -> String {
        sample().found(query)[0]["name"].as_str().unwrap().to_owned()
    }

    #[test]
    fn only_a_part_of_its_name_finds_one_of_the_other_shows() {
        let sample = sample();
        for query in ["data hackers", "mamilos", "café com código"] {
            let found = sample.found(query);
            assert_eq!(found.len(), 66, "{query}");
            assert_eq!(found[2]["name"], "Data Hackers");
        }
        assert_eq!(first("HÓRTA do vizinho"), "Horta do Vizinho");
        assert_eq!(
            (first("horta").as_str(), sample.found("horta").len()),
            ("Horta na Varanda", 68)
        );
        for show in &sample.more {
            let episodes = &sample.episodes[show["id"].as_str().unwrap()];
            let shown = episodes.iter().filter(|episode| !episode.is_null()).count();
            assert!(shown >= 20 && show["total_episodes"] == shown, "{show}");
        }
    }
}
