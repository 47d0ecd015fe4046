//! Google's Pub/Sub emulator and a BigQuery emulator. The tests call their REST APIs and do not use the
//! service's code. Each test has its own project.

use std::collections::BTreeMap;
use std::process::Output;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::World;
use super::spotify::Spotify;

/// A project in the emulators, with dataset, topics and the subscription for dead letters, and settings for
/// it.
pub struct Cloud {
    pub world: World,
    project: String,
    bigquery: String,
    pubsub: String,
    client: reqwest::Client,
}

impl Cloud {
    pub async fn new(spotify: Spotify) -> Self {
        static PROJECTS: AtomicU32 = AtomicU32::new(0);
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
        let project = format!("p{now}-{}", PROJECTS.fetch_add(1, Ordering::Relaxed));
        let (bigquery, pubsub) = (host("BIGQUERY_EMULATOR_HOST"), host("PUBSUB_EMULATOR_HOST"));
        let world = World::new(spotify).await;
        let world = world
            .set("GOOGLE_CLOUD_PROJECT", &project)
            .set("BIGQUERY_EMULATOR_HOST", &bigquery)
            .set("PUBSUB_EMULATOR_HOST", &pubsub)
            .set("DEAD_LETTER_SUBSCRIPTION", "letters-kept");
        let cloud = Self {
            world,
            bigquery: format!("{bigquery}/bigquery/v2/projects/{project}"),
            pubsub: format!("http://{pubsub}/v1/projects/{project}"),
            project,
            client: super::client(),
        };
        let dataset = json!({"datasetReference": {
            "projectId": cloud.project, "datasetId": "spotify_podcasts",
        }});
        cloud.send("POST", &format!("{}/datasets", cloud.bigquery), &dataset).await;
        for topic in ["trigger", "letters"] {
            cloud.send("PUT", &format!("{}/topics/{topic}", cloud.pubsub), &json!({})).await;
        }
        let kept = json!({"topic": cloud.topic("letters"), "ackDeadlineSeconds": 60});
        cloud.subscribe("letters-kept", &kept).await;
        cloud
    }

    pub fn topic(&self, topic: &str) -> String {
        format!("projects/{}/topics/{topic}", self.project)
    }

    pub async fn subscribe(&self, name: &str, subscription: &Value) {
        self.send("PUT", &format!("{}/subscriptions/{name}", self.pubsub), subscription).await;
    }

    /// Creates a push subscription of the trigger topic with a short backoff.
    pub async fn push_to(&self, url: &str) {
        let subscription = json!({
            "topic": self.topic("trigger"), "pushConfig": {"pushEndpoint": url},
            "ackDeadlineSeconds": 600,
            "retryPolicy": {"minimumBackoff": "0.1s", "maximumBackoff": "1s"},
        });
        self.subscribe("push", &subscription).await;
    }

    /// Publishes to the trigger topic. Returns the ID of the message.
    pub async fn publish(&self, data: &Value) -> String {
        self.publish_to("trigger", &data.to_string(), &json!({})).await
    }

    pub async fn publish_to(&self, topic: &str, data: &str, attributes: &Value) -> String {
        let message = json!({"data": STANDARD.encode(data), "attributes": attributes});
        let url = format!("{}/topics/{topic}:publish", self.pubsub);
        let answer = self.send("POST", &url, &json!({ "messages": [message] })).await;
        answer["messageIds"][0].as_str().unwrap().to_owned()
    }

    pub async fn create_topic(&self, topic: &str) {
        self.send("PUT", &format!("{}/topics/{topic}", self.pubsub), &json!({})).await;
    }

    /// Deletes a topic and creates another of the same name.
    pub async fn create_topic_again(&self, topic: &str) {
        let url = format!("{}/topics/{topic}", self.pubsub);
        self.send("DELETE", &url, &json!({})).await;
        self.send("PUT", &url, &json!({})).await;
    }

    /// Pulls and acknowledges this many messages. Returns their data.
    pub async fn take(&self, subscription: &str, count: usize) -> Vec<String> {
        let url = format!("{}/subscriptions/{subscription}", self.pubsub);
        let mut taken = Vec::new();
        while taken.len() < count {
            let ask = json!({"maxMessages": 100, "returnImmediately": true});
            let answer = self.send("POST", &format!("{url}:pull"), &ask).await;
            for received in answer["receivedMessages"].as_array().into_iter().flatten() {
                let data = STANDARD.decode(received["message"]["data"].as_str().unwrap()).unwrap();
                taken.push(String::from_utf8(data).unwrap());
                let done = json!({"ackIds": [received["ackId"]]});
                self.send("POST", &format!("{url}:acknowledge"), &done).await;
            }
        }
        taken
    }

