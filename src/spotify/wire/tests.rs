use super::*;

/// The IDs of a page of episodes, its total, and whether there is a next page.
type Summary = (Vec<Option<String>>, Option<u64>, bool);

fn read(body: &[u8]) -> Result<Summary, Unreadable> {
    let page = episodes(body)?;
    let id = |item: Option<Episode>| item?.id;
    Ok((page.items.into_iter().map(id).collect(), page.total, page.has_next))
}

fn total(value: &str) -> Option<u64> {
    let (_, total, _) = read(format!(r#"{{"items":[],{value}}}"#).as_bytes()).unwrap();
    total
}

#[test]
fn a_total_may_be_written_in_any_notation() {
    assert_eq!(total(r#""total":"7.0E1""#), Some(70));
    assert_eq!(total(r#""total":1,"total":2"#), Some(2));
    assert_eq!(total(r#""total":0"#), Some(0));
    for odd in ["null", "-1", "70.5"] {
        assert_eq!(total(&format!(r#""total":{odd}"#)), None, "{odd}");
    }
    assert_eq!(total(r#""other":1"#), None);
}

#[test]
fn only_a_string_names_a_next_page() {
    for (value, expected) in [
        (r#""https://x""#, true),
        (r#""""#, false),
        ("null", false),
        ("true", false),
        ("{}", false),
        ("1", false),
    ] {
        let body = format!(r#"{{"items":[],"next":{value}}}"#);
        assert_eq!(read(body.as_bytes()).unwrap().2, expected, "{value}");
    }
    assert!(!read(br#"{"items":[]}"#).unwrap().2);
}

#[test]
fn a_value_that_is_not_an_item_counts_as_null() {
    let body = r#"{"items":[null,{"id":"a"},5,"b",1e999,["c"],{"id":7},{"id":""},{"id":"a\u0000d"},
        {"id":"e","id":"f"},{"\ud83c":1,"id":"g"},{"id":{"id":"h"}}]}"#;
    let (ids, ..) = read(body.as_bytes()).unwrap();
    let expected =
        [None, Some("a"), None, None, None, None, None, None, Some("ad"), Some("f"), Some("g")];
    let ids: Vec<Option<&str>> = ids.iter().map(Option::as_deref).collect();
    assert_eq!(ids[..11], expected);
    assert_eq!(ids[11..], [None]);
}

#[test]
fn invalid_text_around_items_is_ignored() {
    for body in [
        &b"\xef\xbb\xbf{\"items\":[{\"id\":\"a\"}]}"[..],
        b"{\"items\":[{\"id\":\"a\",\"html_description\":\"\xff\xfe\"}]}",
        b"{\"items\":[{\"id\":\"a\0\"}]}",
        b"{\"items\":null,\"items\":[{\"id\":\"a\"}]}",
        br#"{"\udfa7":1,"items":[{"id":"a","x":[[[{"a":1e999}]]]}]}"#,
        b" \n{\"items\":[{\"id\":\"a\"}]}\r\n",
    ] {
        let shown = String::from_utf8_lossy(body);
        assert_eq!(read(body).as_ref().map(|(ids, ..)| ids.len()), Ok(1), "{shown}");
        assert_eq!(read(body).unwrap().0[0].as_deref(), Some("a"), "{shown}");
    }
}

#[test]
fn a_search_is_cleaned_as_well() {
    let ids = |body: &[u8]| {
        let items = shows(body)?.items;
        Ok::<_, Unreadable>(items.into_iter().map(|show| show?.id).collect::<Vec<_>>())
    };
    for body in [
        &b"\xef\xbb\xbf{\"shows\":{\"items\":[{\"id\":\"a\"}]}}"[..],
        b"{\"shows\":{\"items\":[{\"id\":\"a\",\"name\":\"\xff\"}]}}",
        b"{\"shows\":{\"items\":[{\"id\":\"a\0\"}]}}",
        br#"{"shows":{"items":[{"\ud83c":1,"id":"a"}],"\udfa7":2},"\ud83c":3}"#,
    ] {
        let shown = String::from_utf8_lossy(body);
        assert_eq!(ids(body), Ok(vec![Some("a".to_owned())]), "{shown}");
    }
}

#[test]
fn an_unreadable_response_names_the_field_and_quotes_the_body() {
    for (body, why) in [
        (r#"{"href":"x","total":3}"#, "`items` is missing: {\"href\":\"x\",\"total\":3}"),
        (r#"{"items":null,"total":3}"#, "`items` is null: {\"items\":null"),
        (r#"{"items":{"0":{}}}"#, "`items` is an object: {\"items\""),
        (r#"{"items":"none"}"#, "`items` is a string: "),
        (r#"{"items":[],"items":7}"#, "`items` is a number: "),
        (r#"[{"items":[]}]"#, "the response is an array: [{"),
        ("null", "the response is null"),
        ("", "the response is not JSON: it is empty"),
        ("\u{feff} ", "the response is not JSON: it is empty"),
        ("<html>busy</html>", "the response is not JSON: expected value at line 1 column 1"),
        ("Service busy", "line 1 column 1: Service busy"),
        (r#"{"items":[{"id":"a"#, "the response is not JSON: EOF"),
        (r#"{"error":{"status":500,"message":"Oops"}}"#, "an error 500 with status 200: Oops"),
        (r#"{"items":[],"error":{"message":"Oops"}}"#, "an error with status 200: Oops"),
        (r#"{"items":null,"error":"busy"}"#, "an error with status 200: busy"),
    ] {
        let unreadable = read(body.as_bytes()).expect_err(body);
        let detail = unreadable.detail(body.as_bytes(), &[]);
        assert!(detail.contains(why), "{body}: {detail}");
    }
    // An error next to items does not discard them.
    assert_eq!(read(br#"{"items":[null],"error":{"message":"x"}}"#).unwrap().0.len(), 1);
    assert_eq!(read(br#"{"items":[],"error":null}"#).unwrap().0.len(), 0);
}

#[test]
fn a_search_needs_its_page() {
    let read = |body: &str| shows(body.as_bytes()).map(|page| (page.items.len(), page.total));
    assert_eq!(read(r#"{"shows":{"items":[{"id":"a"},null],"total":"2"}}"#), Ok((2, Some(2))));
    assert_eq!(read(r#"{"shows":null,"shows":{"items":[5]}}"#), Ok((1, None)));
    for (body, why) in [
        ("{}", "`shows` is missing: {}"),
        (r#"{"shows":null}"#, "`shows` is null: "),
        (r#"{"shows":[{"items":[]}]}"#, "`shows` is an array: "),
        (r#"{"shows":{}}"#, "`items` is missing: "),
        (r#"{"items":[]}"#, "`shows` is missing: "),
        (r#"{"error":{"status":429,"message":"Slow"}}"#, "an error 429 with status 200: Slow"),
        (r#"{"shows":null,"error":["a"]}"#, "an error with status 200: [\"a\"]"),
        (r#"{"shows":{"items":[]},"error":"x"}"#, "an error with status 200: x"),
    ] {
        let unreadable = read(body).expect_err(body);
        let detail = unreadable.detail(body.as_bytes(), &[]);
        assert!(detail.contains(why), "{body}: {detail}");
    }
}

#[test]
fn a_quoted_body_contains_no_secret() {
    let body = br#"{"request":"Bearer hu\u0073h\/x"}"#;
    let detail = read(body).unwrap_err().detail(body, &["hush/x"]);
    assert!(detail.contains("Bearer …"), "{detail}");
}

#[test]
fn a_show_is_an_object_that_is_not_an_error() {
    for (body, name) in [
        (r#"{"id":"a","name":"Mamilos","x":"\ud83c"}"#, Some("Mamilos")),
        (r#"{"id":"a","name":["Mamilos"],"error":null}"#, None),
        ("{}", None),
    ] {
        assert_eq!(show(body.as_bytes()), Ok(name.map(str::to_owned)), "{body}");
    }
    let error = show(br#"{"error":{"status":404,"message":"non existing id"}}"#);
    assert_eq!(error, Err(Unreadable::Error { status: Some(404) }));
    assert!(show(b"[]").is_err() && show(b"").is_err());
}
