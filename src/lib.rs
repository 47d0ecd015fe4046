//! spotify-bq keeps Spotify podcast data in BigQuery: one Pub/Sub message replaces one table, completely
//! or not at all.
//!
//! How a message passes through the modules: [`server`] receives the push, [`push_auth`] verifies it,
//! [`envelope`] decodes it, and [`job`] parses the message. [`service`] then handles it: [`extraction`]
//! reads [`spotify`] into [`rows`], and [`warehouse`] replaces the table with them. [`publisher`]
//! publishes to Pub/Sub. An error is a [`failure`], which decides how the push is answered.
#![forbid(unsafe_code)]

/// Prints a line to standard output, with colors only for a terminal. Unlike `println!` it does not panic
/// if the reader has gone (`| head`).
macro_rules! say {
    ($($line:tt)*) => {{
        let _ = std::io::Write::write_fmt(
            &mut anstream::stdout().lock(),
            format_args!("{}\n", format_args!($($line)*)),
        );
    }};
}

pub mod cli;
pub mod config;
pub mod context;
#[cfg(feature = "local")]
pub mod demo;
pub mod envelope;
pub mod extraction;
pub mod failure;
pub mod google;
mod http;
pub mod job;
pub mod letter;
pub mod names;
pub mod publisher;
pub mod push;
pub mod push_auth;
pub mod retry;
pub mod rows;
#[doc(hidden)]
pub mod seam;
pub mod server;
pub mod service;
pub mod spotify;
mod sync;
pub mod telemetry;
mod text;
pub mod warehouse;

pub use http::install_tls_provider;
