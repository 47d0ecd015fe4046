//! The tests that meet the service at the wire: the real app on a free port, between a Spotify, a
//! BigQuery and a Pub/Sub that are simulated whole.
#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(unreachable_pub, reason = "a test binary has no outside")]

mod documents;
mod main_job;
mod scale;
mod support;
