//! Every failure with its text and its advice, as docs/logs.md and ARCHITECTURE.md list them.

use std::collections::BTreeSet;
use std::time::{Duration, UNIX_EPOCH};

use spotify_bq::failure::{Decision, Failure, Obstacle};
use spotify_bq::names::{ShowId, Term};

use crate::documents::read;

/// Returns at least one of each variant. The match below does not compile if a variant is missing.
fn every_failure() -> Vec<Failure> {
    let show = || ShowId::parse("1oMIHOXsrLFENAeM743g93").unwrap();
    let refused =
        |reason, detail: &str| Failure::InvalidMessage { reason, detail: detail.to_owned() };
    let denied = |obstacle| Failure::WarehouseDenied {
        what: "the load job spotify-bq_podcasts_…_0 for podcasts_mamilos".to_owned(),
        detail: "…".to_owned(),
        obstacle,
    };
    let remembered = |failure, after| Failure::RememberedDenial {
        failure: std::sync::Arc::new(failure),
        until: UNIX_EPOCH + Duration::from_secs(1_795_597_200),
        after,
    };
    let load_refused = |obstacle| Failure::LoadRefused {
        what: "the load job spotify-bq_podcasts_…_0 for podcasts_mamilos".to_owned(),
        detail: "…".to_owned(),
        obstacle,
    };
    let deadline_passed = |progress: &str, job_id: Option<&str>| Failure::DeadlinePassed {
        deadline: Duration::from_secs(540),
        progress: progress.to_owned(),
        job_id: job_id.map(str::to_owned),
    };
    let spotify_refused = |detail: &str, obstacle| Failure::SpotifyRefused {
        call: "GET /v1/search (offset 0), market BR".to_owned(),
        detail: detail.to_owned(),
        obstacle,
    };
    let throttled = |quota| Failure::Throttled { wait: Duration::from_secs(3600), quota };
    let all = vec![
        refused("bad_base64", "message.data is not base64"),
        refused("bad_json", "message.data is not JSON: expected value at line 1 column 1"),
        refused(
            "refused",
            "the message names neither `table` nor `search_term`; it needs at least one",
        ),
        Failure::NoResults { what: "no show for \"mamilos\"".to_owned() },
        Failure::NoSuchShow(show()),
        Failure::InvalidRows { table: "podcasts_mamilos".to_owned(), detail: "…".to_owned() },
        throttled(false),
        throttled(true),
        Failure::Premium(
            "Active premium subscription required for the owner of the app".to_owned(),
        ),
        Failure::SpotifyCredentials("…".to_owned()),
        spotify_refused("400 Invalid limit", Obstacle::PageSize),
        spotify_refused("400 Invalid market code", Obstacle::Market),
        spotify_refused("403 Forbidden", Obstacle::App),
        spotify_refused("302", Obstacle::Address),
        spotify_refused("400 Bad request", Obstacle::Request),
        Failure::SpotifyUnexpected {
            call: "GET /v1/search (offset 0)".to_owned(),
            detail: "the response is not JSON: …".to_owned(),
        },
        Failure::SpotifyUnavailable {
            status: None,
            call: "GET /v1/search (offset 0)".to_owned(),
            detail: "503".to_owned(),
            after: None,
        },
        Failure::ShowVanished { id: show(), term: Term::parse("mamilos").unwrap() },
        Failure::ListingIncomplete {
            what: "the episodes of the show 1oMIHOXsrLFENAeM743g93".to_owned(),
            detail: "50 of 120 items are missing in each of 2 readings: …".to_owned(),
            after: None,
        },
        Failure::ForeignColumns {
            table: "tb_datahackers_episodios_total".to_owned(),
            differences: "release_date is STRING, expected DATE".to_owned(),
        },
        Failure::NotATable {
            table: "podcasts_mamilos".to_owned(),
            what: "MATERIALIZED_VIEW".to_owned(),
        },
        load_refused(Obstacle::Table),
        load_refused(Obstacle::Billing),
        load_refused(Obstacle::Key),
        denied(Obstacle::Rights),
        denied(Obstacle::ApiDisabled),
        denied(Obstacle::ServiceControls),
        remembered(denied(Obstacle::Rights), Some(Duration::from_secs(300))),
        remembered(
            Failure::NotATable { table: "podcasts_mamilos".to_owned(), what: "VIEW".to_owned() },
            None,
        ),
        Failure::DatasetMissing {
            dataset: "my-project.spotify_podcasts".to_owned(),
            detail: "404 notFound …".to_owned(),
        },
        Failure::WarehouseUnavailable {
            what: "the load job spotify-bq_podcasts_…_0 for podcasts_mamilos".to_owned(),
            detail: "503".to_owned(),
            after: None,
        },
        Failure::NoTriggerTopic(3),
        Failure::PublishFailed {
            topic: "projects/my-project/topics/spotify-bq".to_owned(),
            detail: "…".to_owned(),
        },
        Failure::EventNotPublished {
            table: "podcasts_mamilos".to_owned(),
            job_id: "spotify-bq_podcasts_…_0".to_owned(),
            why: Box::new(Failure::PublishFailed {
                topic: "projects/my-project/topics/spotify-bq-loaded".to_owned(),
                detail: "…".to_owned(),
            }),
        },
        Failure::GoogleCredentials("…".to_owned()),
        deadline_passed("1250 of 4000 items were read in 27 calls", None),
        deadline_passed(
            "the load job spotify-bq_episodes_…_0 has been PENDING since 2026-11-25T09:00:00Z; the next delivery waits for it",
            Some("spotify-bq_episodes_…_0"),
        ),
        Failure::Overloaded(
            "after 135 s there is not enough time left to start: the limit MAX_CONCURRENT_MESSAGES (8) is reached"
                .to_owned(),
        ),
        Failure::ClientGone { progress: "1250 of 4000 items were read in 27 calls".to_owned() },
        Failure::ShuttingDown,
        Failure::KeysUnreachable("…".to_owned()),
        Failure::NotAnEnvelope("it is not a JSON object".to_owned()),
        Failure::Unauthenticated("…".to_owned()),
        Failure::Forbidden("…".to_owned()),
    ];
    let variants: BTreeSet<u8> = all
        .iter()
        .map(|failure| match failure {
            Failure::InvalidMessage { .. } => 0,
            Failure::NoResults { .. } => 1,
            Failure::NoSuchShow(_) => 2,
            Failure::InvalidRows { .. } => 3,
            Failure::Throttled { .. } => 4,
            Failure::Premium(_) => 5,
            Failure::SpotifyCredentials(_) => 6,
            Failure::SpotifyRefused { .. } => 7,
            Failure::SpotifyUnavailable { .. } => 8,
            Failure::ShowVanished { .. } => 9,
            Failure::ListingIncomplete { .. } => 10,
            Failure::ForeignColumns { .. } => 12,
            Failure::WarehouseDenied { .. } => 13,
            Failure::DatasetMissing { .. } => 14,
            Failure::WarehouseUnavailable { .. } => 15,
            Failure::NoTriggerTopic(_) => 16,
            Failure::PublishFailed { .. } => 17,
            Failure::GoogleCredentials(_) => 18,
            Failure::EventNotPublished { .. } => 28,
            Failure::DeadlinePassed { .. } => 19,
            Failure::ShuttingDown => 20,
            Failure::KeysUnreachable(_) => 21,
            Failure::NotAnEnvelope(_) => 22,
            Failure::Unauthenticated(_) => 23,
            Failure::Forbidden(_) => 24,
            Failure::ClientGone { .. } => 100,
            Failure::Overloaded(_) => 101,
            Failure::NotATable { .. } => 25,
            Failure::LoadRefused { .. } => 11,
            Failure::SpotifyUnexpected { .. } => 26,
            Failure::RememberedDenial { .. } => 27,
        })
        .collect();
    assert_eq!(variants.len(), 31, "a failure is missing from the list above");
    all
}

