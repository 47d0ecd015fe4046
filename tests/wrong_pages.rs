//! Pages with nulls, duplicates, wrong totals and odd lengths: the table is complete, in order and free of
//! duplicates, or it stays as it was.

use serde_json::{Value, json};

use crate::support::log::Log;
use crate::support::spotify::{
    Spotify, catalog, episode, episode_page, episode_rows, piece, podcast_rows, search_page, show,
};
use crate::support::wire::Act;
use crate::support::{EPISODES, MENTIONS, PODCASTS, World, table};

fn null_at(items: &mut [Value], places: impl IntoIterator<Item = usize>) {
    places.into_iter().for_each(|at| items[at] = Value::Null);
}

#[tokio::test]
async fn nulls_inside_pages_are_skipped_and_counted() {
    let mut shown = catalog(66, 130);
    null_at(&mut shown.shows, [1, 9, 10, 20, 21, 22]);
    let episodes = shown.episodes.values_mut().next().unwrap();
    null_at(episodes, [0, 49, 50, 129]);
    episodes[60]["id"] = Value::Null;
    let log = Log::start();
    let world = World::new(Spotify::start(shown).await).await;
    let app = world.app().await;

    let push = table("podcasts");
    assert_eq!(app.push(&push).await.result(), (204, "loaded"));
    assert_eq!(world.bigquery.rows(PODCASTS), podcast_rows(&world.spotify.catalog.shows[..56]));
    assert_eq!(world.bigquery.rows(PODCASTS).len(), 50);
    assert_eq!(log.outcome(&push.id)["skipped_nulls"], "6");

    let push = table("episodes");
    assert_eq!(app.push(&push).await.result(), (204, "loaded"));
    let mut expected = world.spotify.episodes().to_vec();
    expected[60] = Value::Null;
    assert_eq!(world.bigquery.rows(EPISODES), episode_rows(&expected));
    let line = log.outcome(&push.id);
    assert_eq!((line["skipped_nulls"].as_str(), line["rows"].as_str()), ("5", "125"));
}

#[tokio::test]
async fn a_listing_of_nulls_only_is_retried() {
    let world = World::new(Spotify::showing(5, 5).await).await;
    let app = world.app().await;
    app.push(&table("podcasts")).await;
    app.push(&table("episodes")).await;
    world.spotify.stub.on(|call| match call.path.as_str() {
        "/v1/search" => search_page(&[Value::Null, Value::Null], 2),
        path if path.ends_with("/episodes") => episode_page(&[Value::Null], 1),
        _ => Act::Pass,
    });
    // `mentions` would share the reading of the first `episodes`.
    for name in ["podcasts", "episodes", "episodes"] {
        assert_eq!(
            app.push(&table(name)).await.result(),
            (503, "retry listing_incomplete"),
            "{name}"
        );
    }
    // A service that has to find the show sees only nulls, too.
    let fresh = world.app().await;
    assert_eq!(fresh.push(&table("episodes")).await.result(), (503, "retry listing_incomplete"));
    assert_eq!(world.bigquery.rows(PODCASTS).len(), 5);
    assert_eq!(world.bigquery.rows(EPISODES).len(), 5);
}

#[tokio::test]
async fn an_empty_listing_with_a_total_is_retried() {
    let world = World::new(Spotify::showing(5, 5).await).await;
    let app = world.app().await;
    world.spotify.stub.on(|call| match call.path.as_str() {
        "/v1/search" => search_page(&[], 341),
        _ => Act::Pass,
    });
    assert_eq!(app.push(&table("podcasts")).await.result(), (503, "retry listing_incomplete"));
    world.spotify.stub.always("/episodes", || episode_page(&[], 70));
    assert_eq!(app.push(&table("episodes")).await.result(), (503, "retry listing_incomplete"));
    assert!(world.bigquery.accepted().is_empty());
}

