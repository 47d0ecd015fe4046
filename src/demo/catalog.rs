//! The catalog of the simulated Spotify: fictitious shows and episodes, combined from the lists of words in
//! `data.json`.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use time::{Date, Duration, Month};

use crate::text::fold;

/// The contents of a simulated Spotify. Items may be null, as in Spotify's pages.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// The shows that every search finds, in this order.
    pub shows: Vec<Value>,
    /// The shows that only a search for a part of their name finds, before all others.
    pub hidden_shows: Vec<Value>,
    /// The episodes of each show, newest first.
    pub episodes: HashMap<String, Vec<Value>>,
}

impl Catalog {
    /// Returns the shows that a search finds.
    pub(super) fn search(&self, query: &str) -> Vec<&Value> {
        let query = fold(query);
        let is_named =
            |show: &&Value| show["name"].as_str().is_some_and(|name| fold(name).contains(&query));
        self.hidden_shows.iter().filter(is_named).chain(&self.shows).collect()
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
    hidden_shows: Vec<ShowWithEpisodes>,
}

/// The parts of titles and descriptions.
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

/// One of this many episodes mentions the sponsor.
const MENTION_INTERVAL: usize = 9;

/// Returns the demo's catalog: 66 shows, one of them null, and two hidden ones for other search terms.
/// The show of the default term has 75 episodes and two nulls.
pub fn sample() -> Catalog {
    // Cannot fail: the file is compiled in, and the tests parse it.
    let Ok(words) = serde_json::from_str::<Words>(include_str!("data.json")) else {
        return Catalog::default();
    };
    let mut shows: Vec<Value> = Vec::new();
    let mut all_episodes = HashMap::new();
    let mut add = |name: &str, description: &str, words: &EpisodeWords, max_episodes: usize| {
        let mut episodes = episodes(words, name);
        episodes.truncate(max_episodes);
        let total = episodes.iter().filter(|episode| !episode.is_null()).count();
        let show = show(name, description, total);
        all_episodes.insert(id(name), episodes);
        show
    };
    let default_show = add(&words.show.name, &words.show.description, &words.episodes, usize::MAX);
    for (i, format) in words.show_formats.iter().enumerate() {
        for (j, theme) in words.show_themes.iter().enumerate() {
            let name = format!("{theme} {format}");
            let description = &words.show_descriptions[(i + j) % words.show_descriptions.len()];
            let max_episodes = 7 + (i * 31 + j * 17) % 60;
            shows.push(add(name.trim(), description, &words.episodes, max_episodes));
        }
    }
    // As on Spotify, the show that has the term's name is not the first result.
    shows.insert(2, default_show);
    shows[7] = Value::Null;
    let hidden_shows = words.hidden_shows.iter();
    let hidden_shows = hidden_shows
        .map(|words| add(&words.show.name, &words.show.description, &words.episodes, usize::MAX))
        .collect();
    Catalog { shows, hidden_shows, episodes: all_episodes }
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
    for (i, guest) in words.episode_guests.iter().enumerate() {
        for (j, theme) in words.episode_themes.iter().enumerate() {
            let number = i * words.episode_themes.len() + j;
            let mut description =
                words.episode_descriptions[number % words.episode_descriptions.len()].clone();
            if number % MENTION_INTERVAL == 4 {
                let mention = &words.mentions[number / MENTION_INTERVAL % words.mentions.len()];
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

/// Returns an ID in Spotify's format, 22 base62 digits, for a name.
pub fn id(name: &str) -> String {
    const DIGITS: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let hash = Sha256::digest(name.as_bytes());
    hash.iter().take(22).map(|byte| char::from(DIGITS[usize::from(*byte) % 62])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(query: &str) -> String {
        sample().search(query)[0]["name"].as_str().unwrap().to_owned()
    }

    #[test]
    fn hidden_shows_are_found_only_by_a_part_of_their_name() {
        let sample = sample();
        for query in ["data hackers", "mamilos", "café com código"] {
            let found = sample.search(query);
            assert_eq!(found.len(), 66, "{query}");
            assert_eq!(found[2]["name"], "Data Hackers");
        }
        assert_eq!(first("HÓRTA do vizinho"), "Horta do Vizinho");
        assert_eq!(
            (first("horta").as_str(), sample.search("horta").len()),
            ("Horta na Varanda", 68)
        );
        for show in &sample.hidden_shows {
            let episodes = &sample.episodes[show["id"].as_str().unwrap()];
            let shown = episodes.iter().filter(|episode| !episode.is_null()).count();
            assert!(shown >= 20 && show["total_episodes"] == shown, "{show}");
        }
    }
}