/// Returns the row of a failure in docs/logs.md.
fn row(failure: &Failure) -> String {
    let answer = match failure.decision() {
        Decision::DeadLetter => "dead letter",
        Decision::Retry { .. } => "503",
        Decision::BadRequest => "400",
        Decision::Unauthenticated => "401",
        Decision::Forbidden => "403",
    };
    format!("| `{}` | {answer} | {failure} | {} |", failure.reason(), failure.advice())
}

#[test]
fn docs_list_every_failure_with_its_text_and_advice() {
    let page = read("docs/logs.md");
    let missing: Vec<String> =
        every_failure().iter().map(row).filter(|row| !page.contains(row)).collect();
    assert!(missing.is_empty(), "docs/logs.md lacks the rows\n{}", missing.join("\n"));
}

#[test]
fn the_architecture_lists_each_reason_under_its_decision() {
    let page = read("ARCHITECTURE.md");
    for failure in every_failure() {
        let start = match failure.decision() {
            Decision::DeadLetter => "| dead letter |",
            Decision::Retry { .. } => "| retry |",
            Decision::BadRequest => "| bad request |",
            Decision::Unauthenticated | Decision::Forbidden => "| not ours |",
        };
        let reason = format!("`{}`", failure.reason());
        let rows = page.lines().filter(|line| line.starts_with("| ") && line.contains(&reason));
        let rows: Vec<&str> = rows.collect();
        assert!(matches!(rows[..], [row] if row.starts_with(start)), "{reason}: {rows:?}");
    }
}

#[test]
fn texts_and_advice_have_one_form() {
    for failure in every_failure() {
        let (words, advice) = (failure.to_string(), failure.advice());
        assert!(advice.len() > 20 && !advice.ends_with('.'), "{words}: {advice}");
        assert!(!words.ends_with('.') && !words.contains('\n'), "{words}");
    }
}

#[test]
fn advice_at_a_terminal_does_not_mention_redelivery() {
    for failure in every_failure() {
        let advice = failure.advice_at_terminal();
        for untrue in ["comes again", "deliver", "retried", "nothing"] {
            assert!(!advice.contains(untrue), "{}: {advice}", failure.reason());
        }
        assert!(failure.explain_at_terminal().ends_with(&advice));
    }
}
