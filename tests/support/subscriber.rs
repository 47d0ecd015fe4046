//! The subscription of the simulated Pub/Sub: dead letters are pulled, leased, released and acknowledged. Also
//! serves the properties of topics and subscriptions.

use std::collections::BTreeMap;

use google_cloud_googleapis::pubsub::v1::{
    AcknowledgeRequest, GetTopicRequest, ListTopicSubscriptionsResponse, ModifyAckDeadlineRequest,
    PubsubMessage, PullRequest, PullResponse, PushConfig, ReceivedMessage, Subscription, Topic,
};
use prost::Message;
use tonic::Code;

type Refusal = Box<dyn FnMut(&str) -> Option<Code> + Send>;

pub struct State {
    /// In the order in which they are pulled. Leased ones are not pulled.
    pub letters: Vec<Letter>,
    /// The number of pulls that return nothing.
    pub empty_pulls: usize,
    /// May reject the acknowledgment of the letter with this ID.
    pub refuses_acknowledgment: Refusal,
    /// May reject a call by its method.
    pub refuses: Refusal,
    pub subscription: Subscription,
    /// The subscriptions that topics list.
    pub subscriptions: Vec<String>,
    pulls: usize,
}

pub struct Letter {
    pub id: String,
    pub data: String,
    pub attributes: BTreeMap<String, String>,
    pub published: i64,
    pub is_held: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            letters: Vec::new(),
            empty_pulls: 0,
            refuses_acknowledgment: Box::new(|_| None),
            refuses: Box::new(|_| None),
            subscription: Subscription {
                topic: "projects/p1/topics/letters".to_owned(),
                ..Subscription::default()
            },
            subscriptions: vec!["projects/p1/subscriptions/any".to_owned()],
            pulls: 0,
        }
    }
}

impl State {
    pub fn add(&mut self, data: &str, attributes: &[(&str, &str)], published: i64) {
        let attributes = attributes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let id = format!("l{}", self.letters.len());
        let attributes = attributes.collect();
        let data = data.to_owned();
        self.letters.push(Letter { id, data, attributes, published, is_held: false });
    }

    pub fn push_to(&mut self, endpoint: &str) {
        let push_endpoint = endpoint.to_owned();
        self.subscription.push_config = Some(PushConfig { push_endpoint, ..PushConfig::default() });
    }

    pub(super) fn answer(&mut self, method: &str, body: &[u8]) -> Result<Vec<u8>, Code> {
        if let Some(code) = (self.refuses)(method) {
            return Err(code);
        }
        match method {
            "GetTopic" => {
                let name = GetTopicRequest::decode(body).unwrap().topic;
                Ok(Topic { name, ..Topic::default() }.encode_to_vec())
            }
            "GetSubscription" => Ok(self.subscription.encode_to_vec()),
            "ListTopicSubscriptions" => {
                let subscriptions = self.subscriptions.clone();
                let answer = ListTopicSubscriptionsResponse { subscriptions, ..Default::default() };
                Ok(answer.encode_to_vec())
            }
            "Pull" => Ok(self.pull(&PullRequest::decode(body).unwrap())),
            "ModifyAckDeadline" => {
                let request = ModifyAckDeadlineRequest::decode(body).unwrap();
                for letter in &mut self.letters {
                    let is_named = |ack_id: &String| ack_id.ends_with(&format!("/{}", letter.id));
                    if request.ack_ids.iter().any(is_named) {
                        letter.is_held = request.ack_deadline_seconds > 0;
                    }
                }
                Ok(Vec::new())
            }
            "Acknowledge" => self.acknowledge(&AcknowledgeRequest::decode(body).unwrap()),
            other => panic!("unexpected method: {other}"),
        }
    }

    fn pull(&mut self, request: &PullRequest) -> Vec<u8> {
        self.pulls += 1;
        let mut received_messages = Vec::new();
        if self.empty_pulls > 0 {
            self.empty_pulls -= 1;
        } else {
            let max_messages = request.max_messages as usize;
            for letter in
                self.letters.iter_mut().filter(|letter| !letter.is_held).take(max_messages)
            {
                letter.is_held = true;
                let mut message = PubsubMessage {
                    data: letter.data.clone().into_bytes(),
                    attributes: letter.attributes.clone().into_iter().collect(),
                    message_id: letter.id.clone(),
                    publish_time: Some(Default::default()),
                    ..PubsubMessage::default()
                };
                if let Some(time) = &mut message.publish_time {
                    time.seconds = letter.published;
                }
                // Each pull has new IDs, as in production.
                let ack_id = format!("{}/{}", self.pulls, letter.id);
                let message = Some(message);
                received_messages.push(ReceivedMessage { ack_id, message, delivery_attempt: 0 });
            }
        }
        PullResponse { received_messages }.encode_to_vec()
    }

    fn acknowledge(&mut self, request: &AcknowledgeRequest) -> Result<Vec<u8>, Code> {
        for ack_id in &request.ack_ids {
            let id = ack_id.split('/').next_back().unwrap();
            if let Some(code) = (self.refuses_acknowledgment)(id) {
                return Err(code);
            }
            self.letters.retain(|letter| letter.id != id);
        }
        Ok(Vec::new())
    }
}
