//! spotify-bq keeps Spotify podcast data in BigQuery: one Pub/Sub message replaces one table, whole
//! or not at all.
//!
//! The modules in the order in which data goes through them: a push arrives at [`server`], is
//! verified by [`push_auth`], decoded by [`envelope`] and understood by [`job`]; [`service`] sees it
//! through: [`extraction`] reads [`spotify`] into [`rows`], and [`warehouse`] puts those in the place
//! of the table. What goes wrong is a [`failure`]; what must be published goes through [`publisher`].
#![forbid(unsafe_code)]

/// Prints a line to standard output, in colours only where a terminal takes them. A reader that has gone (`| head`) is no failure, which
/// `println!` would make of it.
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
mod keyed;
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
pub mod telemetry;
mod text;
pub mod warehouse;

pub use http::install_tls_provider;
