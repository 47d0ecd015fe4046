//! Reads the body of a push, within limits of length, time and memory.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The longest body that is read. One message has some hundred bytes; one with 300 long terms has 120 kB.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Bodies up to this length need no permit. Only those with lists of terms are longer.
const MAX_SHORT_BODY_BYTES: usize = 32 * 1024;

/// How many bytes all longer bodies may have together, from their arrival to their responses: a hundred
/// lists of 300 terms. With 1,000 connections of short bodies, bodies take up at most 48 MiB.
pub(super) const MAX_LONG_BODIES_BYTES: usize = 16 * 1024 * 1024;

/// Reads bodies.
#[derive(Clone, Debug)]
pub(super) struct BodyReader {
    timeout: Duration,
    /// One permit for each byte of the long bodies.
    memory: Arc<Semaphore>,
}

/// A body and its permit, which is released when both are dropped.
pub(super) struct PushBody {
    pub(super) bytes: Bytes,
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

/// Why a body was not read.
pub(super) enum BodyError {
    TooLong,
    /// The connection ended before the body did.
    Truncated,
    TimedOut,
    /// Other long bodies take up [`MAX_LONG_BODIES_BYTES`].
    NoMemory,
}

impl BodyReader {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, memory: Arc::new(Semaphore::new(MAX_LONG_BODIES_BYTES)) }
    }

    /// Reads a whole body. The timeout is for all of it, so that a slow sender can't extend it byte by
    /// byte.
    pub(super) async fn read(&self, body: Body) -> Result<PushBody, BodyError> {
        // The Content-Length, if there is one.
        if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
            return Err(BodyError::TooLong);
        }
        let read = self.read_limited(Limited::new(body, MAX_BODY_BYTES));
        timeout(self.timeout, read).await.unwrap_or(Err(BodyError::TimedOut))
    }

    async fn read_limited(&self, mut body: Limited<Body>) -> Result<PushBody, BodyError> {
        // The Content-Length if there is one, otherwise the limit.
        let max_length = body.size_hint().upper().and_then(|length| u32::try_from(length).ok());
        // One buffer: a list of frames would take up many times the memory of frames of one byte.
        let mut bytes = BytesMut::new();
        let mut permit: Option<OwnedSemaphorePermit> = None;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| match error.is::<LengthLimitError>() {
                true => BodyError::TooLong,
                false => BodyError::Truncated,
            })?;
            // Ignores trailers.
            let Ok(data) = frame.into_data() else { continue };
            if permit.is_none() && bytes.len() + data.len() > MAX_SHORT_BODY_BYTES {
                let length = max_length.unwrap_or(MAX_BODY_BYTES as u32);
                let acquired = Arc::clone(&self.memory).try_acquire_many_owned(length);
                permit = Some(acquired.map_err(|_| BodyError::NoMemory)?);
            }
            bytes.extend_from_slice(&data);
        }
        // Releases the part of the permit that a body without a Content-Length did not need.
        if let Some(permit) = &mut permit {
            drop(permit.split(permit.num_permits().saturating_sub(bytes.len())));
        }
        Ok(PushBody { bytes: bytes.freeze(), permit })
    }
}
