//! Faults of the simulated services during the fault phase: all that the real services are known for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::header::RETRY_AFTER;
use spotify_bq::retry;

use super::bans::{Bans, LONG_BAN};
use super::catalog::{Shared, process_of};
use super::clock::Clock;
use super::plan::Plan;
use super::random::SeededRandom;
use super::tables;
use crate::support::World;
use crate::support::bigquery::{Fate, error_body};
use crate::support::wire::{Act, Call, answer, answer_with};

/// Whether faults occur, and the clock of the phase.
#[derive(Clone)]
pub struct FaultPhase {
    active: Arc<AtomicBool>,
    pub clock: Clock,
}

impl FaultPhase {
    pub fn start() -> Self {
        Self { active: Arc::new(AtomicBool::new(true)), clock: Clock::new() }
    }

    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::SeqCst)
    }

    pub fn end(&self) {
        self.active.store(false, Ordering::SeqCst);
    }
}

const HTML: &str = "<!DOCTYPE html><html><body>Bad Gateway</body></html>";
const QUOTA: &str =
    r#"{"error":{"status":429,"message":"Too many requests","reason":"QUOTA_EXCEEDED"}}"#;
const PREMIUM: &str = "Active premium subscription required for the owner of the app.";
const SERVER_ERROR: &str = r#"{"error":{"status":500,"message":"Server error"}}"#;
const SHORT_BAN: Duration = Duration::from_secs(1);

/// Errors of accepted jobs. None is about rows.
const JOB_ERRORS: [&str; 12] = [
    "backendError",
    "stopped",
    "internalError",
    "rateLimitExceeded",
    "invalid: Provided Schema does not match Table. Field id has changed mode from REQUIRED to NULLABLE",
    "invalid: Too many partitions produced by the load",
    "accessDenied: Permission denied on Cloud KMS key",
    "accessDenied: Access Denied: Table p1:spotify_podcasts.t: bigquery.tables.updateData denied",
    "quotaExceeded: Quota exceeded: Your table exceeded quota for imports per table",
    "quotaExceeded: Quota exceeded: Your project exceeded quota for load jobs",
    "billingNotEnabled: Billing has not been enabled for this project",
    "tableUnavailable",
];

/// Injects faults into the calls to all services.
pub fn inject(world: &World, plan: &Plan, phase: &FaultPhase, bans: &Arc<Bans>, catalog: &Shared) {
    inject_into_spotify(world, plan, phase.clone(), Arc::clone(bans), Arc::clone(catalog));
    if plan.tables_exist {
        tables::create(&world.bigquery.state);
    }
    inject_into_calls_of_bigquery(world, plan, phase.clone());
    inject_into_jobs(world, plan, phase.clone());
    inject_into_pubsub(world, plan, phase);
}

fn inject_into_spotify(
    world: &World,
    plan: &Plan,
    phase: FaultPhase,
    bans: Arc<Bans>,
    catalog: Shared,
) {
    let mut api = SeededRandom::new(plan.seed, "spotify api");
    let mut tokens = SeededRandom::new(plan.seed, "spotify tokens");
    let (faults, with_bans) = (plan.faults, plan.bans);
    world.spotify.stub.on(move |call| {
        phase.clock.tick();
        let process = process_of(&call.headers);
        let fails = |random: &mut SeededRandom| phase.is_active() && random.chance(faults);
        match process {
            Some(process) => match bans.call(&process) {
                Some(left) => too_many_requests(left, false),
                None if fails(&mut api) => {
                    let ban = with_bans && api.chance(15);
                    if ban && let Some(act) = start_ban(&mut api, &bans, Some(&process)) {
                        return act;
                    }
                    api_fault(&mut api, &catalog)
                }
                // The label `read_at` has whole milliseconds: this makes it differ for two readings of a show.
                None => Act::Late(Duration::from_millis(1)),
            },
            None if fails(&mut tokens) => {
                let ban = with_bans && tokens.chance(10);
                if ban && let Some(act) = start_ban(&mut tokens, &bans, None) {
                    return act;
                }
                token_fault(&mut tokens)
            }
            None => Act::Pass,
        }
    });
}

fn inject_into_calls_of_bigquery(world: &World, plan: &Plan, phase: FaultPhase) {
    let mut calls = SeededRandom::new(plan.seed, "bigquery");
    let mut operator = SeededRandom::new(plan.seed, "operator");
    let (faults, late) = (plan.faults, plan.late_uploads);
    let state = Arc::clone(&world.bigquery.state);
    world.bigquery.stub.on(move |call| {
        phase.clock.tick();
        match phase.is_active() {
            true if operator.chance(faults / 3) => tables::break_table(&mut operator, &state),
            true if !operator.chance(faults / 4) => {}
            _ => tables::repair(&state),
        }
        if phase.is_active() && calls.chance(faults) {
            bigquery_fault(&mut calls, call, late)
        } else {
            Act::Pass
        }
    });
}

fn inject_into_jobs(world: &World, plan: &Plan, phase: FaultPhase) {
    let mut random = SeededRandom::new(plan.seed, "jobs");
    let (faults, binary) = (plan.faults, plan.binary);
    world.bigquery.fate(move |_| {
        // There are few jobs in a fault phase.
        let fails = phase.is_active() && random.chance(faults * 2);
        let fails = fails.then(|| *random.pick(&JOB_ERRORS));
        let pending = phase.is_active() && random.chance(faults / 4);
        // The binary polls every five seconds.
        let polls = match pending {
            true if binary => 5,
            true => random.number(40..200),
            false => random.number(0..4),
        };
        Fate { fails, polls: polls as u32 }
    });
}