#[tokio::test]
async fn items_on_two_pages_are_loaded_once() {
    let mut shown = catalog(66, 60);
    let duplicate = shown.shows[4].clone();
    shown.shows.insert(13, duplicate.clone());
    shown.shows.insert(33, duplicate);
    let episodes = shown.episodes.values_mut().next().unwrap();
    let duplicate = episodes[10].clone();
    episodes.insert(55, duplicate);
    let log = Log::start();
    let world = World::new(Spotify::start(shown).await).await;
    let app = world.app().await;

    let push = table("podcasts");
    app.push(&push).await;
    let distinct: Vec<Value> = (0..50).map(show).collect();
    assert_eq!(world.bigquery.rows(PODCASTS), podcast_rows(&distinct));
    assert_eq!(log.outcome(&push.id)["skipped_doubles"], "2");

    let push = table("episodes");
    app.push(&push).await;
    let distinct: Vec<Value> = (0..60).map(episode).collect();
    assert_eq!(world.bigquery.rows(EPISODES), episode_rows(&distinct));
    assert_eq!(log.outcome(&push.id)["skipped_doubles"], "1");
    // One reading with duplicates may be of a listing that moved. If two are the same, that is what
    // Spotify shows.
    let readings = world.spotify.stub.calls_to("GET", "/episodes");
    assert_eq!(readings.iter().filter(|call| call.number("offset") == 0).count(), 2);
}

#[tokio::test]
async fn a_total_that_drifts_does_not_end_a_search() {
    // Totals that drift, and one that is below what its page shows.
    for totals in [[29, 30, 28], [28, 12, 28], [25, 20, 28]] {
        let shows: Vec<Value> = (0..28).map(show).collect();
        let listed = shows.clone();
        let world = World::new(Spotify::showing(1, 1).await).await;
        world.spotify.stub.on(move |call| {
            if call.path != "/v1/search" {
                return Act::Pass;
            }
            let offset = call.number("offset");
            let total = totals[(offset / 10).min(2)];
            search_page(piece(&listed, offset, call.number("limit")), total)
        });
        let app = world.app().await;
        assert_eq!(app.push(&table("podcasts")).await.result(), (204, "loaded"), "{totals:?}");
        assert_eq!(world.bigquery.rows(PODCASTS), podcast_rows(&shows), "{totals:?}");
    }
}

#[tokio::test]
async fn pages_shorter_than_requested_lose_nothing() {
    let world = World::new(Spotify::showing(66, 130).await).await;
    let (shows, episodes) =
        (world.spotify.catalog.shows.clone(), world.spotify.episodes().to_vec());
    world.spotify.stub.on(move |call| {
        let (offset, limit) = (call.number("offset"), call.number("limit"));
        match call.path.as_str() {
            "/v1/search" => search_page(piece(&shows, offset, limit.min(3)), shows.len()),
            // Only one page is short, so the first page does not reveal it.
            path if path.ends_with("/episodes") => {
                let limit = if offset == 50 { 20 } else { limit };
                episode_page(piece(&episodes, offset, limit), episodes.len())
            }
            _ => Act::Pass,
        }
    });
    let app = world.app().await;
    app.push(&table("podcasts")).await;
    app.push(&table("episodes")).await;
    assert_eq!(world.bigquery.rows(PODCASTS), podcast_rows(&world.spotify.catalog.shows[..50]));
    assert_eq!(world.bigquery.rows(EPISODES), episode_rows(world.spotify.episodes()));
}

#[tokio::test]
async fn a_search_ends_at_offset_1000() {
    // Each page of 30 has one new show, and the first show 29 times.
    let mut shown = catalog(1100, 1);
    let shows = shown.shows.clone();
    for (at, item) in shown.shows.iter_mut().enumerate() {
        if at % 30 > 0 {
            *item = shows[0].clone();
        }
    }
    let all = shown.shows.clone();
    let world = World::new(Spotify::start(shown).await).await.set("SPOTIFY_SEARCH_PAGE_SIZE", "30");
    world.spotify.stub.on(move |call| match call.path.as_str() {
        "/v1/search" => {
            search_page(piece(&all, call.number("offset"), call.number("limit")), all.len())
        }
        _ => Act::Pass,
    });
    let app = world.app().await;
    // 34 of 50 shows are not within tolerance.
    let answer = app.push(&table("podcasts")).await;
    assert_eq!(answer.result(), (503, "retry listing_incomplete"));
    assert!(answer.detail().contains("16 of 50 items are missing"), "{}", answer.detail());
    let calls = world.spotify.api_calls();
    let furthest = calls.iter().map(|call| call.number("offset") + call.number("limit")).max();
    assert_eq!(furthest, Some(1000));
}

