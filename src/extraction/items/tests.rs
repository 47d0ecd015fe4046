use proptest::collection::{hash_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::*;
use crate::spotify::wire;

fn read(items: &str) -> PageRows {
    let body = format!(r#"{{"items":[{items}],"total":1}}"#);
    super::episodes(wire::episodes(body.as_bytes()).unwrap().items)
}

fn lines(page: &PageRows) -> Vec<Value> {
    let text = std::str::from_utf8(&page.text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_malformed_field_is_null_and_counted_and_the_others_stay() {
    let page = read(
        r#"{"id":"a","name":5,"description":"d\n","release_date":{},"duration_ms":2345.0,
            "language":"","languages":[null,"pt"],"explicit":0,"type":["episode"]},
           {"id":"b","release_date":"0000","languages":[null],"duration_ms":{"ms":1}}"#,
    );
    let expected = [
        json!({"id": "a", "name": null, "description": "d\n", "release_date": null,
            "duration_ms": 2345, "language": "pt", "explicit": null, "type": null}),
        json!({"id": "b", "name": null, "description": null, "release_date": null,
            "duration_ms": null, "language": null, "explicit": null, "type": null}),
    ];
    assert_eq!(lines(&page), expected);
    assert_eq!((page.malformed, page.undated, page.nulls), (5, 2, 0));
    let ids: Vec<&str> = page.items.iter().map(|(id, _)| &**id).collect();
    assert_eq!((ids, page.items[1].1), (vec!["a", "b"], page.text.len()));
}

#[test]
fn an_item_without_an_id_is_skipped_and_its_fields_are_not_counted() {
    let page = read(
        r#"null,5,"text",[],["a"],{},{"id":null},{"id":""},{"id":" "},{"id":5},{"id":{}},
           {"id":null,"languages":[null],"release_date":"0000","name":null,"explicit":0}"#,
    );
    assert!(page.text.is_empty() && page.items.is_empty());
    assert_eq!((page.nulls, page.malformed, page.undated), (12, 0, 0));
}

#[test]
fn a_mention_in_name_or_description_is_found_in_any_spelling() {
    let phrases = Phrases::parse("Grupo Boticário | Casa Magalhães").unwrap();
    let page = read(
        r#"{"id":"a","name":"x","description":"grupo x boticário"},
           {"id":"b","name":"GRUPO\u00a0BOTIC\u2060ÁRIO"},
           {"id":"c","name":null,"description":"\"na casa\nmagalhaes\""},
           {"id":"d","description":{"grupo boticario":1}}"#,
    );
    let mut rows = Rows::default();
    page.append_to(&mut rows, &mut HashSet::new(), usize::MAX);
    let (found, undated) = mentions(&rows, &phrases);
    let ids: Vec<Value> = found
        .lines()
        .map(|line| serde_json::from_slice::<Value>(line).unwrap()["id"].clone())
        .collect();
    assert_eq!((ids, undated), (vec![json!("b"), json!("c")], 2));
}

#[test]
fn dates_of_each_precision() {
    for (given, expected) in [
        ("1981-12-15", Some("1981-12-15")),
        ("1981-12", Some("1981-12-01")),
        ("1981", Some("1981-01-01")),
        ("2024-02-29", Some("2024-02-29")),
        ("2023-02-29", None),
        ("0000", None),
        ("1981-13", None),
        ("1981-1-1", None),
        ("1981-01-01-01", None),
        ("19810101", None),
        ("", None),
        ("+981", None),
    ] {
        assert_eq!(parse_release_date(given).as_deref(), expected, "{given:?}");
    }
}

/// Any JSON, with lone surrogates, numbers of any size, deep nesting and duplicate keys.
fn any_json() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-z é🎧'/]{0,6}".boxed(),
        any::<u16>().prop_map(|unit| format!("\\u{unit:04x}")).boxed(),
        one_of(&["\\n", "\\\\", "\\\"", "\\u0000", "0000", "1981-12", "-"]).boxed(),
    ];
    let text = vec(piece, 0..5).prop_map(|pieces| format!("\"{}\"", pieces.concat()));
    let leaf = prop_oneof![
        one_of(&["null", "true", "false", "0", "\"\"", "1e999", "-0.0", "\"70\""]).boxed(),
        "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,4})?([eE][+-]?[0-9]{1,4})?".boxed(),
        text.clone().boxed(),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let list = vec(inner.clone(), 0..4).prop_map(|all| format!("[{}]", all.join(",")));
        let field = (text.clone(), inner).prop_map(|(key, value)| format!("{key}:{value}"));
        let object = vec(field, 0..4).prop_map(|all| format!("{{{}}}", all.join(",")));
        prop_oneof![list, object]
    })
}

