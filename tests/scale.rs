//! What one instance loads within Spotify's quota: 1,000 terms with three tables each, from four fan-outs. The
//! simulated Spotify has a rolling window, and blocks clients that do not wait. Time runs a hundred times faster
//! than in reality. The test takes a minute and needs an idle machine:
//! `cargo test --release --test wire scale -- --ignored --nocapture`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use futures_util::stream::{self, StreamExt};
use serde_json::{Value, json};
use spotify_bq::config::Config;
use spotify_bq::demo::Catalog;
use spotify_bq::retry::Backoff;

use crate::support::spotify::{Spotify, episode, episode_rows, podcast_rows, show};
use crate::support::wire::{Act, Call, Stub, answer_with};
use crate::support::{App, Push, World, message};

const TERMS: usize = 1_000;
const FAN_OUTS: usize = 4;

/// A second of simulated time.
const SECOND: Duration = Duration::from_millis(10);

/// Spotify's window and the number of calls that it allows. The real number is not published. It must be less
/// than the service can make.
const WINDOW: Duration = Duration::from_millis(300);
const QUOTA: usize = 60;

/// The duration of a call: 100 ms.
const LATENCY: Duration = Duration::from_millis(1);

/// A call that arrives sooner after a 429 may have been in flight.
const IN_FLIGHT: Duration = Duration::from_millis(25);

/// Concurrent calls: the default of the setting.
const CONCURRENT_CALLS: usize = 8;

/// Concurrent pushes: Cloud Run accepts 80.
const CONCURRENT_PUSHES: usize = 80;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a minute on an idle machine; part of .ci/long"]
async fn a_thousand_terms_are_loaded_within_the_quota() {
    let spotify = Spotify { stub: Stub::start(router()).await, catalog: Catalog::default() };
    let quota = Arc::new(Mutex::new(Quota::default()));
    let gate = Arc::clone(&quota);
    spotify.stub.on(move |call| gate.lock().unwrap().decide(call));
    let world = World::new(spotify).await;
    let app = App::start(config(&world)).await;

    for n in 0..FAN_OUTS {
        let share = TERMS / FAN_OUTS;
        let terms: Vec<String> = (n * share..(n + 1) * share).map(term).collect();
        let answer = app.push(&message(&json!({ "search_term": terms }))).await;
        assert_eq!(answer.outcome, "fanned_out");
    }
    let published = world.pubsub.published("trigger");
    assert_eq!(published.len(), 3 * TERMS);

    let watched = Arc::clone(&quota);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let quota = watched.lock().unwrap();
            println!(
                "{} served, {} refused, {} cooldowns, {} ignored",
                quota.served, quota.refused, quota.cooldowns, quota.ignored
            );
        }
    });
    let start = Instant::now();
    let deliveries: usize = stream::iter(&published)
        .map(|published| {
            let data: Value = serde_json::from_slice(&published.data).unwrap();
            deliver(&app, message(&data), &quota)
        })
        .buffer_unordered(CONCURRENT_PUSHES)
        .fold(0, async |sum, attempts| sum + attempts)
        .await;
    let took = start.elapsed();

    for n in 0..TERMS {
        let slug = format!("termo_{n}");
        assert_eq!(world.bigquery.rows(&format!("podcasts_{slug}")), podcast_rows(&shows(n)[..50]));
        let all = episodes(n);
        assert_eq!(world.bigquery.rows(&format!("episodes_{slug}")), episode_rows(&all));
        let mentioned: Vec<Value> = (0..all.len())
            .filter(|at| (n * 1000 + at).is_multiple_of(3))
            .map(|at| all[at].clone())
            .collect();
        assert_eq!(world.bigquery.rows(&format!("mentions_{slug}")), episode_rows(&mentioned));
    }
    let quota = quota.lock().unwrap();
    let allowed = took.as_secs_f64() / WINDOW.as_secs_f64() * QUOTA as f64;
    let share = quota.served as f64 / allowed;
    let hours = took.as_secs_f64() / SECOND.as_secs_f64() / 3600.0;
    let calls = quota.served as f64 / (3 * TERMS) as f64;
    println!(
        "{} tables in {hours:.2} h of simulated time ({took:?}), {deliveries} deliveries, {} calls \
         served, {calls:.2} per table, {:.0} tables per day, {} calls answered 429 in {} cooldowns, {:.0}% of \
         the quota used",
        3 * TERMS,
        quota.served,
        (3 * TERMS) as f64 / hours * 24.0,
        quota.refused,
        quota.cooldowns,
        share * 100.0
    );
    assert_eq!(quota.ignored, 0, "calls during a cooldown");
    assert!(
        calls <= 2.6,
        "{calls:.2} calls per table: episodes and mentions do not share readings"
    );
    assert!(share >= 0.8, "only {share:.2} of the quota was used");
}

