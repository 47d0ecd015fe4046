//! The time of the fault phase. It advances with each call to a stub and each delivery, so that a seed does
//! the same on slow and fast machines, and a process can end during a call.

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

    /// Ends all waits, because nothing is left that calls `tick`.
    pub fn finish(&self) {
        self.0.send_replace(u64::MAX);
    }

    pub async fn wait_until(&self, moment: u64) {
        self.0.subscribe().wait_for(|now| *now >= moment).await.unwrap();
    }
}
