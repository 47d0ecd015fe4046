//! One test for each kind of wrong response that is reported of Spotify, once and always. The table is
//! whole, or it is within tolerance and the log line says so, or it stays as it was.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::log::Log;
use crate::support::spotify::{Spotify, catalog, episode, episode_rows, piece, podcast_rows, show};
use crate::support::wire::{Act, Call, answer};
use crate::support::{App, EPISODES, MENTIONS, PODCASTS, World, message, table};

const ALWAYS: usize = usize::MAX;

struct Page {
    items: Vec<Value>,
    total: usize,
    next: bool,
}

/// Changes the true page, or returns another response.
type Fault = fn(&mut Page, &[Value]) -> Option<Act>;

/// A listing with a fault in one of its pages.
struct FaultyListing {
    path: &'static str,
    all: Vec<Value>,
    /// The page's offset, or `None` for every page.
    offset: Option<usize>,
    times: usize,
    fault: Fault,
}

impl FaultyListing {
    fn search(shows: usize, offset: Option<usize>, times: usize, fault: Fault) -> Self {
        Self { path: "/v1/search", all: (0..shows).map(show).collect(), offset, times, fault }
    }

    fn episodes(episodes: usize, offset: Option<usize>, times: usize, fault: Fault) -> Self {
        Self { path: "/episodes", all: (0..episodes).map(episode).collect(), offset, times, fault }
    }

    /// Answers a call for the listing.
    fn answer(&mut self, call: &Call) -> Act {
        if !call.path.ends_with(self.path) {
            return Act::Pass;
        }
        let (offset, limit) = (call.number("offset"), call.number("limit"));
        let mut page = Page {
            items: piece(&self.all, offset, limit).to_vec(),
            total: self.all.len(),
            next: offset + limit < self.all.len(),
        };
        if self.times > 0 && self.offset.is_none_or(|faulty| faulty == offset) {
            self.times = self.times.saturating_sub(usize::from(self.times < ALWAYS));
            if let Some(act) = (self.fault)(&mut page, &self.all) {
                return act;
            }
        }
        let next = page.next.then_some("https://api.spotify.com/v1/next");
        let page = json!({"items": page.items, "total": page.total, "next": next});
        let body = if self.path == "/v1/search" { json!({ "shows": page }) } else { page };
        answer(200, &body.to_string())
    }

    fn table(&self) -> (&'static str, &'static str) {
        if self.path == "/v1/search" { ("podcasts", PODCASTS) } else { ("episodes", EPISODES) }
    }

    fn rows(&self) -> Vec<Value> {
        match self.path {
            "/v1/search" => podcast_rows(&self.all[..self.all.len().min(50)]),
            _ => episode_rows(&self.all),
        }
    }
}

/// A service whose tables hold a show's two episodes and a search's two shows.
async fn ready() -> (World, App) {
    let world = World::new(Spotify::showing(2, 2).await).await;
    let app = world.app().await;
    for name in ["podcasts", "episodes"] {
        assert_eq!(app.push(&table(name)).await.result(), (204, "loaded"));
    }
    (world, app)
}

fn pages(world: &World, path: &str) -> usize {
    world.spotify.stub.calls_to("GET", path).len()
}

/// Pushes a message for the listing's table, and checks that the table is whole. Returns the number of
/// requests for pages.
async fn assert_whole(mut listing: FaultyListing) -> usize {
    let (world, app) = ready().await;
    let (path, (name, table_name), rows) = (listing.path, listing.table(), listing.rows());
    let before = pages(&world, path);
    world.spotify.stub.on(move |call| listing.answer(call));
    let log = Log::start();
    let push = table(name);
    assert_eq!(app.push(&push).await.result(), (204, "loaded"));
    assert_eq!(world.bigquery.rows(table_name), rows);
    assert!(!log.outcome(&push.id).contains_key("listed"), "{:?}", log.outcome(&push.id));
    pages(&world, path) - before
}

