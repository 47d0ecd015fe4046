//! The listener: limits connections and their buffers, and lets messages in flight complete on shutdown.
//! `axum::serve` limits neither the number of connections nor the time for a request's head.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::service::Service;

/// The maximum number of concurrent connections. Cloud Run sends at most as many requests as its concurrency (80). Further
/// connections wait in the listener's queue.
const MAX_CONNECTIONS: usize = 1000;

/// The buffer for a request's head. Google's front end sends a few kilobytes.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// The pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The time to send 503 responses to messages that did not complete. Cloud Run stops the process 10 s after SIGTERM;
/// the drain timeout is 8 s.
const LAST_RESPONSES_TIMEOUT: Duration = Duration::from_millis(500);

/// Serves until `signal`, and then waits up to `drain` for messages in flight. The rest are answered 503.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    service: Arc<Service>,
    drain: Duration,
    signal: impl Future<Output = ()>,
) {
    let graceful = GracefulShutdown::new();
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut builder = http1::Builder::new();
    let head_time = service.timing().request_head_timeout;
    builder.timer(TokioTimer::new()).header_read_timeout(head_time).max_buf_size(MAX_HEAD_BYTES);
    let mut signal = std::pin::pin!(signal);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &connections) => accepted,
            () = &mut signal => break,
        };
        let (stream, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // The pause avoids a busy loop if the cause persists, for example too many open files.
                tracing::warn!(event = "accept", "a connection could not be accepted: {error}");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // If the connection breaks, the handler is dropped with it, and Pub/Sub redelivers the message.
            let _ = connection.await;
            drop(permit);
        });
    }
    drop(listener);
    service.draining.cancel();
    let mut ended = std::pin::pin!(graceful.shutdown());
    if timeout(drain, &mut ended).await.is_err() {
        service.stopped.cancel();
        let _ = timeout(LAST_RESPONSES_TIMEOUT, &mut ended).await;
    }
}

async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> io::Result<(tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(connections).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}
