//! The listener: connections bounded in number and in what they may hold, and a shutdown that lets
//! messages in flight end. (`axum::serve` sets no bound to connections, nor to how long a request's
//! head may take.)

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

/// Connections at once. Cloud Run sends at most as many requests as its concurrency; more come only
/// from elsewhere, and wait in the listener's queue.
const CONNECTIONS: usize = 1000;

/// What a connection may buffer of a request's head; Google's front end sends some kilobytes.
const HEAD: usize = 64 * 1024;

/// Answers until `signal`, then gives messages in flight `drain` to end, and those that have not
/// by then a moment to hand over their 503.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    service: Arc<Service>,
    drain: Duration,
    signal: impl Future<Output = ()>,
) {
    let graceful = GracefulShutdown::new();
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    let mut builder = http1::Builder::new();
    let head_time = service.timing().request_head_timeout;
    builder.timer(TokioTimer::new()).header_read_timeout(head_time).max_buf_size(HEAD);
    let mut signal = std::pin::pin!(signal);
    loop {
        let stream = tokio::select! {
            accepted = accept(&listener, &connections) => accepted,
            () = &mut signal => break,
        };
        let (stream, permit) = match stream {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file handles, say: without a pause this would spin.
                tracing::warn!(event = "accept", "a connection could not be accepted: {error}");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // What breaks a connection is the other side's affair; the handler is dropped with it,
            // and the message comes again.
            let _ = connection.await;
            drop(permit);
        });
    }
    drop(listener);
    service.draining.cancel();
    let mut ended = std::pin::pin!(graceful.shutdown());
    if timeout(drain, &mut ended).await.is_err() {
        service.stopped.cancel();
        let _ = timeout(Duration::from_millis(500), &mut ended).await;
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
