//! One test for each kind of false answer that is reported of Spotify, told once and always: the table
//! is whole, or lacks no more than is tolerated and says so, or is left as it was.

use serde_json::{Value, json};

use crate::support::log::Log;
use crate::support::spotify::{Spotify, catalog, episode, episode_rows, piece, podcast_rows, show};
use crate::support::wire::{Act, Call, answer};
use crate::support::{App, EPISODES, MENTIONS, PODCASTS, World, message, table};

const ALWAYS: usize = usize::MAX;

/// What a listing's page says.
struct Page {
    items: Vec<Value>,
    total: usize,
    next: bool,
}

/// What a false answer makes of the true page.
type Lie = fn(&mut Page, &[Value]) -> Option<Act>;

/// A listing, and a page of it about which Spotify lies.
struct Told {
    path: &'static str,
    all: Vec<Value>,
    /// The page's offset; `None` for every page.
    offset: Option<usize>,
    times: usize,
    lie: Lie,
}

impl Told {
    fn search(shows: usize, offset: Option<usize>, times: usize, lie: Lie) -> Self {
        Self { path: "/v1/search", all: (0..shows).map(show).collect(), offset, times, lie }
    }

    fn episodes(episodes: usize, offset: Option<usize>, times: usize, lie: Lie) -> Self {
        Self { path: "/episodes", all: (0..episodes).map(episode).collect(), offset, times, lie }
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
        if self.times > 0 && self.offset.is_none_or(|about| about == offset) {
            self.times = self.times.saturating_sub(usize::from(self.times < ALWAYS));
            if let Some(act) = (self.lie)(&mut page, &self.all) {
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
        assert_eq!(app.push(&table(name)).await.told(), (204, "loaded"));
    }
    (world, app)
}

fn pages(world: &World, path: &str) -> usize {
    world.spotify.stub.calls_to("GET", path).len()
}

/// Pushes a message for the listing's table. Returns how many pages of it were requested.
async fn is_whole(mut told: Told) -> usize {
    let (world, app) = ready().await;
    let (path, (name, table_name), rows) = (told.path, told.table(), told.rows());
    let before = pages(&world, path);
    world.spotify.stub.on(move |call| told.answer(call));
    let log = Log::start();
    let push = table(name);
    assert_eq!(app.push(&push).await.told(), (204, "loaded"));
    assert_eq!(world.bigquery.rows(table_name), rows);
    assert!(!log.outcome(&push.id).contains_key("listed"), "{:?}", log.outcome(&push.id));
    pages(&world, path) - before
}

/// The same for a listing that stays contradictory. Returns the detail, too.
async fn is_left_as_it_was(mut told: Told) -> (usize, String) {
    let (world, app) = ready().await;
    let (path, (name, table_name)) = (told.path, told.table());
    let before = (pages(&world, path), world.bigquery.rows(table_name));
    world.spotify.stub.on(move |call| told.answer(call));
    let answer = app.push(&table(name)).await;
    assert_eq!(answer.told(), (503, "retry listing_incomplete"));
    assert!(answer.retry_after.is_some(), "a redelivery would find it remembered");
    assert!(answer.body["advice"].as_str().unwrap().contains("max_missing_percent"), "{answer:?}");
    assert_eq!(world.bigquery.rows(table_name), before.1);
    assert!(world.pubsub.published("letters").is_empty());
    (pages(&world, path) - before.0, answer.detail().to_owned())
}

fn not_found(words: &str) -> Act {
    answer(404, &json!({"error": {"status": 404, "message": words}}).to_string())
}

const EMPTY: Lie = |page, _| {
    page.items.clear();
    page.next = true;
    None
};

const NOT_FOUND: Lie = |_, _| Some(not_found("Not found."));

const NULLS: Lie = |page, _| {
    page.items.fill(Value::Null);
    None
};

#[tokio::test]
async fn an_empty_page_in_the_middle_of_a_search() {
    assert_eq!(is_whole(Told::search(200, Some(10), 1, EMPTY)).await, 5 + 1);
    let (_, detail) = is_left_as_it_was(Told::search(200, Some(10), ALWAYS, EMPTY)).await;
    assert!(
        detail.contains("the page at offset 10 was empty although more items were expected"),
        "{detail}"
    );
}

#[tokio::test]
async fn an_empty_page_in_the_middle_of_a_show() {
    assert_eq!(is_whole(Told::episodes(120, Some(50), 1, EMPTY)).await, 3 + 1);
    let (_, detail) = is_left_as_it_was(Told::episodes(120, Some(50), ALWAYS, EMPTY)).await;
    assert!(detail.contains("50 of 120 items are missing"), "{detail}");
}

#[tokio::test]
async fn a_last_page_that_is_empty() {
    let lie: Lie = |page, _| {
        page.items.clear();
        None
    };
    assert_eq!(is_whole(Told::episodes(120, Some(100), 1, lie)).await, 3 + 1);
    let (_, detail) = is_left_as_it_was(Told::episodes(120, Some(100), ALWAYS, lie)).await;
    assert!(detail.contains("20 of 120 items are missing"), "{detail}");
}

#[tokio::test]
async fn a_404_in_the_middle_of_a_search() {
    assert_eq!(is_whole(Told::search(200, Some(10), 1, NOT_FOUND)).await, 5 + 1);
    let (_, detail) = is_left_as_it_was(Told::search(200, Some(10), ALWAYS, NOT_FOUND)).await;
    assert!(detail.contains("the page at offset 10 was 404"), "{detail}");
}

#[tokio::test]
async fn a_404_in_the_middle_of_a_show() {
    let lie: Lie = |_, _| Some(not_found("non existing id"));
    assert_eq!(is_whole(Told::episodes(120, Some(50), 1, lie)).await, 3 + 1);
    let (_, detail) = is_left_as_it_was(Told::episodes(120, Some(50), ALWAYS, lie)).await;
    assert!(detail.contains("the page at offset 50 was 404"), "{detail}");
}

#[tokio::test]
async fn a_404_on_the_first_page_for_once() {
    for times in 1..=3 {
        is_whole(Told::episodes(120, Some(0), times, NOT_FOUND)).await;
        is_whole(Told::search(60, Some(0), times, NOT_FOUND)).await;
    }
}

#[tokio::test]
async fn totals_of_zero_beside_items() {
    let lie: Lie = |page, _| {
        page.total = 0;
        None
    };
    is_whole(Told::search(200, None, ALWAYS, lie)).await;
    is_whole(Told::search(23, None, ALWAYS, lie)).await;
    is_whole(Told::episodes(120, None, ALWAYS, lie)).await;
    is_whole(Told::episodes(120, Some(50), 1, lie)).await;
}

#[tokio::test]
async fn totals_that_are_too_low() {
    let lie: Lie = |page, _| {
        page.total = 50;
        None
    };
    is_whole(Told::episodes(120, None, ALWAYS, lie)).await;
    is_whole(Told::episodes(120, Some(0), 1, lie)).await;
}

#[tokio::test]
async fn a_total_that_nothing_fills_costs_no_more_than_thirty_requests() {
    let lie: Lie = |page, _| {
        page.total = 20_000;
        None
    };
    let (calls, detail) = is_left_as_it_was(Told::episodes(70, None, ALWAYS, lie)).await;
    assert!(calls <= 30, "{calls} requests");
    assert!(detail.contains("19930 of 20000 items are missing"), "{detail}");
    is_whole(Told::episodes(70, Some(0), 1, lie)).await;
}

#[tokio::test]
async fn an_offset_without_effect() {
    let lie: Lie = |page, all| {
        page.items = piece(all, 0, page.items.len().max(10)).to_vec();
        None
    };
    let all_are_first: Lie = |page, all| {
        page.items = piece(all, 0, 50).to_vec();
        None
    };
    is_whole(Told::search(200, Some(10), 1, lie)).await;
    is_whole(Told::episodes(120, Some(50), 1, all_are_first)).await;
    let (_, detail) = is_left_as_it_was(Told::episodes(120, None, ALWAYS, all_are_first)).await;
    assert!(detail.contains("70 of 120 items are missing"), "{detail}");
    assert!(detail.contains("contained only items of other pages"), "{detail}");
    is_left_as_it_was(Told::search(200, None, ALWAYS, lie)).await;
}

#[tokio::test]
async fn a_page_of_nulls() {
    assert_eq!(is_whole(Told::episodes(120, Some(50), 1, NULLS)).await, 3 + 1);
    assert_eq!(is_whole(Told::search(60, Some(10), 1, NULLS)).await, 5 + 1);
    let (_, detail) = is_left_as_it_was(Told::episodes(120, Some(50), ALWAYS, NULLS)).await;
    assert!(detail.contains("the page at offset 50 had 50 nulls"), "{detail}");
}

#[tokio::test]
async fn a_few_nulls_for_once() {
    let lie: Lie = |page, _| {
        page.items[1..4].fill(Value::Null);
        None
    };
    assert_eq!(is_whole(Told::episodes(120, Some(50), 1, lie)).await, 3 + 1);
    assert_eq!(is_whole(Told::search(60, Some(10), 1, lie)).await, 5 + 1);
}

#[tokio::test]
async fn no_next_although_there_is_more_and_a_next_although_there_is_none() {
    let none: Lie = |page, _| {
        page.next = false;
        None
    };
    let always: Lie = |page, _| {
        page.next = true;
        None
    };
    assert_eq!(is_whole(Told::episodes(120, None, ALWAYS, none)).await, 3);
    is_whole(Told::search(23, None, ALWAYS, none)).await;
    is_whole(Told::episodes(120, None, ALWAYS, always)).await;
    is_whole(Told::search(23, None, ALWAYS, always)).await;
}

#[tokio::test]
async fn a_search_that_answers_404_is_a_retry_however_often() {
    let (world, app) = ready().await;
    world.spotify.stub.always("/v1/search", || not_found("Not found."));
    let before = pages(&world, "/v1/search");
    let push = table("podcasts");
    for attempt in 1..4 {
        let answer = app.push(&push.again(attempt)).await;
        assert_eq!(answer.told(), (503, "retry spotify_unavailable"));
        assert!(answer.detail().contains("404 Not found."), "{}", answer.detail());
    }
    assert!(pages(&world, "/v1/search") - before >= 4, "it was believed at once");
    assert!(world.pubsub.published("letters").is_empty());
    world.spotify.stub.heal();
    assert_eq!(app.push(&push.again(4)).await.told(), (204, "loaded"));
}

#[tokio::test]
async fn an_empty_search_is_believed_when_it_stays_empty() {
    let nothing: Lie = |page, _| {
        *page = Page { items: Vec::new(), total: 0, next: false };
        None
    };
    for times in 1..=3 {
        is_whole(Told::search(60, Some(0), times, nothing)).await;
        is_whole(Told::episodes(120, Some(0), times, nothing)).await;
    }
    let (world, app) = ready().await;
    let before = pages(&world, "/v1/search");
    let mut told = Told::search(60, None, ALWAYS, nothing);
    world.spotify.stub.on(move |call| told.answer(call));
    assert_eq!(app.push(&table("podcasts")).await.told(), (204, "dead_lettered no_results"));
    assert!(pages(&world, "/v1/search") - before >= 4, "it was believed at once");
    assert_eq!(world.bigquery.table(PODCASTS).unwrap().loads, 1);
}

/// A message that names the show that the world's search finds.
fn named(world: &World) -> crate::support::Push {
    let id = &world.spotify.catalog.shows[0]["id"];
    message(&json!({"table": "episodes", "search_term": "data hackers", "show_id": id}))
}

#[tokio::test]
async fn a_named_show_that_answers_404_at_random() {
    let (world, app) = ready().await;
    let push = named(&world);
    world.spotify.stub.next(1, "/episodes", || not_found("non existing id"));
    assert_eq!(app.push(&push).await.told(), (204, "loaded"));
    assert_eq!(pages(&world, "/v1/shows/"), 1 + 2, "the show itself was looked up for one 404");
}

#[tokio::test]
async fn a_named_show_that_exists_and_whose_episodes_answer_404() {
    let (world, app) = ready().await;
    let push = named(&world);
    world.spotify.stub.always("/episodes", || not_found("non existing id"));
    let answer = app.push(&push).await;
    assert_eq!(answer.told(), (503, "retry listing_incomplete"));
    assert!(answer.detail().contains("but the show exists"), "{}", answer.detail());
    assert!(world.pubsub.published("letters").is_empty());
    let calls = world.spotify.api_calls().len();
    let answer = app.push(&push.again(2)).await;
    assert_eq!(answer.told(), (503, "retry listing_incomplete"));
    assert_eq!(world.spotify.api_calls().len(), calls, "a redelivery read it again");
    assert_eq!(world.bigquery.table(EPISODES).unwrap().loads, 1);
}

#[tokio::test]
async fn a_named_show_that_does_not_exist_is_looked_up_before_it_is_a_dead_letter() {
    let (world, app) = ready().await;
    let push = named(&world);
    world.spotify.stub.always("/v1/shows/", || not_found("non existing id"));
    let before = pages(&world, "/v1/shows/");
    assert_eq!(app.push(&push).await.told(), (204, "dead_lettered no_such_show"));
    assert!(pages(&world, "/v1/shows/") - before >= 5, "it was believed at once");
}

#[tokio::test]
async fn max_missing_percent_is_the_way_out_and_a_verdict_is_remembered() {
    let (world, app) = ready().await;
    // Else it would share the reading of the first `episodes`.
    assert_eq!(app.push(&table("mentions")).await.told(), (204, "loaded"));
    // 8.3 % are missing.
    let lie: Lie = |page, _| {
        page.total = 120;
        None
    };
    let mut told = Told::episodes(110, None, ALWAYS, lie);
    let rows = told.rows();
    world.spotify.stub.on(move |call| told.answer(call));
    let push = table("episodes");
    assert_eq!(app.push(&push).await.told(), (503, "retry listing_incomplete"));

    let calls = world.spotify.api_calls().len();
    let lower =
        |percent: u8| message(&json!({"table": "episodes", "max_missing_percent": percent}));
    for push in [push.again(2), table("mentions"), lower(0), lower(2)] {
        let answer = app.push(&push).await;
        assert_eq!(answer.told(), (503, "retry listing_incomplete"));
        assert!(answer.detail().contains("read some minutes ago"), "{}", answer.detail());
        let after = answer.retry_after.unwrap();
        assert!((1..=300).contains(&after), "{after}");
    }
    assert_eq!(world.spotify.api_calls().len(), calls);

    let log = Log::start();
    let higher = lower(9);
    assert_eq!(app.push(&higher).await.told(), (204, "loaded"));
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
    // That reading lacks more than another message for `mentions` allows.
    assert_ne!(app.push(&table("mentions")).await.status, 204);
}

#[tokio::test]
async fn two_missing_items_are_tolerated_at_any_percentage() {
    let (world, app) = ready().await;
    let lie: Lie = |page, _| {
        page.total = 9;
        None
    };
    let mut told = Told::episodes(7, None, ALWAYS, lie);
    let rows = told.rows();
    world.spotify.stub.on(move |call| told.answer(call));
    let log = Log::start();
    let push = message(&json!({"table": "episodes", "max_missing_percent": 0}));
    assert_eq!(app.push(&push).await.told(), (204, "loaded"));
    assert_eq!(world.bigquery.rows(EPISODES), rows);
    assert_eq!(log.outcome(&push.id)["listed"], "9");
}

#[tokio::test]
async fn mentions_without_a_row_need_a_whole_reading() {
    let mut shown = catalog(2, 120);
    for episode in shown.episodes.values_mut().flatten() {
        episode["description"] = json!("Sem apoio.");
    }
    let all = shown.episodes.values().next().unwrap().clone();
    let world = World::new(Spotify::start(shown).await).await;
    let app = world.app().await;
    let lie: Lie = |page, _| {
        page.total = 122;
        None
    };
    let mut told = Told { all, ..Told::episodes(0, None, ALWAYS, lie) };
    world.spotify.stub.on(move |call| told.answer(call));
    let answer = app.push(&table("mentions")).await;
    assert_eq!(answer.told(), (503, "retry listing_incomplete"));
    assert!(answer.detail().contains("2 of 122 episodes are missing"), "{}", answer.detail());
    assert!(world.bigquery.table(MENTIONS).is_none_or(|table| table.loads == 0));
    assert_eq!(app.push(&table("episodes")).await.told(), (204, "loaded"));

    world.spotify.stub.heal();
    let app = world.app().await;
    assert_eq!(app.push(&table("mentions")).await.told(), (204, "loaded"));
    assert!(world.bigquery.rows(MENTIONS).is_empty());
}

#[tokio::test]
async fn a_search_that_stays_contradictory_holds_up_its_own_table_only() {
    let (world, _) = ready().await;
    let app = world.app().await;
    let mut told = Told::search(200, Some(20), ALWAYS, EMPTY);
    // The show that the world knows.
    told.all[0] = world.spotify.catalog.shows[0].clone();
    world.spotify.stub.on(move |call| told.answer(call));
    assert_eq!(app.push(&table("podcasts")).await.told(), (503, "retry listing_incomplete"));
    for name in ["episodes", "mentions"] {
        assert_eq!(app.push(&table(name)).await.told(), (204, "loaded"), "{name}");
    }
}
