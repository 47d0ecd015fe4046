//! The sample's catalogue: invented shows and episodes, combined from the word lists of `data.json`.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use time::{Date, Duration, Month};

/// What a sample Spotify shows: any search finds all shows. Items may be null, as in Spotify's pages.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// The shows in the order of a search.
    pub shows: Vec<Value>,
    /// The episodes of each show, newest first.
    pub episodes: HashMap<String, Vec<Value>>,
}

#[derive(Deserialize)]
struct Words {
    show: Show,
    show_themes: Vec<String>,
    show_formats: Vec<String>,
    show_descriptions: Vec<String>,
    episode_themes: Vec<String>,
    episode_guests: Vec<String>,
    episode_descriptions: Vec<String>,
    mentions: Vec<String>,
}

#[derive(Deserialize)]
struct Show {
    name: String,
    description: String,
}

/// Every this many episodes, one mentions the sponsor.
const MENTION_EVERY: usize = 9;

/// The demo's catalogue: 66 shows of which one is null; the term's own has 75 episodes and two nulls.
pub fn sample() -> Catalog {
    // Compiled in, and read by every run of the tests.
    let Ok(words) = serde_json::from_str::<Words>(include_str!("data.json")) else {
        return Catalog::default();
    };
    let mut shows: Vec<Value> = Vec::new();
    let mut all = HashMap::new();
    let mut add = |name: &str, description: &str, most: usize| {
        let mut episodes = episodes(&words, name);
        episodes.truncate(most);
        let total = episodes.iter().filter(|episode| !episode.is_null()).count();
        let show = show(name, description, total);
        all.insert(id(name), episodes);
        show
    };
    let own = add(&words.show.name, &words.show.description, usize::MAX);
    for (at, format) in words.show_formats.iter().enumerate() {
        for (also, theme) in words.show_themes.iter().enumerate() {
            let name = format!("{theme} {format}");
            let description = &words.show_descriptions[(at + also) % words.show_descriptions.len()];
            shows.push(add(name.trim(), description, 7 + (at * 31 + also * 17) % 60));
        }
    }
    // As in life, the show that has the term's name is not the first that the search finds.
    shows.insert(2, own);
    shows[7] = Value::Null;
    Catalog { shows, episodes: all }
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

fn episodes(words: &Words, show: &str) -> Vec<Value> {
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
    episodes.insert(20, Value::Null);
    episodes.insert(55, Value::Null);
    episodes
}

/// An id with the form of Spotify's: 22 characters of base62.
pub fn id(name: &str) -> String {
    const DIGITS: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let hash = Sha256::digest(name.as_bytes());
    hash.iter().take(22).map(|byte| char::from(DIGITS[usize::from(*byte) % 62])).collect()
}
