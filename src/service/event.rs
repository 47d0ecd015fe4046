//! Builds the event that is published after a load.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::Serialize;

use crate::publisher::MessageContent;
use crate::text;
use crate::warehouse::{CompletedLoad, Load};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    table: &'a str,
    kind: &'a str,
    term: &'a str,
    show_id: Option<&'a str>,
    show: Option<&'a str>,
    rows: Option<u64>,
    job_id: &'a str,
    message_id: &'a str,
    read_at: Option<String>,
    shared_reading: Option<bool>,
    loaded_at: String,
}

/// Builds the event of a load. If an earlier delivery did it, the show's name is unknown: it is not in the labels of
/// the load job.
pub(super) fn loaded_event(load: &Load, loaded: &CompletedLoad) -> MessageContent {
    let origin = loaded.origin.as_ref();
    let show = origin.and_then(|origin| origin.show.as_ref());
    let show_id = show.map(|show| &show.id).or(load.job.show.as_ref());
    let (table, kind) = (load.job.table.as_str(), load.job.kind.name());
    let data = Data {
        table,
        kind,
        term: load.job.term.text(),
        show_id: show_id.map(|show| show.as_str()),
        show: show.and_then(|show| show.name.as_deref()),
        rows: loaded.rows,
        job_id: &loaded.job_id,
        message_id: &load.message_id,
        read_at: origin.map(|origin| text::rfc3339(origin.read_at)),
        shared_reading: origin.and_then(|origin| origin.shared),
        loaded_at: text::rfc3339(loaded.ended_at.unwrap_or_else(SystemTime::now)),
    };
    MessageContent {
        // Strings, numbers and booleans always serialize.
        data: serde_json::to_vec(&data).unwrap_or_default(),
        attributes: BTreeMap::from(
            [("kind", kind), ("table", table)]
                .map(|(key, value)| (key.to_owned(), value.to_owned())),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use serde_json::{Value, json};

    use super::*;
    use crate::job::Job;
    use crate::names::{ChosenShow, Kind, ShowId, ShowMatch, Term};
    use crate::warehouse::Origin;

    fn job(kind: Kind) -> Job {
        Job {
            kind,
            term: Term::parse("Café").unwrap(),
            show: None,
            table: format!("{kind}_cafe"),
            max_missing_percent: 2,
        }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 999)
    }

    fn data(event: &MessageContent) -> Value {
        serde_json::from_slice(&event.data).unwrap()
    }

    fn id() -> ShowId {
        ShowId::parse("1oMIHOXsrLFENAeM743g93").unwrap()
    }

    #[test]
    fn the_event_is_the_same_from_the_load_and_from_its_job() {
        let job = job(Kind::Episodes);
        let load = Load::new(&job, "p.d", "77", "");
        let named = |name: Option<&str>| {
            let name = name.map(str::to_owned);
            let show = ChosenShow { id: id(), name, matched_by: Some(ShowMatch::Name) };
            Origin { show: Some(show), read_at: at(1), shared: Some(true), listed: None }
        };
        let mut loaded = CompletedLoad {
            job_id: "j_0".to_owned(),
            by_earlier_delivery: false,
            rows: Some(75),
            ended_at: Some(at(9)),
            origin: Some(named(Some("Café"))),
        };
        let first = loaded_event(&load, &loaded);
        let mut expected = json!({
            "table": "episodes_cafe", "kind": "episodes", "term": "Café",
            "showId": "1oMIHOXsrLFENAeM743g93", "show": "Café", "rows": 75, "jobId": "j_0",
            "messageId": "77", "readAt": "1970-01-01T00:00:01Z", "sharedReading": true,
            "loadedAt": "1970-01-01T00:00:09Z",
        });
        assert_eq!(data(&first), expected);
        let attributes: Vec<_> = first.attributes.iter().collect();
        let [(kind, episodes), (table, name)] = attributes[..] else { panic!("{attributes:?}") };
        assert_eq!((kind.as_str(), episodes.as_str()), ("kind", "episodes"));
        assert_eq!((table.as_str(), name.as_str()), ("table", "episodes_cafe"));

        // The job's labels have all but the show's name.
        loaded.origin = Some(named(None));
        expected["show"] = Value::Null;
        assert_eq!(data(&loaded_event(&load, &loaded)), expected);
    }

    #[test]
    fn unknown_values_are_null() {
        let job = job(Kind::Podcasts);
        let load = Load::new(&job, "p.d", "77", "");
        let loaded = CompletedLoad {
            job_id: "j_0".to_owned(),
            by_earlier_delivery: true,
            rows: None,
            ended_at: None,
            origin: None,
        };
        let data = data(&loaded_event(&load, &loaded));
        for key in ["showId", "show", "rows", "readAt", "sharedReading"] {
            assert_eq!(data.get(key), Some(&Value::Null), "{key}");
        }
        assert_eq!(data.as_object().unwrap().len(), 11);
        assert!(data["loadedAt"].as_str().unwrap().ends_with('Z'));
    }
}
