//! The items of listings. Serialized, an item is a row of its table.

use serde::{Deserialize, Deserializer, Serialize};

use super::fields::{Fields, present};
use super::object::object;

/// A show, with the columns of `podcasts`.
#[derive(Debug, Serialize)]
pub(crate) struct Show {
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    /// Never blank.
    pub(crate) id: Option<String>,
    pub(crate) total_episodes: Option<i64>,
    /// The number of fields that are `None` because their value has the wrong type.
    #[serde(skip)]
    pub(crate) malformed: u32,
}

impl<'de> Deserialize<'de> for Show {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const KEYS: &[&str; 4] = &["id", "name", "description", "total_episodes"];
        let [id, name, description, total_episodes] = object(deserializer, KEYS)?;
        let mut fields = Fields::default();
        Ok(Self {
            name: fields.text(name),
            description: fields.text(description),
            id: id.and_then(present),
            total_episodes: fields.whole(total_episodes),
            malformed: fields.malformed,
        })
    }
}

/// An episode, with the columns of `episodes`.
#[derive(Debug, Serialize)]
pub(crate) struct Episode {
    /// Never blank.
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    /// As Spotify writes it; may not be a date. A row has a date or `None`.
    pub(crate) release_date: Option<String>,
    pub(crate) duration_ms: Option<i64>,
    /// `language`, which is deprecated, or the first of `languages`; never blank.
    pub(crate) language: Option<String>,
    pub(crate) explicit: Option<bool>,
    pub(crate) r#type: Option<String>,
    /// The number of fields that are `None` because their value has the wrong type.
    #[serde(skip)]
    pub(crate) malformed: u32,
}

impl<'de> Deserialize<'de> for Episode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const KEYS: &[&str; 9] = &[
            "id",
            "name",
            "description",
            "release_date",
            "duration_ms",
            "language",
            "languages",
            "explicit",
            "type",
        ];
        let [id, name, description, date, duration, language, languages, explicit, r#type] =
            object(deserializer, KEYS)?;
        let mut fields = Fields::default();
        Ok(Self {
            id: id.and_then(present),
            name: fields.text(name),
            description: fields.text(description),
            release_date: fields.text(date),
            duration_ms: fields.whole(duration),
            language: fields.first_text(language, languages),
            explicit: fields.flag(explicit),
            r#type: fields.text(r#type),
            malformed: fields.malformed,
        })
    }
}
