//! No message is lost or loaded twice: the real app with a Pub/Sub, a Spotify and a BigQuery that fail in
//! every known way, while the app is killed and restarted. A seed determines all choices of the simulation,
//! but not the order of concurrent tasks and connections.

mod bans;
mod catalog;
mod checks;
mod clock;
mod faults;
mod instance;
mod loads;
mod message;
mod page_faults;
mod plan;
mod queue;
mod random;
mod run;
mod tables;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::runtime::Builder;

/// The number of seeds without settings.
const SEEDS: u64 = 200;

/// Concurrent seeds. They mostly wait.
const CONCURRENT_SEEDS: usize = 24;

/// After this many failed seeds, no more are started.
const MAX_FAILED_SEEDS: usize = 3;

#[test]
fn no_message_is_lost_or_loaded_twice() {
    spotify_bq::install_tls_provider();
    let seeds = seeds();
    let next = AtomicU64::new(seeds.start);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..CONCURRENT_SEEDS.min((seeds.end - seeds.start) as usize) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || failed.lock().unwrap().len() >= MAX_FAILED_SEEDS {
                        break;
                    }
                    let violations = violations(seed);
                    if !violations.is_empty() {
                        println!("seed {seed}:\n  {}", violations.join("\n  "));
                        failed.lock().unwrap().push(seed);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    let (shared, tolerated) =
        (loads::SHARED.load(Ordering::Relaxed), loads::TOLERATED.load(Ordering::Relaxed));
    println!("{shared} loads shared a reading, {tolerated} lacked rows within the tolerance");
    assert!(shared > 0 || seeds.end - seeds.start < SEEDS, "no reading was shared");
    assert!(
        failed.is_empty(),
        "seeds {failed:?} failed, of {} begun; to repeat one, run\n  SIM_SEED={} cargo test --test wire simulation -- --nocapture",
        next.into_inner().min(seeds.end) - seeds.start,
        failed[0],
    );
}

fn violations(seed: u64) -> Vec<String> {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let run = || runtime.block_on(run::run(seed));
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        vec![format!("panicked: {}", text.unwrap_or("no message"))]
    })
}

/// Returns the seeds to run: with `SIM_SEED=n` this one, with `SIM_SEEDS=n` this many, from `SIM_FROM` on.
fn seeds() -> Range<u64> {
    let number = |name| setting(name).map(|n| n.parse().expect("SIM_… must be a number"));
    if let Some(seed) = number("SIM_SEED") {
        return seed..seed + 1;
    }
    let from = number("SIM_FROM").unwrap_or(0);
    from..from + number("SIM_SEEDS").unwrap_or(SEEDS)
}

/// Returns whether to print the log of the services, which `SIM_SEED` requests.
fn shows_log() -> bool {
    setting("SIM_SEED").is_some()
}

fn setting(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "a setting of the test")]
    std::env::var(name).ok()
}
