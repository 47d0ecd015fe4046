//! A Pub/Sub push subscription: it delivers each message at least once, in any order, retries with backoff
//! until it is acknowledged, and dead-letters it after the last attempt.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use serde_json::json;
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;

use super::faults::FaultPhase;
use super::message::{Draft, Message};
use super::plan::Plan;
use super::random::SeededRandom;
use crate::support::Push;

/// The number of deliveries after the fault phase until a message counts as stuck. Their backoffs together are
/// longer than the last ban.
const MAX_FAULTLESS_ATTEMPTS: u32 = 150;

/// The acknowledgement deadline after the fault phase. Only a message that hangs reaches it.
const LONG_ACK_DEADLINE: Duration = Duration::from_secs(60);

/// What happened to a message in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Acknowledged,
    /// Dead-lettered by the subscription.
    DeadLettered,
    /// Not acknowledged although there are no more faults. Contains the last response.
    Stuck(String),
}

pub struct Queue {
    pub plan: Plan,
    /// The instances' URLs, or `None` for an instance that is down.
    pub urls: Mutex<Vec<Option<String>>>,
    /// Deliveries in progress whose result is ignored.
    pub background: TaskTracker,
    pub phase: FaultPhase,
    pub client: reqwest::Client,
}

impl Queue {
    /// Publishes a message, and delivers it until it is acknowledged, dead-lettered or stuck.
    pub async fn deliver_until_settled(
        self: Arc<Self>,
        id: String,
        draft: Draft,
    ) -> (Message, Outcome) {
        let mut random = SeededRandom::new(self.plan.seed, &format!("message {id}"));
        let message = Message {
            published: SystemTime::now(),
            expected: draft.expected,
            push: Push {
                data: draft.data,
                id,
                publish_time: "2026-11-24T09:00:00Z".to_owned(),
                attempt: None,
                attributes: json!({}),
            },
        };
        let mut attempt = 1;
        let mut faultless_attempts = 0;
        loop {
            sleep(random.millis(0..30)).await;
            let is_faultless = !self.phase.is_active();
            let response = self.deliver(&message, attempt, &mut random).await;
            // An acknowledgement may get lost.
            if response == "204" && (is_faultless || !random.chance(self.plan.duplicates / 4)) {
                if random.chance(self.plan.duplicates) {
                    let (queue, message) = (Arc::clone(&self), message.clone());
                    let mut random =
                        SeededRandom::new(self.plan.seed, &format!("late {}", message.push.id));
                    self.background.spawn(async move {
                        sleep(random.millis(0..300)).await;
                        queue.deliver(&message, attempt, &mut random).await;
                    });
                }
                return (message, Outcome::Acknowledged);
            }
            attempt += 1;
            if self.plan.attempts.is_some_and(|attempts| attempt > attempts) && !is_faultless {
                return (message, Outcome::DeadLettered);
            }
            faultless_attempts += u32::from(is_faultless);
            if faultless_attempts == MAX_FAULTLESS_ATTEMPTS {
                return (message, Outcome::Stuck(response));
            }
            let scale = if self.plan.binary { 40 } else { 4 };
            sleep(random.millis(0..scale << attempt.min(6))).await;
        }
    }

    /// Delivers a message once, or twice concurrently. Returns the response to one of them.
    async fn deliver(
        self: &Arc<Self>,
        message: &Message,
        attempt: u32,
        random: &mut SeededRandom,
    ) -> String {
        self.phase.clock.tick();
        let counted = self.plan.attempts.map(|_| attempt);
        if random.chance(self.plan.duplicates) {
            drop(self.background.spawn(self.post(message.envelope(counted), random)));
        }
        let mut push = self.background.spawn(self.post(message.envelope(counted), random));
        let is_active = self.phase.is_active();
        let deadline = if is_active { self.plan.ack_deadline } else { LONG_ACK_DEADLINE };
        match timeout(deadline, &mut push).await {
            Ok(response) => response.unwrap(),
            Err(_) => {
                // The front end may keep the connection or close it.
                if random.chance(50) {
                    push.abort();
                }
                "ack deadline".to_owned()
            }
        }
    }

    fn post(
        &self,
        body: String,
        random: &mut SeededRandom,
    ) -> impl Future<Output = String> + use<> {
        let url = random.pick(&self.urls.lock().unwrap()).clone();
        let client = self.client.clone();
        async move {
            let Some(url) = url else { return "down".to_owned() };
            let sent = client.post(url).body(body).send().await;
            match sent {
                Ok(response) if response.status() == 204 => "204".to_owned(),
                Ok(response) => {
                    let status = response.status().as_u16();
                    format!("{status} {}", response.text().await.unwrap_or_default())
                }
                Err(_) => "connection closed".to_owned(),
            }
        }
    }
}
