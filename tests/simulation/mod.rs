//! Nothing lost, nothing doubled: the real app between a Pub/Sub, a Spotify and a BigQuery that fail
//! in every way they have been seen to, killed and started anew meanwhile. A seed decides all that
//! the simulation chooses; sockets and the scheduler keep some of the order to themselves.

mod bans;
mod catalogue;
mod clock;
mod dice;
mod faults;
mod instance;
mod lies;
mod loads;
mod message;
mod plan;
mod queue;
mod tables;
mod verdict;
mod world;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::runtime::Builder;

/// Seeds of a plain `cargo test`.
const SEEDS: u64 = 200;

/// Seeds at once: they mostly wait.
const AT_ONCE: usize = 24;

/// Failed seeds after which no more are begun.
const ENOUGH: usize = 3;

#[test]
fn nothing_is_lost_and_nothing_doubled() {
    spotify_bq::install_tls_provider();
    let seeds = seeds();
    let next = AtomicU64::new(seeds.start);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min((seeds.end - seeds.start) as usize) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || failed.lock().unwrap().len() >= ENOUGH {
                        break;
                    }
                    let complaints = complaints(seed);
                    if !complaints.is_empty() {
                        println!("seed {seed}:\n  {}", complaints.join("\n  "));
                        failed.lock().unwrap().push(seed);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    let (shared, tolerated) =
        (loads::SHARED.load(Ordering::Relaxed), loads::TOLERATED.load(Ordering::Relaxed));
    println!("{shared} loads shared a reading, {tolerated} lacked what the tolerance allows");
    assert!(shared > 0 || seeds.end - seeds.start < SEEDS, "no reading was shared");
    assert!(
        failed.is_empty(),
        "seeds {failed:?} failed, of {} begun; again with\n  SIM_SEED={} cargo test --test wire simulation -- --nocapture",
        next.into_inner().min(seeds.end) - seeds.start,
        failed[0],
    );
}

fn complaints(seed: u64) -> Vec<String> {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let run = || runtime.block_on(world::run(seed));
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
        vec![format!("panicked: {}", words.unwrap_or("without words"))]
    })
}

/// `SIM_SEED=n` runs that one and shows the service's log; `SIM_SEEDS=n` runs so many, from
/// `SIM_FROM` on.
fn seeds() -> Range<u64> {
    let number = |name| setting(name).map(|n| n.parse().expect("SIM_… must be a number"));
    if let Some(seed) = number("SIM_SEED") {
        return seed..seed + 1;
    }
    let from = number("SIM_FROM").unwrap_or(0);
    from..from + number("SIM_SEEDS").unwrap_or(SEEDS)
}

/// Whether the log of the services goes to the terminal.
fn shows_log() -> bool {
    setting("SIM_SEED").is_some()
}

fn setting(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "these are the test's own settings")]
    std::env::var(name).ok()
}