fn one_of(choices: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(choices).prop_map(str::to_owned)
}

/// Any JSON in any fields of an item.
fn any_fields() -> impl Strategy<Value = std::collections::HashMap<&'static str, String>> {
    const FIELDS: &[&str] = &[
        "name",
        "description",
        "release_date",
        "duration_ms",
        "language",
        "languages",
        "explicit",
        "type",
        "total_episodes",
        "uri",
    ];
    hash_map(select(FIELDS), any_json(), 0..9)
}

proptest! {
    #[test]
    fn any_json_in_any_field_of_an_item_never_fails_the_page(
        fields in any_fields(),
        id in any_json(),
        item in any_json(),
        page_fields in hash_map(select(&["total", "next", "href", "limit"][..]), any_json(), 0..4),
    ) {
        let listed = |fields: &std::collections::HashMap<&str, String>| -> String {
            fields.iter().map(|(key, value)| format!(",\"{key}\":{value}")).collect()
        };
        let (fields, page_fields) = (listed(&fields), listed(&page_fields));
        let items = format!(
            r#"{{"id":"a"}},{{"id":{id},"id":"tested"{fields}}},{item},{{"id":{id}{fields}}},{{"id":"z"}}"#
        );
        for (page, name) in [
            (
                wire::episodes(format!(r#"{{"items":[{items}]{page_fields}}}"#).as_bytes())
                    .map(|page| super::episodes(page.items)),
                "episodes",
            ),
            (
                wire::shows(format!(r#"{{"shows":{{"items":[{items}]{page_fields}}}}}"#).as_bytes())
                    .map(|page| super::podcasts(page.items)),
                "podcasts",
            ),
        ] {
            let page = page.map_err(|why| TestCaseError::fail(format!("{name}: {why}")))?;
            let rows = lines(&page);
            let ids: Vec<&str> = rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
            prop_assert!(ids.starts_with(&["a", "tested"]) && ids.ends_with(&["z"]), "{ids:?}");
            prop_assert_eq!(page.nulls + rows.len() as u64, 5);
        }
    }

    #[test]
    fn only_malformed_fields_become_null_and_they_are_counted(fields in any_fields()) {
        let listed: String =
            fields.iter().map(|(key, value)| format!(",\"{key}\":{value}")).collect();
        let page = read(&format!(r#"{{"id":"a"{listed}}}"#));
        let row = &lines(&page)[0];
        let given = |field: &str| fields.get(field).map_or("null", String::as_str);
        let is_text = |json: &str| json.starts_with('"');
        let mut malformed = 0;
        for field in ["name", "description", "type"] {
            prop_assert_eq!(row[field].is_string(), is_text(given(field)), "{}", field);
            malformed += u64::from(!row[field].is_string() && given(field) != "null");
        }
        let date = given("release_date");
        malformed += u64::from(date != "null" && !is_text(date));
        prop_assert_eq!(page.undated, u64::from(row["release_date"].is_null()));
        prop_assert!(row["release_date"].is_null() || is_text(date));
        let flag = given("explicit");
        prop_assert_eq!(row["explicit"].as_bool(), flag.parse().ok());
        malformed += u64::from(row["explicit"].is_null() && flag != "null");
        let number = given("duration_ms");
        malformed += u64::from(row["duration_ms"].is_null() && number != "null");
        if let Ok(whole) = number.parse::<i64>() {
            prop_assert_eq!(&row["duration_ms"], whole);
        }
        let (language, languages) = (given("language"), given("languages"));
        let is_malformed = language != "null" && !is_text(language) || languages != "null" && !languages.starts_with('[');
        malformed += u64::from(row["language"].is_null() && is_malformed);
        prop_assert_eq!(page.malformed, malformed);
    }
}
