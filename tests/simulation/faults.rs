//! What goes wrong at the wire while the storm lasts: all that these services have been seen to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::header::RETRY_AFTER;
use spotify_bq::retry;

use super::bans::{Bans, DAY};
use super::catalogue::{Shared, process_of};
use super::clock::Clock;
use super::dice::Dice;
use super::plan::Plan;
use super::tables;
use crate::support::World;
use crate::support::bigquery::{Fate, error_body};
use crate::support::wire::{Act, Call, answer, answer_with};

/// Whether things go wrong, and the time by which they do.
#[derive(Clone)]
pub struct Weather {
    stormy: Arc<AtomicBool>,
    pub clock: Clock,
}

impl Weather {
    pub fn stormy() -> Self {
        Self { stormy: Arc::new(AtomicBool::new(true)), clock: Clock::new() }
    }

    pub fn is_stormy(&self) -> bool {
        self.stormy.load(Ordering::SeqCst)
    }

    pub fn clear_up(&self) {
        self.stormy.store(false, Ordering::SeqCst);
    }
}

const HTML: &str = "<!DOCTYPE html><html><body>Bad Gateway</body></html>";
const QUOTA: &str =
    r#"{"error":{"status":429,"message":"Too many requests","reason":"QUOTA_EXCEEDED"}}"#;
const PREMIUM: &str = "Active premium subscription required for the owner of the app.";
const SERVER_ERROR: &str = r#"{"error":{"status":500,"message":"Server error"}}"#;
const BAN: Duration = Duration::from_secs(1);

/// How jobs fail that were accepted, none of them for their rows' sake.
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

/// From now on all of the world goes wrong as planned.
pub fn begin(world: &World, plan: &Plan, weather: &Weather, bans: &Arc<Bans>, catalogue: &Shared) {
    let dice = |actor: &str| Dice::new(plan.seed, actor);
    let faults = plan.faults;

    let (mut api, mut tokens) = (dice("spotify api"), dice("spotify tokens"));
    let (bans, catalogue, with_bans) = (Arc::clone(bans), Arc::clone(catalogue), plan.bans);
    let fair = weather.clone();
    world.spotify.stub.on(move |call| {
        fair.clock.tick();
        let process = process_of(&call.headers);
        let wrong = |dice: &mut Dice| fair.is_stormy() && dice.chance(faults);
        match process {
            Some(process) => match bans.call(&process) {
                Some(left) => banned(left, false),
                None if wrong(&mut api) => {
                    let ban = with_bans && api.chance(15);
                    if ban && let Some(act) = ban_of(&mut api, &bans, Some(&process)) {
                        return act;
                    }
                    spotify(&mut api, &catalogue)
                }
                None => Act::Pass,
            },
            None if wrong(&mut tokens) => {
                let ban = with_bans && tokens.chance(10);
                if ban && let Some(act) = ban_of(&mut tokens, &bans, None) {
                    return act;
                }
                token(&mut tokens)
            }
            None => Act::Pass,
        }
    });

    if plan.tables_exist {
        tables::create(&world.bigquery.state);
    }
    let (mut calls, fair, late) = (dice("bigquery"), weather.clone(), plan.late_uploads);
    let (mut operator, state) = (dice("operator"), Arc::clone(&world.bigquery.state));
    world.bigquery.stub.on(move |call| {
        fair.clock.tick();
        match fair.is_stormy() {
            true if operator.chance(faults / 3) => tables::spoil(&mut operator, &state),
            true if !operator.chance(faults / 4) => {}
            _ => tables::repair(&state),
        }
        if fair.is_stormy() && calls.chance(faults) {
            bigquery(&mut calls, call, late)
        } else {
            Act::Pass
        }
    });
    let (mut fates, fair, binary) = (dice("jobs"), weather.clone(), plan.binary);
    world.bigquery.fate(move |_| {
        // A storm sees few jobs.
        let fails = fair.is_stormy() && fates.chance(faults * 2);
        let fails = fails.then(|| *fates.pick(&JOB_ERRORS));
        let pending = fair.is_stormy() && fates.chance(faults / 4);
        // The binary looks every five seconds, as in life.
        let polls = match pending {
            true if binary => 5,
            true => fates.number(40..200),
            false => fates.number(0..4),
        };
        Fate { fails, polls: polls as u32 }
    });

    let (mut refused, mut lost) = (dice("publishes"), dice("lost publishes"));
    let (fair, fair_too) = (weather.clone(), weather.clone());
    let codes = [
        tonic::Code::Unavailable,
        tonic::Code::Internal,
        tonic::Code::DeadlineExceeded,
        tonic::Code::PermissionDenied,
    ];
    world.pubsub.on(move |_| {
        fair.clock.tick();
        (fair.is_stormy() && refused.chance(faults)).then(|| *refused.pick(&codes))
    });
    world.pubsub.lose(move |_| {
        (fair_too.is_stormy() && lost.chance(faults / 2)).then_some(tonic::Code::Unavailable)
    });
}