/// Does the same for a listing that stays contradictory, whose table must stay as it was. Returns the
/// detail, too.
async fn assert_unchanged(mut listing: FaultyListing) -> (usize, String) {
    let (world, app) = ready().await;
    let (path, (name, table_name)) = (listing.path, listing.table());
    let before = (pages(&world, path), world.bigquery.rows(table_name));
    world.spotify.stub.on(move |call| listing.answer(call));
    let answer = app.push(&table(name)).await;
    assert_eq!(answer.result(), (503, "retry listing_incomplete"));
    assert!(answer.retry_after.is_some(), "a redelivery before that would spend a call");
    assert!(answer.body["advice"].as_str().unwrap().contains("max_missing_percent"), "{answer:?}");
    assert_eq!(world.bigquery.rows(table_name), before.1);
    assert!(world.pubsub.published("letters").is_empty());
    (pages(&world, path) - before.0, answer.detail().to_owned())
}

fn not_found(words: &str) -> Act {
    answer(404, &json!({"error": {"status": 404, "message": words}}).to_string())
}

const EMPTY_PAGE: Fault = |page, _| {
    page.items.clear();
    page.next = true;
    None
};

const NOT_FOUND: Fault = |_, _| Some(not_found("Not found."));

const ALL_NULL: Fault = |page, _| {
    page.items.fill(Value::Null);
    None
};

#[tokio::test]
async fn an_empty_page_in_the_middle_of_a_search() {
    assert_eq!(assert_whole(FaultyListing::search(200, Some(10), 1, EMPTY_PAGE)).await, 5 + 1);
    let (_, detail) =
        assert_unchanged(FaultyListing::search(200, Some(10), ALWAYS, EMPTY_PAGE)).await;
    assert!(
        detail.contains("the page at offset 10 was empty although more items were expected"),
        "{detail}"
    );
}

#[tokio::test]
async fn an_empty_page_in_the_middle_of_a_show() {
    assert_eq!(assert_whole(FaultyListing::episodes(120, Some(50), 1, EMPTY_PAGE)).await, 3 + 1);
    let (_, detail) =
        assert_unchanged(FaultyListing::episodes(120, Some(50), ALWAYS, EMPTY_PAGE)).await;
    assert!(detail.contains("50 of 120 items are missing"), "{detail}");
}

#[tokio::test]
async fn a_last_page_that_is_empty() {
    let fault: Fault = |page, _| {
        page.items.clear();
        None
    };
    assert_eq!(assert_whole(FaultyListing::episodes(120, Some(100), 1, fault)).await, 3 + 1);
    let (_, detail) =
        assert_unchanged(FaultyListing::episodes(120, Some(100), ALWAYS, fault)).await;
    assert!(detail.contains("20 of 120 items are missing"), "{detail}");
}

#[tokio::test]
async fn a_404_in_the_middle_of_a_search() {
    assert_eq!(assert_whole(FaultyListing::search(200, Some(10), 1, NOT_FOUND)).await, 5 + 1);
    let (_, detail) =
        assert_unchanged(FaultyListing::search(200, Some(10), ALWAYS, NOT_FOUND)).await;
    assert!(detail.contains("the page at offset 10 was 404"), "{detail}");
}

#[tokio::test]
async fn a_404_in_the_middle_of_a_show() {
    let fault: Fault = |_, _| Some(not_found("non existing id"));
    assert_eq!(assert_whole(FaultyListing::episodes(120, Some(50), 1, fault)).await, 3 + 1);
    let (_, detail) = assert_unchanged(FaultyListing::episodes(120, Some(50), ALWAYS, fault)).await;
    assert!(detail.contains("the page at offset 50 was 404"), "{detail}");
}

#[tokio::test]
async fn a_404_on_the_first_page_that_passes() {
    for times in 1..=3 {
        assert_whole(FaultyListing::episodes(120, Some(0), times, NOT_FOUND)).await;
        assert_whole(FaultyListing::search(60, Some(0), times, NOT_FOUND)).await;
    }
}