fn inject_into_pubsub(world: &World, plan: &Plan, phase: &FaultPhase) {
    let mut refused = SeededRandom::new(plan.seed, "publishes");
    let mut lost = SeededRandom::new(plan.seed, "lost publishes");
    let faults = plan.faults;
    let codes = [
        tonic::Code::Unavailable,
        tonic::Code::Internal,
        tonic::Code::DeadlineExceeded,
        tonic::Code::PermissionDenied,
    ];
    let phase_of_lost = phase.clone();
    let phase = phase.clone();
    world.pubsub.on(move |_| {
        phase.clock.tick();
        (phase.is_active() && refused.chance(faults)).then(|| *refused.pick(&codes))
    });
    world.pubsub.lose(move |_| {
        let is_lost = phase_of_lost.is_active() && lost.chance(faults / 2);
        is_lost.then_some(tonic::Code::Unavailable)
    });
}

fn start_ban(random: &mut SeededRandom, bans: &Bans, process: Option<&str>) -> Option<Act> {
    let length = *random.pick(&[SHORT_BAN, SHORT_BAN, LONG_BAN]);
    bans.start(process, length).then(|| too_many_requests(length, random.chance(50)))
}

fn too_many_requests(left: Duration, quota: bool) -> Act {
    let seconds = left.as_nanos().div_ceil(1_000_000_000).to_string();
    // The limit on calls assumes that the service waits at least this long.
    debug_assert!(retry::retry_after(&seconds, std::time::SystemTime::now()) >= Some(left));
    let body = if quota { QUOTA } else { "Too many requests" };
    answer_with(429, &[(RETRY_AFTER.as_str(), &seconds)], body)
}

fn api_fault(random: &mut SeededRandom, catalog: &Shared) -> Act {
    match random.number(0..38) {
        0..3 => answer_with(429, &[(RETRY_AFTER.as_str(), "0")], "Too many requests"),
        3..5 => answer(429, "Too many requests"),
        5 => answer(429, QUOTA),
        6..8 => answer(500, SERVER_ERROR),
        8 => answer(502, HTML),
        9 => answer(503, ""),
        10 => answer_with(503, &[(RETRY_AFTER.as_str(), "3600")], ""),
        11 => answer(504, HTML),
        12..15 => Act::Cut,
        15..18 => Act::DoneThenCut,
        18 => Act::Hang,
        19..21 => answer(200, HTML),
        21..23 => answer(200, r#"{"shows":{"items":[{"id":"#),
        23..26 => {
            catalog.lock().unwrap().revoke();
            Act::Pass
        }
        26 => answer(403, PREMIUM),
        27 => answer(403, r#"{"error":{"status":403,"message":"Forbidden"}}"#),
        30 => answer(408, ""),
        31 => answer(425, "Too Early"),
        32 => answer(499, ""),
        33 => answer(401, r#"{"error":{"status":401,"message":"Access token missing"}}"#),
        34 => answer(451, ""),
        35 => answer(403, "Rate limit exceeded"),
        36 => answer(200, r#"{"error":{"status":429,"message":"Too many requests"}}"#),
        37 => answer(200, SERVER_ERROR),
        _ => Act::Late(random.millis(1..60)),
    }
}

fn token_fault(random: &mut SeededRandom) -> Act {
    match random.number(0..13) {
        0 => answer(503, ""),
        1 => answer(500, HTML),
        2 => answer(400, r#"{"error":"invalid_client","error_description":"Invalid client"}"#),
        3 => answer(401, r#"{"error":"invalid_client"}"#),
        4 => answer(429, "Too many requests"),
        5 => answer(200, r#"{"access_tok"#),
        6 => Act::Hang,
        7 => Act::DoneThenCut,
        8 => Act::Late(random.millis(1..60)),
        10 => answer(408, ""),
        11 => answer(403, HTML),
        12 => answer(200, r#"{"error":"server_error"}"#),
        _ => Act::Cut,
    }
}

fn bigquery_fault(random: &mut SeededRandom, call: &Call, late: bool) -> Act {
    let upload = call.path.starts_with("/upload/");
    if call.method == "PUT" && random.chance(30) {
        return lost_session(random);
    }
    match random.number(0..25) {
        0..3 => answer(503, &error_body(503, "backendError", "Try again")),
        3 => answer(500, &error_body(500, "internalError", "")),
        4 => answer(502, HTML),
        5 => answer(503, ""),
        6..8 => answer(403, &error_body(403, "rateLimitExceeded", "Exceeded rate limits")),
        8 => answer(403, &error_body(403, "quotaExceeded", "Your project exceeded quota")),
        9 => answer(403, &error_body(403, "accessDenied", "Access Denied: Project p1")),
        10 => answer(401, &error_body(401, "authError", "Invalid Credentials")),
        11..13 => Act::Cut,
        13..17 => Act::DoneThenCut,
        17 => Act::Hang,
        18 => {
            let incomplete = answer(200, r#"{"jobReference":"#);
            if upload { incomplete.after_router() } else { incomplete }
        }
        22 => answer(400, &error_body(400, "tableUnavailable", "Table is unavailable")),
        23 => answer(403, &error_body(403, "billingNotEnabled", "Billing has not been enabled")),
        24 => answer(404, &error_body(404, "notFound", "Not found: Dataset p1:spotify_podcasts")),
        19 | 20 if upload && late => Act::CutThenDone(random.millis(1..150)),
        _ => Act::Late(random.millis(1..60)),
    }
}

/// Loses an upload session, before or after its rows arrived.
fn lost_session(random: &mut SeededRandom) -> Act {
    let status = *random.pick(&[410, 499, 404]);
    let body = *random.pick(&["", HTML]);
    let gone = answer(status, body);
    if random.chance(50) { gone.after_router() } else { gone }
}
