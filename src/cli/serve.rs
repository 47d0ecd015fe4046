//! `serve`: the service, until SIGTERM or SIGINT.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::push_auth::PushAuth;
use crate::server;
use crate::service::Service;

/// The numbers of the signals, for the exit code.
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

pub(super) async fn run(config: Config) -> Result<(), String> {
    let (port, timing, project) = (config.port, config.timing.clone(), config.project.clone());
    let push_auth = PushAuth::new(&config);
    let verified = push_auth.is_some();
    let signal = ended()?;
    // Before anything that takes time: who connects meanwhile waits in the listener's queue.
    let listener = TcpListener::bind(("0.0.0.0", port)).await;
    let listener = listener.map_err(|error| {
        format!("PORT {port} can't be listened on: {error}; free it or set PORT to another")
    })?;
    let service = Arc::new(Service::new(config)?);
    let router = server::router(Arc::clone(&service), push_auth, project.as_deref());
    tracing::info!(event = "started", port, pushes_verified = verified, "listening on port {port}");
    server::serve(listener, router, service, timing.drain_timeout, signal).await;
    tracing::info!(event = "stopped", "stopped; what was in flight comes again");
    Ok(())
}

#[cfg(feature = "local")]
pub(super) async fn sample(port: u16) -> Result<(), String> {
    let signal = ended()?;
    let url = crate::demo::serve_sample(port).await?;
    say!("A sample Spotify listens at {url}; set SPOTIFY_API_URL and SPOTIFY_ACCOUNTS_URL to it.");
    signal.await;
    Ok(())
}

/// Returns a future that ends at the first SIGTERM or SIGINT. A second one, such as Ctrl-C pressed again,
/// ends the process at once.
fn ended() -> Result<impl Future<Output = ()>, String> {
    let listen = |kind| signal(kind).map_err(|error| format!("no signal handler: {error}"));
    let (mut terminate, mut interrupt) =
        (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let mut next = async move || {
        tokio::select! {
            _ = terminate.recv() => SIGTERM,
            _ = interrupt.recv() => SIGINT,
        }
    };
    Ok(async move {
        next().await;
        tokio::spawn(async move {
            let signal = next().await;
            std::process::exit(128 + signal);
        });
    })
}
