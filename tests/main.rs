//! The tests that meet the service at the wire: the real app on a free port, between a Spotify, a
//! BigQuery and a Pub/Sub that are simulated whole.
#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(unreachable_pub, reason = "a test binary has no outside")]

mod bigquery_faults;
mod check;
mod commands;
mod demo;
mod denials;
mod documents;
mod emulators;
mod events;
mod fan_out;
mod fuzz_seeds;
mod google_credentials;
mod hostile;
mod listing_properties;
mod listings;
mod load_jobs;
mod logs;
mod lying_pages;
mod main_job;
mod messages;
mod moving_listings;
mod odd_values;
mod outages;
mod pages;
mod panics;
mod push_auth;
mod redrive;
mod refusals;
mod scale;
mod secrets;
mod show_choice;
mod shutdown;
mod simulation;
mod spotify_faults;
mod sqlite;
mod support;
mod tables;
mod terms;
mod throttling;
mod tokens;
mod turns;
mod upload;
mod wait;
