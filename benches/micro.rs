//! Single steps in the handling of a message: `cargo bench --bench micro`.
#![allow(clippy::expect_used, reason = "a benchmark may panic")]
#![allow(unreachable_pub, reason = "a benchmark exports nothing")]

#[path = "compare/sample.rs"]
#[allow(dead_code, reason = "the comparison uses the rest")]
mod sample;

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use serde_json::json;
use spotify_bq::config::Phrases;
use spotify_bq::names::{Kind, Naming, Term};
use spotify_bq::{envelope, job, push, seam};

/// The number of episodes, as in the comparison.
const EPISODES: usize = 320;

fn main() {
    divan::main();
}

fn page() -> Vec<u8> {
    sample::page(EPISODES, 0, 50, sample::episode).to_string().into_bytes()
}

fn phrases() -> Phrases {
    Phrases::parse("Grupo Boticário").expect("a phrase")
}

fn naming() -> Naming {
    Naming {
        term: Term::parse("data hackers").expect("a term"),
        tables: ["tb_p", "tb_e", "tb_m"].map(str::to_owned),
    }
}

/// Parses the body of a push into a job.
#[divan::bench]
fn envelope_to_job(bencher: Bencher<'_, '_>) {
    let data = json!({"table": "mentions", "search_term": "data hackers"}).to_string();
    let body = push::envelope(data.as_bytes(), "123456789", "2026-11-24T09:00:00Z").to_string();
    let naming = naming();
    bencher.counter(BytesCount::of_str(&body)).bench(|| {
        let envelope = envelope::parse(black_box(body.as_bytes())).expect("an envelope");
        job::parse(&envelope.message, &naming).expect("a job")
    });
}

/// Converts a page of 50 episodes to rows.
#[divan::bench]
fn page_to_rows(bencher: Bencher<'_, '_>) {
    let (page, phrases) = (page(), phrases());
    bencher
        .counter(BytesCount::of_slice(&page))
        .bench(|| seam::rows(Kind::Episodes, black_box(&page), &phrases));
}

/// Converts only the episodes of the page that mention the phrase.
#[divan::bench]
fn page_to_mentions(bencher: Bencher<'_, '_>) {
    let (page, phrases) = (page(), phrases());
    bencher
        .counter(BytesCount::of_slice(&page))
        .bench(|| seam::rows(Kind::Mentions, black_box(&page), &phrases));
}

/// Folds and searches names and descriptions of 320 episodes.
#[divan::bench]
fn folding_and_search(bencher: Bencher<'_, '_>) {
    let texts: Vec<String> = (0..EPISODES)
        .flat_map(|n| {
            let episode = sample::episode(n);
            ["name", "description"].map(|key| episode[key].as_str().unwrap_or("").to_owned())
        })
        .collect();
    let bytes: usize = texts.iter().map(String::len).sum();
    let mut folded = String::new();
    bencher.counter(BytesCount::new(bytes)).bench_local(|| {
        let is_mention = |text: &&String| {
            seam::fold_into(black_box(text), &mut folded);
            folded.contains("grupo boticario")
        };
        texts.iter().filter(is_mention).count()
    });
}

/// Builds the body of an upload of 50 rows and joins its pieces, as the connection does.
#[divan::bench]
fn multipart_body(bencher: Bencher<'_, '_>) {
    let rows = seam::rows(Kind::Episodes, &page(), &phrases()).expect("a page");
    let job = vec![b'x'; 1500];
    bencher.counter(BytesCount::new(rows.bytes())).bench(|| {
        let (_, pieces) = seam::multipart_body(black_box(&job), &rows);
        pieces.concat()
    });
}
