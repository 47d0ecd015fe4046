//! A Pub/Sub subscription that pushes: at least once, in no order, again after a backoff until it is
//! acknowledged, and to the dead letters after its last attempt.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use serde_json::json;
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;

use super::dice::Dice;
use super::faults::Weather;
use super::message::{Draft, Message};
use super::plan::Plan;
use crate::support::Push;

/// Deliveries after the storm, by when a message that can succeed must have. What has passed by then
/// is a last ban, which is shorter than their backoffs together.
const ENOUGH: u32 = 150;

/// An acknowledgement deadline that nothing runs into but what never ends.
const LONG: Duration = Duration::from_secs(60);

/// How a message ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Acknowledged,
    /// Given up by the subscription.
    DeadLettered,
    /// Not done although nothing goes wrong any more; with the last answer.
    Stuck(String),
}

pub struct Queue {
    pub plan: Plan,
    /// The instances' addresses; none where one is down.
    pub urls: Mutex<Vec<Option<String>>>,
    /// Deliveries under way that nobody waits for.
    pub loose: TaskTracker,
    pub weather: Weather,
    pub client: reqwest::Client,
}

impl Queue {
    /// Publishes a message, and delivers it until it is settled.
    pub async fn see_through(self: Arc<Self>, id: String, draft: Draft) -> (Message, End) {
        let mut dice = Dice::new(self.plan.seed, &format!("message {id}"));
        let message = Message {
            published: SystemTime::now(),
            wants: draft.wants,
            push: Push {
                data: draft.data,
                id,
                publish_time: "2026-11-24T09:00:00Z".to_owned(),
                attempt: None,
                attributes: json!({}),
            },
        };
        let mut attempt = 1;
        let mut in_fair_weather = 0;
        loop {
            sleep(dice.millis(0..30)).await;
            let fair = !self.weather.is_stormy();
            let answer = self.deliver(&message, attempt, &mut dice).await;
            // An acknowledgement may get lost, too.
            if answer == "204" && (fair || !dice.chance(self.plan.doubles / 4)) {
                if dice.chance(self.plan.doubles) {
                    let (queue, message) = (Arc::clone(&self), message.clone());
                    let mut dice = Dice::new(self.plan.seed, &format!("late {}", message.push.id));
                    self.loose.spawn(async move {
                        sleep(dice.millis(0..300)).await;
                        queue.deliver(&message, attempt, &mut dice).await;
                    });
                }
                return (message, End::Acknowledged);
            }
            attempt += 1;
            if self.plan.attempts.is_some_and(|attempts| attempt > attempts) && !fair {
                return (message, End::DeadLettered);
            }
            in_fair_weather += u32::from(fair);
            if in_fair_weather == ENOUGH {
                return (message, End::Stuck(answer));
            }
            let scale = if self.plan.binary { 40 } else { 4 };
            sleep(dice.millis(0..scale << attempt.min(6))).await;
        }
    }

    /// One delivery, or two at once; the answer to the first.
    async fn deliver(self: &Arc<Self>, message: &Message, attempt: u32, dice: &mut Dice) -> String {
        self.weather.clock.tick();
        let counted = self.plan.attempts.map(|_| attempt);
        if dice.chance(self.plan.doubles) {
            drop(self.loose.spawn(self.post(message.envelope(counted), dice)));
        }
        let mut push = self.loose.spawn(self.post(message.envelope(counted), dice));
        let fair = !self.weather.is_stormy();
        let deadline = if fair { LONG } else { self.plan.ack_deadline };
        match timeout(deadline, &mut push).await {
            Ok(answer) => answer.unwrap(),
            Err(_) => {
                // Whether the connection is cut with it, or stays with the front end.
                if dice.chance(50) {
                    push.abort();
                }
                "ack deadline".to_owned()
            }
        }
    }

    fn post(&self, body: String, dice: &mut Dice) -> impl Future<Output = String> + use<> {
        let url = dice.pick(&self.urls.lock().unwrap()).clone();
        let client = self.client.clone();
        async move {
            let Some(url) = url else { return "down".to_owned() };
            let sent = client.post(url).body(body).send().await;
            match sent {
                Ok(answer) if answer.status() == 204 => "204".to_owned(),
                Ok(answer) => {
                    let status = answer.status().as_u16();
                    format!("{status} {}", answer.text().await.unwrap_or_default())
                }
                Err(_) => "cut".to_owned(),
            }
        }
    }
}