#[tokio::test]
async fn totals_of_zero_with_items() {
    let fault: Fault = |page, _| {
        page.total = 0;
        None
    };
    assert_whole(FaultyListing::search(200, None, ALWAYS, fault)).await;
    assert_whole(FaultyListing::search(23, None, ALWAYS, fault)).await;
    assert_whole(FaultyListing::episodes(120, None, ALWAYS, fault)).await;
    assert_whole(FaultyListing::episodes(120, Some(50), 1, fault)).await;
}

#[tokio::test]
async fn totals_that_are_too_low() {
    let fault: Fault = |page, _| {
        page.total = 50;
        None
    };
    assert_whole(FaultyListing::episodes(120, None, ALWAYS, fault)).await;
    assert_whole(FaultyListing::episodes(120, Some(0), 1, fault)).await;
}

#[tokio::test]
async fn a_total_that_is_far_too_large_costs_at_most_thirty_requests() {
    let fault: Fault = |page, _| {
        page.total = 20_000;
        None
    };
    let (calls, detail) = assert_unchanged(FaultyListing::episodes(70, None, ALWAYS, fault)).await;
    assert!(calls <= 30, "{calls} requests");
    assert!(detail.contains("19930 of 20000 items are missing"), "{detail}");
    assert_whole(FaultyListing::episodes(70, Some(0), 1, fault)).await;
}

#[tokio::test]
async fn an_offset_without_effect() {
    let fault: Fault = |page, all| {
        page.items = piece(all, 0, page.items.len().max(10)).to_vec();
        None
    };
    let first_page_again: Fault = |page, all| {
        page.items = piece(all, 0, 50).to_vec();
        None
    };
    assert_whole(FaultyListing::search(200, Some(10), 1, fault)).await;
    assert_whole(FaultyListing::episodes(120, Some(50), 1, first_page_again)).await;
    let (_, detail) =
        assert_unchanged(FaultyListing::episodes(120, None, ALWAYS, first_page_again)).await;
    assert!(detail.contains("70 of 120 items are missing"), "{detail}");
    assert!(detail.contains("contained only items of other pages"), "{detail}");
    assert_unchanged(FaultyListing::search(200, None, ALWAYS, fault)).await;
}

#[tokio::test]
async fn a_page_of_nulls() {
    assert_eq!(assert_whole(FaultyListing::episodes(120, Some(50), 1, ALL_NULL)).await, 3 + 1);
    assert_eq!(assert_whole(FaultyListing::search(60, Some(10), 1, ALL_NULL)).await, 5 + 1);
    let (_, detail) =
        assert_unchanged(FaultyListing::episodes(120, Some(50), ALWAYS, ALL_NULL)).await;
    assert!(detail.contains("the page at offset 50 had 50 nulls"), "{detail}");
}

#[tokio::test]
async fn a_few_nulls_that_pass() {
    let fault: Fault = |page, _| {
        page.items[1..4].fill(Value::Null);
        None
    };
    assert_eq!(assert_whole(FaultyListing::episodes(120, Some(50), 1, fault)).await, 3 + 1);
    assert_eq!(assert_whole(FaultyListing::search(60, Some(10), 1, fault)).await, 5 + 1);
}

#[tokio::test]
async fn a_missing_next_and_an_endless_next() {
    let no_next: Fault = |page, _| {
        page.next = false;
        None
    };
    let endless_next: Fault = |page, _| {
        page.next = true;
        None
    };
    assert_eq!(assert_whole(FaultyListing::episodes(120, None, ALWAYS, no_next)).await, 3);
    assert_whole(FaultyListing::search(23, None, ALWAYS, no_next)).await;
    assert_whole(FaultyListing::episodes(120, None, ALWAYS, endless_next)).await;
    assert_whole(FaultyListing::search(23, None, ALWAYS, endless_next)).await;
}

#[tokio::test]
async fn a_search_that_keeps_returning_404_is_retried() {
    let (world, app) = ready().await;
    world.spotify.stub.always("/v1/search", || not_found("Not found."));
    let before = pages(&world, "/v1/search");
    let push = table("podcasts");
    for attempt in 1..4 {
        let answer = app.push(&push.again(attempt)).await;
        assert_eq!(answer.result(), (503, "retry spotify_unavailable"));
        assert!(answer.detail().contains("404 Not found."), "{}", answer.detail());
    }
    assert!(pages(&world, "/v1/search") - before >= 4, "it was accepted at once");
    assert!(world.pubsub.published("letters").is_empty());
    world.spotify.stub.heal();
    assert_eq!(app.push(&push.again(4)).await.result(), (204, "loaded"));
}

