//! The storm's time: it passes with each call at the wire and each delivery, so that as much happens
//! on a slow machine as on a fast one, and a process can end in the middle of a call.

use std::sync::Arc;

use tokio::sync::watch;

#[derive(Clone)]
pub struct Clock(Arc<watch::Sender<u64>>);

impl Clock {
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }

    pub fn tick(&self) {
        self.0.send_modify(|now| *now = now.saturating_add(1));
    }

    /// Nothing is left that could tick.
    pub fn run_out(&self) {
        self.0.send_replace(u64::MAX);
    }

    pub async fn reach(&self, moment: u64) {
        self.0.subscribe().wait_for(|now| *now >= moment).await.unwrap();
    }
}