#[tokio::test]
async fn a_404_past_the_end_of_a_search_is_its_end() {
    let world = World::new(Spotify::showing(20, 1).await).await;
    let shows = world.spotify.catalog.shows.clone();
    world.spotify.stub.on(move |call| match (call.path.as_str(), call.number("offset")) {
        ("/v1/search", offset @ 0..20) => {
            search_page(piece(&shows, offset, call.number("limit")), 20)
        }
        ("/v1/search", _) => {
            let error = json!({"error": {"status": 404, "message": "Not found."}});
            crate::support::wire::answer(404, &error.to_string())
        }
        _ => Act::Pass,
    });
    let app = world.app().await;
    // The first search of a process goes page by page; the second requests all pages at once.
    for _ in 0..2 {
        assert_eq!(app.push(&table("podcasts")).await.result(), (204, "loaded"));
        assert_eq!(world.bigquery.rows(PODCASTS), podcast_rows(&world.spotify.catalog.shows));
    }
}

#[tokio::test]
async fn a_missing_language_is_taken_from_languages() {
    let mut shown = catalog(1, 5);
    let episodes = shown.episodes.values_mut().next().unwrap();
    for (at, (language, languages)) in [
        (json!("pt"), json!(["en"])),
        (Value::Null, json!(["pt-BR", "en"])),
        (Value::Null, json!([])),
        (Value::Null, Value::Null),
    ]
    .into_iter()
    .enumerate()
    {
        episodes[at]["language"] = language;
        episodes[at]["languages"] = languages;
    }
    episodes[4].as_object_mut().unwrap().retain(|key, _| key != "language");
    let world = World::new(Spotify::start(shown).await).await;
    let app = world.app().await;
    app.push(&table("episodes")).await;
    let rows = world.bigquery.rows(EPISODES);
    let languages: Vec<&Value> = rows.iter().map(|row| &row["language"]).collect();
    assert_eq!(
        languages,
        [&json!("pt"), &json!("pt-BR"), &Value::Null, &Value::Null, &json!("pt-BR")]
    );
}

#[tokio::test]
async fn release_dates_of_each_precision_are_dates_and_others_are_null_and_counted() {
    let mut shown = catalog(1, 7);
    let given = [
        json!("1981-12-15"),
        json!("1981-12"),
        json!("1981"),
        json!("0000"),
        Value::Null,
        json!("2023-02-30"),
        json!("ontem"),
    ];
    let episodes = shown.episodes.values_mut().next().unwrap();
    for (episode, date) in episodes.iter_mut().zip(given) {
        episode["release_date"] = date;
        episode["description"] = json!("Grupo Boticário");
    }
    let log = Log::start();
    let world = World::new(Spotify::start(shown).await).await;
    let app = world.app().await;
    for (name, table_name) in [("episodes", EPISODES), ("mentions", MENTIONS)] {
        let push = table(name);
        app.push(&push).await;
        let rows = world.bigquery.rows(table_name);
        let dates: Vec<Option<&str>> =
            rows.iter().map(|row| row["release_date"].as_str()).collect();
        let (day, month, year) = (Some("1981-12-15"), Some("1981-12-01"), Some("1981-01-01"));
        assert_eq!(dates, [day, month, year, None, None, None, None]);
        assert_eq!(log.outcome(&push.id)["undated"], "4");
    }
}

#[tokio::test]
async fn fields_that_are_missing_are_null() {
    let mut shown = catalog(1, 1);
    let id = shown.shows[0]["id"].clone();
    let episode = json!({ "id": "e" });
    shown.shows[0] = json!({ "id": id });
    shown.episodes.insert(id.as_str().unwrap().to_owned(), vec![episode]);
    let world = World::new(Spotify::start(shown).await).await;
    let app = world.app().await;
    app.push(&table("podcasts")).await;
    app.push(&table("episodes")).await;
    assert_eq!(
        world.bigquery.rows(PODCASTS),
        [json!({"name": null, "description": null, "id": id, "total_episodes": null})]
    );
    assert_eq!(
        world.bigquery.rows(EPISODES),
        [json!({
            "id": "e", "name": null, "description": null, "release_date": null,
            "duration_ms": null, "language": null, "explicit": null, "type": null,
        })]
    );
}

#[tokio::test]
async fn a_page_that_fails_at_full_size_is_read_in_halves() {
    let world = World::new(Spotify::showing(1, 120).await).await;
    world.spotify.stub.on(|call| {
        let fails = call.path.ends_with("/episodes")
            && call.number("offset") == 50
            && call.number("limit") == 50;
        if fails { crate::support::wire::answer(500, "") } else { Act::Pass }
    });
    let app = world.app().await;
    assert_eq!(app.push(&table("episodes")).await.result(), (204, "loaded"));
    assert_eq!(world.bigquery.rows(EPISODES), episode_rows(world.spotify.episodes()));
}