#[tokio::test]
async fn an_empty_search_is_accepted_only_if_it_stays_empty() {
    let empty: Fault = |page, _| {
        *page = Page { items: Vec::new(), total: 0, next: false };
        None
    };
    for times in 1..=3 {
        assert_whole(FaultyListing::search(60, Some(0), times, empty)).await;
        assert_whole(FaultyListing::episodes(120, Some(0), times, empty)).await;
    }
    let (world, app) = ready().await;
    let before = pages(&world, "/v1/search");
    let mut listing = FaultyListing::search(60, None, ALWAYS, empty);
    world.spotify.stub.on(move |call| listing.answer(call));
    assert_eq!(app.push(&table("podcasts")).await.result(), (204, "dead_lettered no_results"));
    assert!(pages(&world, "/v1/search") - before >= 4, "it was accepted at once");
    assert_eq!(world.bigquery.table(PODCASTS).unwrap().loads, 1);
}

/// Returns a message that names the show which the search finds.
fn named(world: &World) -> crate::support::Push {
    let id = &world.spotify.catalog.shows[0]["id"];
    message(&json!({"table": "episodes", "search_term": "data hackers", "show_id": id}))
}

#[tokio::test]
async fn a_named_show_that_returns_404_once() {
    let (world, app) = ready().await;
    let push = named(&world);
    world.spotify.stub.next(1, "/episodes", || not_found("non existing id"));
    assert_eq!(app.push(&push).await.result(), (204, "loaded"));
    assert_eq!(pages(&world, "/v1/shows/"), 1 + 2, "the show itself was looked up for one 404");
}

#[tokio::test]
async fn a_named_show_that_exists_but_whose_episodes_return_404() {
    let (world, app) = ready().await;
    let push = named(&world);
    world.spotify.stub.always("/episodes", || not_found("non existing id"));
    let answer = app.push(&push).await;
    assert_eq!(answer.result(), (503, "retry listing_incomplete"));
    assert!(answer.detail().contains("but the show exists"), "{}", answer.detail());
    assert!(world.pubsub.published("letters").is_empty());
    let calls = world.spotify.api_calls().len();
    let answer = app.push(&push.again(2)).await;
    assert_eq!(answer.result(), (503, "retry listing_incomplete"));
    assert_eq!(world.spotify.api_calls().len(), calls, "a redelivery read it again");
    assert_eq!(world.bigquery.table(EPISODES).unwrap().loads, 1);
}

#[tokio::test]
async fn a_named_show_that_does_not_exist_is_looked_up_before_it_is_a_dead_letter() {
    let (world, app) = ready().await;
    let push = named(&world);
    world.spotify.stub.always("/v1/shows/", || not_found("non existing id"));
    let before = pages(&world, "/v1/shows/");
    assert_eq!(app.push(&push).await.result(), (204, "dead_lettered no_such_show"));
    assert!(pages(&world, "/v1/shows/") - before >= 5, "it was accepted at once");
}