    /// Returns data and attributes of the dead letters, without acknowledging them.
    pub async fn letters(&self) -> Vec<(String, BTreeMap<String, String>)> {
        let url = format!("{}/subscriptions/letters-kept", self.pubsub);
        let ask = json!({"maxMessages": 100, "returnImmediately": true});
        let answer = self.send("POST", &format!("{url}:pull"), &ask).await;
        let received = answer["receivedMessages"].as_array().cloned().unwrap_or_default();
        let ids: Vec<&Value> = received.iter().map(|received| &received["ackId"]).collect();
        if !ids.is_empty() {
            let back = json!({"ackIds": ids, "ackDeadlineSeconds": 0});
            self.send("POST", &format!("{url}:modifyAckDeadline"), &back).await;
        }
        let letter = |received: &Value| {
            let message = &received["message"];
            let data = STANDARD.decode(message["data"].as_str().unwrap_or_default()).unwrap();
            let attributes = serde_json::from_value(message["attributes"].clone());
            (String::from_utf8(data).unwrap(), attributes.unwrap_or_default())
        };
        received.iter().map(letter).collect()
    }

    /// Returns the rows of a table by ID, with all values as strings, as in BigQuery's responses. Returns `None`
    /// if the table does not exist.
    pub async fn rows(&self, table: &str) -> Option<Vec<Value>> {
        let query = format!("SELECT * FROM spotify_podcasts.{table} ORDER BY id");
        let query = json!({"query": query, "useLegacySql": false, "maxResults": 100_000});
        let url = format!("{}/queries", self.bigquery);
        let response = self.client.post(url).body(query.to_string());
        let response = response.header("content-type", "application/json").send().await.unwrap();
        let answer: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        let fields = answer["schema"]["fields"].as_array()?;
        let row = |row: &Value| {
            let cells = row["f"].as_array().unwrap().iter().zip(fields);
            let named = cells.map(|(cell, field)| (field["name"].as_str().unwrap(), &cell["v"]));
            Value::Object(named.map(|(name, value)| (name.to_owned(), value.clone())).collect())
        };
        Some(
            answer["rows"]
                .as_array()
                .map(|rows| rows.iter().map(row).collect())
                .unwrap_or_default(),
        )
    }

    /// Returns the number of load jobs.
    pub async fn load_jobs(&self) -> usize {
        let url = format!("{}/jobs?projection=full&maxResults=1000", self.bigquery);
        let answer = self.client.get(url).send().await.unwrap().bytes().await.unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        let jobs = answer["jobs"].as_array().unwrap();
        jobs.iter().filter(|job| !job["configuration"]["load"].is_null()).count()
    }

    /// Waits until the tables have these rows.
    pub async fn until_filled(&self, tables: &[(&str, Vec<Value>)]) {
        for (table, expected) in tables {
            eventually(table, || async {
                (self.rows(table).await.as_ref() == Some(expected)).then_some(())
            })
            .await;
        }
    }

    /// Runs the binary with these arguments.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_spotify-bq"));
        command.env_clear().envs(&self.world.settings).args(arguments);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    async fn send(&self, method: &str, url: &str, body: &Value) -> Value {
        let request = self.client.request(method.parse().unwrap(), url);
        let request = request.header("content-type", "application/json").body(body.to_string());
        let response = request.send().await.unwrap();
        let (status, body) = (response.status(), response.bytes().await.unwrap());
        assert!(status.is_success(), "{url}: {status} {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    }
}

/// Calls `ask` until it returns a value. Panics after two minutes.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    for _ in 0..1200 {
        if let Some(found) = ask().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("timed out: {what}");
}

/// Returns rows as a query returns them: sorted by ID, with all values as strings.
pub fn as_query_result(mut rows: Vec<Value>) -> Vec<Value> {
    rows.sort_by(|one, other| one["id"].as_str().cmp(&other["id"].as_str()));
    for value in rows.iter_mut().flat_map(|row| row.as_object_mut().unwrap().values_mut()) {
        if value.is_number() || value.is_boolean() {
            *value = json!(value.to_string());
        }
    }
    rows
}

fn host(variable: &str) -> String {
    #[expect(clippy::disallowed_methods, reason = "a setting of the test")]
    std::env::var(variable).unwrap_or_else(|_| panic!("this test needs {variable}"))
}