fn ban_of(dice: &mut Dice, bans: &Bans, told: Option<&str>) -> Option<Act> {
    let length = *dice.pick(&[BAN, BAN, DAY]);
    bans.announce(told, length).then(|| banned(length, dice.chance(50)))
}

fn banned(left: Duration, quota: bool) -> Act {
    let seconds = left.as_nanos().div_ceil(1_000_000_000).to_string();
    // The service must take these seconds for what they are, or the bound on calls means nothing.
    debug_assert!(retry::retry_after(&seconds, std::time::SystemTime::now()) >= Some(left));
    let body = if quota { QUOTA } else { "Too many requests" };
    answer_with(429, &[(RETRY_AFTER.as_str(), &seconds)], body)
}

fn spotify(dice: &mut Dice, catalogue: &Shared) -> Act {
    match dice.number(0..38) {
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
            catalogue.lock().unwrap().revoke();
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
        _ => Act::Late(dice.millis(1..60)),
    }
}

fn token(dice: &mut Dice) -> Act {
    match dice.number(0..13) {
        0 => answer(503, ""),
        1 => answer(500, HTML),
        2 => answer(400, r#"{"error":"invalid_client","error_description":"Invalid client"}"#),
        3 => answer(401, r#"{"error":"invalid_client"}"#),
        4 => answer(429, "Too many requests"),
        5 => answer(200, r#"{"access_tok"#),
        6 => Act::Hang,
        7 => Act::DoneThenCut,
        8 => Act::Late(dice.millis(1..60)),
        10 => answer(408, ""),
        11 => answer(403, HTML),
        12 => answer(200, r#"{"error":"server_error"}"#),
        _ => Act::Cut,
    }
}

fn bigquery(dice: &mut Dice, call: &Call, late: bool) -> Act {
    let upload = call.path.starts_with("/upload/");
    if call.method == "PUT" && dice.chance(30) {
        return lost_session(dice);
    }
    match dice.number(0..25) {
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
        18 => match answer(200, r#"{"jobReference":"#) {
            Act::Answer(broken) if upload => Act::DoneThenAnswer(broken),
            act => act,
        },
        22 => answer(400, &error_body(400, "tableUnavailable", "Table is unavailable")),
        23 => answer(403, &error_body(403, "billingNotEnabled", "Billing has not been enabled")),
        24 => answer(404, &error_body(404, "notFound", "Not found: Dataset p1:spotify_podcasts")),
        19 | 20 if upload && late => Act::CutThenDone(dice.millis(1..150)),
        _ => Act::Late(dice.millis(1..60)),
    }
}

/// The session is gone, whether its rows had arrived or not.
fn lost_session(dice: &mut Dice) -> Act {
    let status = *dice.pick(&[410, 499, 404]);
    let body = *dice.pick(&["", HTML]);
    match answer(status, body) {
        Act::Answer(gone) if dice.chance(50) => Act::DoneThenAnswer(gone),
        act => act,
    }
}