#[tokio::test]
async fn max_missing_percent_loads_a_contradictory_listing_and_verdicts_are_remembered() {
    let (world, app) = ready().await;
    // Otherwise it would share the reading of the first `episodes`.
    assert_eq!(app.push(&table("mentions")).await.result(), (204, "loaded"));
    // 8.3 % are missing.
    let fault: Fault = |page, _| {
        page.total = 120;
        None
    };
    let mut listing = FaultyListing::episodes(110, None, ALWAYS, fault);
    let rows = listing.rows();
    world.spotify.stub.on(move |call| listing.answer(call));
    let push = table("episodes");
    assert_eq!(app.push(&push).await.result(), (503, "retry listing_incomplete"));

    let calls = world.spotify.api_calls().len();
    let lower =
        |percent: u8| message(&json!({"table": "episodes", "max_missing_percent": percent}));
    for push in [push.again(2), table("mentions"), lower(0), lower(2)] {
        let answer = app.push(&push).await;
        assert_eq!(answer.result(), (503, "retry listing_incomplete"));
        assert!(answer.detail().contains("is not read again before"), "{}", answer.detail());
        let after = answer.retry_after.unwrap();
        assert!((1..=300).contains(&after), "{after}");
    }
    assert_eq!(world.spotify.api_calls().len(), calls);

    let log = Log::start();
    let higher = lower(9);
    assert_eq!(app.push(&higher).await.result(), (204, "loaded"));
    assert!(world.spotify.api_calls().len() > calls);
    assert_eq!(world.bigquery.rows(EPISODES), rows);
    let line = log.outcome(&higher.id);
    assert_eq!(
        (
            line["level"].as_str(),
            line["reason"].as_str(),
            line["listed"].as_str(),
            line["rows"].as_str()
        ),
        ("WARN", "within_tolerance", "120", "110")
    );
    // More is missing from that reading than another message for `mentions` tolerates.
    assert_ne!(app.push(&table("mentions")).await.status, 204);
}

#[tokio::test]
async fn two_missing_items_are_tolerated_at_any_percentage() {
    let (world, app) = ready().await;
    let fault: Fault = |page, _| {
        page.total = 9;
        None
    };
    let mut listing = FaultyListing::episodes(7, None, ALWAYS, fault);
    let rows = listing.rows();
    world.spotify.stub.on(move |call| listing.answer(call));
    let log = Log::start();
    let push = message(&json!({"table": "episodes", "max_missing_percent": 0}));
    assert_eq!(app.push(&push).await.result(), (204, "loaded"));
    assert_eq!(world.bigquery.rows(EPISODES), rows);
    assert_eq!(log.outcome(&push.id)["listed"], "9");
}

#[tokio::test]
async fn mentions_without_rows_need_a_whole_reading() {
    let mut shown = catalog(2, 120);
    for episode in shown.episodes.values_mut().flatten() {
        episode["description"] = json!("Sem apoio.");
    }
    let all = shown.episodes.values().next().unwrap().clone();
    let world = World::new(Spotify::start(shown).await).await;
    let mut config = world.config();
    config.timing.incomplete_ttl = Duration::from_secs(1);
    let app = App::start(config).await;
    let fault: Fault = |page, _| {
        page.total = 122;
        None
    };
    let mut listing = FaultyListing { all, ..FaultyListing::episodes(0, None, ALWAYS, fault) };
    world.spotify.stub.on(move |call| listing.answer(call));
    let push = table("mentions");
    let answer = app.push(&push).await;
    assert_eq!(answer.result(), (503, "retry listing_incomplete"));
    assert!(answer.detail().contains("2 of 122 episodes are missing"), "{}", answer.detail());
    assert!(world.bigquery.table(MENTIONS).is_none_or(|table| table.loads == 0));
    assert_eq!(app.push(&table("episodes")).await.result(), (204, "loaded"));

    world.spotify.stub.heal();
    let calls = world.spotify.api_calls().len();
    while app.push(&push.again(2)).await.status == 503 {
        assert_eq!(world.spotify.api_calls().len(), calls, "the show was read again too early");
    }
    assert!(world.spotify.api_calls().len() > calls, "the incomplete reading was used again");
    assert!(world.bigquery.rows(MENTIONS).is_empty());
}

#[tokio::test]
async fn a_contradictory_search_delays_its_own_table_only() {
    let (world, _) = ready().await;
    let app = world.app().await;
    let mut listing = FaultyListing::search(200, Some(20), ALWAYS, EMPTY_PAGE);
    // The show whose episodes Spotify has.
    listing.all[0] = world.spotify.catalog.shows[0].clone();
    world.spotify.stub.on(move |call| listing.answer(call));
    assert_eq!(app.push(&table("podcasts")).await.result(), (503, "retry listing_incomplete"));
    for name in ["episodes", "mentions"] {
        assert_eq!(app.push(&table(name)).await.result(), (204, "loaded"), "{name}");
    }
}