/// Delivers a message with the subscription's backoff until it is acknowledged. Returns the number of attempts.
async fn deliver(app: &App, push: Push, quota: &Mutex<Quota>) -> usize {
    let mut attempt = 1;
    loop {
        let answer = app.push(&push.again(attempt)).await;
        if answer.status == 204 {
            assert!(["loaded", "already_loaded"].contains(&answer.outcome.as_str()), "{answer:?}");
            return attempt as usize;
        }
        assert_eq!(answer.status, 503, "{answer:?}");
        assert_eq!(quota.lock().unwrap().ignored, 0, "calls during a cooldown");
        tokio::time::sleep(SECOND * (10 << attempt.min(6)).min(600)).await;
        attempt += 1;
    }
}

fn config(world: &World) -> Config {
    let mut config = world.config();
    config.test_hooks.retry_after_second = Some(SECOND);
    let timing = &mut config.timing;
    timing.message_deadline = SECOND * 540;
    timing.show_ttl = SECOND * 600;
    timing.reading_ttl = SECOND * 900;
    timing.incomplete_ttl = SECOND * 300;
    timing.backoff = Backoff {
        base_delay: SECOND / 2,
        max_delay: SECOND * 20,
        attempts: 5,
        max_retry_after: SECOND * 30,
    };
    config
}

/// Spotify's rolling window and the calls.
#[derive(Default)]
struct Quota {
    calls: VecDeque<Instant>,
    /// The current cooldown: its start, its end, and the number of calls during it.
    cooldown: Option<(Instant, Instant, usize)>,
    served: usize,
    refused: usize,
    cooldowns: usize,
    /// Calls that should not have been made during a cooldown.
    ignored: usize,
}

impl Quota {
    fn decide(&mut self, call: &Call) -> Act {
        if !call.path.starts_with("/v1/") {
            return Act::Late(LATENCY);
        }
        let now = Instant::now();
        if let Some((since, until, calls)) = &mut self.cooldown
            && now < *until
        {
            self.refused += 1;
            *calls += 1;
            if *calls >= CONCURRENT_CALLS || now > *since + IN_FLIGHT {
                self.ignored += 1;
                *until = now + SECOND * 86_400;
            }
            return too_many_requests(*until - now);
        }
        while self.calls.front().is_some_and(|call| *call + WINDOW <= now) {
            self.calls.pop_front();
        }
        if self.calls.len() < QUOTA {
            self.calls.push_back(now);
            self.served += 1;
            return Act::Late(LATENCY);
        }
        self.refused += 1;
        self.cooldowns += 1;
        let until = self.calls[0] + WINDOW;
        self.cooldown = Some((now, until, 0));
        too_many_requests(until - now)
    }
}

fn too_many_requests(left: Duration) -> Act {
    let seconds = left.as_nanos().div_ceil(SECOND.as_nanos()).max(1).to_string();
    answer_with(429, &[("retry-after", &seconds)], "Too many requests")
}

type Pages = Arc<Mutex<BTreeMap<(usize, bool), Arc<Vec<Value>>>>>;

/// A Spotify in which each term has its own shows.
fn router() -> Router {
    let token = || async { axum::Json(json!({"access_token": "t", "expires_in": 3600})) };
    Router::new()
        .route("/api/token", post(token))
        .route("/v1/search", get(search))
        .route("/v1/shows/{id}/episodes", get(list))
        .with_state(Pages::default())
}

async fn search(
    State(pages): State<Pages>,
    Query(query): Query<BTreeMap<String, String>>,
) -> axum::Json<Value> {
    let n = query["q"].rsplit(' ').next().unwrap().parse().unwrap();
    let all =
        Arc::clone(pages.lock().unwrap().entry((n, true)).or_insert_with(|| Arc::new(shows(n))));
    axum::Json(json!({ "shows": page(&all, &query) }))
}

async fn list(
    State(pages): State<Pages>,
    Path(show): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> axum::Json<Value> {
    let n = show.trim_start_matches('0').parse().unwrap_or(0);
    let all = Arc::clone(
        pages.lock().unwrap().entry((n, false)).or_insert_with(|| Arc::new(episodes(n))),
    );
    axum::Json(page(&all, &query))
}

fn page(all: &[Value], query: &BTreeMap<String, String>) -> Value {
    let number = |name: &str| query[name].parse::<usize>().unwrap();
    let items: Vec<&Value> = all.iter().skip(number("offset")).take(number("limit")).collect();
    json!({ "items": items, "total": all.len() })
}

fn term(n: usize) -> String {
    format!("termo {n}")
}

/// Returns the results of a term's search. The term's show is the first.
fn shows(n: usize) -> Vec<Value> {
    let mut all: Vec<Value> = (0..60).map(|at| show(n * 100 + at)).collect();
    all[0]["id"] = json!(format!("{n:022}"));
    all
}

/// Returns one to four pages of episodes.
fn episodes(n: usize) -> Vec<Value> {
    let count = 20 + n * 37 % 160;
    (n * 1000..n * 1000 + count).map(episode).collect()
}
