use super::*;
use crate::envelope::Data;

fn naming() -> Naming {
    Naming {
        term: Term::parse("data hackers").unwrap(),
        tables: ["tb_p", "tb_e", "tb_m"].map(str::to_owned),
    }
}

fn parse_parts(data: &str, attributes: &[(&str, &str)]) -> Result<Action, Failure> {
    let message = Message {
        id: "1".to_owned(),
        publish_time: String::new(),
        attributes: attributes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        data: Data::Bytes(data.as_bytes().to_vec()),
    };
    parse(&message, &naming())
}

fn job(data: &str) -> Job {
    match parse_parts(data, &[]) {
        Ok(Action::Load(job)) => job,
        other => panic!("{data}: {other:?}"),
    }
}

fn fan_out(data: &str) -> Vec<String> {
    match parse_parts(data, &[]) {
        Ok(Action::FanOut(messages)) => {
            messages.iter().map(|message| String::from_utf8(message.to_data()).unwrap()).collect()
        }
        other => panic!("{data}: {other:?}"),
    }
}

#[test]
fn one_table_and_term_are_a_job() {
    for table in ["episodes", "tabela_6", "tb_e"] {
        let job = job(&format!(r#"{{"table":"{table}"}}"#));
        assert_eq!((job.kind, job.table.as_str()), (Kind::Episodes, "tb_e"));
        assert_eq!(job.term.text(), "data hackers");
    }
    assert_eq!(job(r#"{"table":"podcasts","search_term":["x"]}"#).table, "podcasts_x");
    assert_eq!(job(r#"{"table":"podcasts","search_term":null}"#).table, "tb_p");
    let with_show =
        job(r#"{"table":"mentions","search_term":"x","show_id":"1oMIHOXsrLFENAeM743g93"}"#);
    assert_eq!(with_show.show.unwrap().as_str(), "1oMIHOXsrLFENAeM743g93");
}

#[test]
fn attributes_are_read_only_without_data() {
    let job =
        parse_parts("", &[("table", "podcasts"), ("googclient_schemarevisionid", "1")]).unwrap();
    assert!(matches!(job, Action::Load(Job { kind: Kind::Podcasts, .. })));
    let with_data =
        parse_parts(r#"{"table":"episodes"}"#, &[("table", "podcasts"), ("other", "1")]);
    assert!(matches!(with_data, Ok(Action::Load(Job { kind: Kind::Episodes, .. }))));
}

#[test]
fn max_missing_percent_has_a_default_and_is_kept_in_a_fan_out() {
    for (data, percent) in [
        (r#"{"table":"podcasts"}"#, 10),
        (r#"{"table":"episodes"}"#, 2),
        (r#"{"table":"mentions","max_missing_percent":null}"#, 2),
        (r#"{"table":"mentions","max_missing_percent":0}"#, 0),
        (r#"{"table":"podcasts","max_missing_percent":100}"#, 100),
    ] {
        assert_eq!(job(data).max_missing_percent, percent, "{data}");
    }
    let attributes = [("table", "episodes"), ("max_missing_percent", "15")];
    let job = parse_parts("", &attributes).unwrap();
    assert!(matches!(job, Action::Load(Job { max_missing_percent: 15, .. })), "{job:?}");
    for wrong in ["", "101", "-1", "2.5", "five"] {
        let refused =
            parse_parts("", &[attributes[0], ("max_missing_percent", wrong)]).unwrap_err();
        assert!(refused.to_string().contains("from 0 to 100"), "{wrong}: {refused}");
    }
    assert_eq!(
        fan_out(r#"{"table":"episodes","search_term":["x","y"],"max_missing_percent":5}"#),
        [
            r#"{"table":"episodes","search_term":"x","max_missing_percent":5}"#,
            r#"{"table":"episodes","search_term":"y","max_missing_percent":5}"#,
        ]
    );
}

#[test]
fn more_than_one_table_or_term_is_a_fan_out() {
    assert_eq!(
        fan_out(r#"{"search_term":"x","show_id":"1oMIHOXsrLFENAeM743g93"}"#),
        [
            r#"{"table":"podcasts","search_term":"x"}"#,
            r#"{"table":"episodes","search_term":"x","show_id":"1oMIHOXsrLFENAeM743g93"}"#,
            r#"{"table":"mentions","search_term":"x","show_id":"1oMIHOXsrLFENAeM743g93"}"#,
        ]
    );
    assert_eq!(
        fan_out(r#"{"table":"podcasts","search_term":["x","é","E"]}"#),
        [r#"{"table":"podcasts","search_term":"x"}"#, r#"{"table":"podcasts","search_term":"é"}"#,]
    );
    let all: Vec<String> = (0..300).map(|n| format!("t{n}")).collect();
    let data = serde_json::json!({ "search_term": all }).to_string();
    assert_eq!(fan_out(&data).len(), 900);
}

#[test]
fn each_refusal_names_the_key_and_what_is_allowed() {
    let long = format!(r#"{{"search_term":"{}"}}"#, "x".repeat(101));
    let many = serde_json::json!({ "search_term": vec!["x"; 301] }).to_string();
    for (data, reason, detail) in [
        ("{", "bad_json", "message.data is not JSON"),
        ("\u{feff}{}", "bad_json", "message.data is not JSON"),
        ("[]", "refused", "not a JSON object"),
        ("{}", "refused", "neither `table` nor `search_term`"),
        (
            r#"{"tabel":"x"}"#,
            "refused",
            "unknown field `tabel`, expected one of `table`, `search_term`, `show_id`, \
             `max_missing_percent`",
        ),
        (r#"{"table":"x","table":"y"}"#, "refused", "duplicate field `table`"),
        (
            r#"{"table":"x"}"#,
            "refused",
            r#"`table` is "x", expected one of podcasts, tabela_5, tb_p"#,
        ),
        (r#"{"table":5}"#, "refused", "`table` is a number, expected one of podcasts"),
        (r#"{"table":["podcasts"]}"#, "refused", "`table` is a list"),
        (r#"{"max_missing_percent":5}"#, "refused", "neither `table` nor"),
        (
            r#"{"table":"episodes","max_missing_percent":101}"#,
            "refused",
            "`max_missing_percent` is 101, expected a whole number from 0 to 100",
        ),
        (
            r#"{"table":"episodes","max_missing_percent":-1}"#,
            "refused",
            "`max_missing_percent` is -1,",
        ),
        (
            r#"{"table":"episodes","max_missing_percent":2.5}"#,
            "refused",
            "`max_missing_percent` is 2.5,",
        ),
        (
            r#"{"search_term":"x","max_missing_percent":"5"}"#,
            "refused",
            "`max_missing_percent` is \"5\",",
        ),
        (
            r#"{"table":"podcasts","max_missing_percent":[5]}"#,
            "refused",
            "`max_missing_percent` is a list,",
        ),
        (r#"{"search_term":5}"#, "refused", "`search_term` is or contains a number"),
        (r#"{"search_term":[null]}"#, "refused", "`search_term` is or contains null"),
        (
            r#"{"search_term":""}"#,
            "refused",
            "`search_term`: a search term must have at least one visible",
        ),
        (&long, "refused", "at most 100 characters, but this one has 101"),
        (r#"{"search_term":[]}"#, "refused", "a list of 0, expected 1 to 300"),
        (&many, "refused", "a list of 301, expected 1 to 300"),
        (r#"{"show_id":"1oMIHOXsrLFENAeM743g93"}"#, "refused", "neither `table` nor"),
        (
            r#"{"table":"episodes","show_id":"1oMIHOXsrLFENAeM743g93"}"#,
            "refused",
            "`show_id` requires exactly one `search_term`",
        ),
        (
            r#"{"search_term":["a","b"],"show_id":"1oMIHOXsrLFENAeM743g93"}"#,
            "refused",
            "`show_id` requires exactly one `search_term`",
        ),
        (
            r#"{"table":"podcasts","search_term":"a","show_id":"1oMIHOXsrLFENAeM743g93"}"#,
            "refused",
            "can't be used with the table `podcasts`",
        ),
        (
            r#"{"table":"episodes","search_term":"a","show_id":"../../etc/passwd/and/mo"}"#,
            "refused",
            "22 letters and digits",
        ),
    ] {
        match parse_parts(data, &[]) {
            Err(Failure::InvalidMessage { reason: r, detail: d }) => {
                assert_eq!(r, reason, "{data}");
                assert!(d.contains(detail), "{data}: {d}");
            }
            other => panic!("{data}: {other:?}"),
        }
    }
    let unknown = parse_parts("", &[("tabel", "podcasts")]);
    assert!(
        matches!(unknown, Err(Failure::InvalidMessage { detail, .. }) if detail.contains("unknown attribute `tabel`"))
    );
    assert!(parse_parts("", &[]).is_err());
}

#[test]
fn a_trigger_message_is_parsed_back() {
    let message = TriggerMessage {
        table: Some("mentions".to_owned()),
        search_term: Some("café \"x\"".to_owned()),
        show_id: None,
        max_missing_percent: Some(7),
    };
    let job = job(std::str::from_utf8(&message.to_data()).unwrap());
    assert_eq!((job.kind, job.term.text()), (Kind::Mentions, "café \"x\""));
    assert_eq!(job.max_missing_percent, 7);
}
