//! `serve`: runs the service until SIGTERM or SIGINT.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::push_auth::PushAuth;
use crate::server;
use crate::service::Service;

/// Signal numbers, for the exit code.
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

pub(super) async fn run(config: Config) -> Result<(), String> {
    let (port, timing, project) = (config.port, config.timing.clone(), config.project.clone());
    let push_auth = PushAuth::new(&config);
    let verified = push_auth.is_some();
    let shutdown = shutdown_signal()?;
    // First, so that clients that connect during the start wait in the listener's queue.
    let listener = TcpListener::bind(("0.0.0.0", port)).await;
    let listener = listener.map_err(|error| {
        format!("cannot listen on port {port}: {error}; set PORT to a free port")
    })?;
    let port = listener.local_addr().map_or(port, |address| address.port());
    let service = Arc::new(Service::new(config)?);
    let router = server::router(Arc::clone(&service), push_auth, project.as_deref());
    tracing::info!(event = "started", port, pushes_verified = verified, "listening on port {port}");
    server::serve(listener, router, service, timing.drain_timeout, shutdown).await;
    tracing::info!(event = "stopped", "stopped; Pub/Sub redelivers unfinished messages");
    Ok(())
}

/// Returns a future that completes at the first SIGTERM or SIGINT. A second signal, such as Ctrl-C pressed
/// again, ends the process immediately.
pub(super) fn shutdown_signal() -> Result<impl Future<Output = ()>, String> {
    let listen =
        |kind| signal(kind).map_err(|error| format!("cannot install a signal handler: {error}"));
    let (mut terminate, mut interrupt) =
        (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let mut next_signal = async move || {
        tokio::select! {
            _ = terminate.recv() => SIGTERM,
            _ = interrupt.recv() => SIGINT,
        }
    };
    Ok(async move {
        next_signal().await;
        tokio::spawn(async move {
            let signal = next_signal().await;
            std::process::exit(128 + signal);
        });
    })
}
