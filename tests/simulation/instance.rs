//! Running services: tasks in a separate runtime, which is dropped in place of SIGKILL, or the real binary,
//! which gets SIGKILL.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use spotify_bq::config::{Config, Purpose};
use spotify_bq::retry::Backoff;
use tokio::runtime::{Builder, Runtime};
use tokio::task::spawn_blocking;
use tracing::dispatcher;

use super::plan::Plan;
use crate::support::App;
use crate::support::log::{Line, Log};

pub enum Instance {
    Tasks { runtime: Runtime, app: App },
    Binary { child: Child, url: String },
}

/// Starts instances.
pub struct Launcher {
    pub plan: Plan,
    pub settings: BTreeMap<String, String>,
    pub lines: Lines,
}

/// The service's log lines about messages, as [`Log`] collects them.
pub type Lines = Arc<Mutex<Vec<Line>>>;

impl Launcher {
    /// Starts process number `number`. Its client ID identifies it to the simulated Spotify.
    pub async fn start(&self, number: usize) -> Instance {
        let mut settings = self.settings.clone();
        let credentials = format!(r#"{{"client_id":"process-{number}","client_secret":"s"}}"#);
        settings.insert("SPOTIFY_CREDENTIALS".to_owned(), credentials);
        let calls = self.plan.concurrent_calls.to_string();
        settings.insert("SPOTIFY_CONCURRENT_CALLS".to_owned(), calls);
        let messages = self.plan.concurrent_messages.to_string();
        settings.insert("MAX_CONCURRENT_MESSAGES".to_owned(), messages);
        if self.plan.binary {
            let lines = Arc::clone(&self.lines);
            return spawn_blocking(move || binary(settings, lines)).await.unwrap();
        }
        let config = self.config(&settings);
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).enable_all();
        let (lines, shows) = (Arc::clone(&self.lines), super::shows_log());
        let log = Log::dispatch(move |line| {
            if shows {
                println!("{line:?}");
            }
            if line.get("event").is_some_and(|event| event == "message") {
                lines.lock().unwrap().push(line.clone());
            }
        });
        // The guard must live as long as the thread.
        builder.on_thread_start(move || std::mem::forget(dispatcher::set_default(&log)));
        let runtime = builder.build().unwrap();
        let app = runtime.spawn(App::start(config)).await.unwrap();
        Instance::Tasks { runtime, app }
    }

    fn config(&self, settings: &BTreeMap<String, String>) -> Config {
        let get = |name: &str| settings.get(name).cloned();
        let mut config = Config::read(&get, None, Purpose::Serve).unwrap();
        config.test_hooks.max_multipart_bytes = self.plan.resumable.then_some(0);
        let timing = &mut config.timing;
        timing.backoff = Backoff {
            base_delay: Duration::from_millis(2),
            max_delay: Duration::from_millis(30),
            attempts: 4,
            max_retry_after: self.plan.max_retry_after,
        };
        timing.first_poll_delay = Duration::from_millis(1);
        timing.max_poll_delay = Duration::from_millis(10);
        timing.message_deadline = self.plan.message_deadline;
        timing.drain_timeout = Duration::from_millis(50);
        timing.spotify_call_timeout = Duration::from_millis(1500);
        timing.google_call_timeout = Duration::from_millis(1500);
        timing.upload_timeout = Duration::from_millis(1500);
        timing.show_ttl = Duration::from_millis(100);
        timing.reading_ttl = self.plan.reading_ttl;
        timing.incomplete_ttl = Duration::from_millis(60);
        timing.denial_ttl = Duration::from_millis(60);
        timing.token_refresh_margin = Duration::from_secs(1);
        config
    }
}

/// Starts the binary on a free port.
fn binary(mut settings: BTreeMap<String, String>, collected: Lines) -> Instance {
    settings.insert("PORT".to_owned(), "0".to_owned());
    settings.insert("LOG_FORMAT".to_owned(), "json".to_owned());
    settings.insert("MESSAGE_DEADLINE_SECONDS".to_owned(), "20".to_owned());
    let mut child = Command::new(env!("CARGO_BIN_EXE_spotify-bq"))
        .env_clear()
        .envs(settings)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let port = lines.by_ref().find_map(|line| {
        let line: Value = serde_json::from_str(&line.unwrap()).ok()?;
        (line["event"] == "started").then(|| line["port"].clone())
    });
    let port = port.expect("the binary exited before it accepted connections");
    // If nothing reads the log, the binary blocks.
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            collected.lock().unwrap().extend(line_of_binary(&line));
        }
    });
    Instance::Binary { child, url: format!("http://127.0.0.1:{port}/") }
}

/// Returns a line about a message, with the fields that the checks need, as [`Log`] names them.
fn line_of_binary(line: &str) -> Option<Line> {
    let line: Value = serde_json::from_str(line).ok()?;
    let fields = [
        ("level", "severity"),
        ("outcome", "outcome"),
        ("reason", "reason"),
        ("job_id", "jobId"),
        ("listed", "listed"),
        ("skipped_nulls", "skippedNulls"),
        ("shared_reading", "sharedReading"),
    ];
    let value = |key: &str| match &line[key] {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let line = fields.iter().filter_map(|(name, key)| Some(((*name).to_owned(), value(key)?)));
    Some(line.collect()).filter(|line: &Line| line.contains_key("outcome"))
}

impl Instance {
    pub fn url(&self) -> String {
        match self {
            Self::Tasks { app, .. } => app.url.clone(),
            Self::Binary { url, .. } => url.clone(),
        }
    }

    /// Ends the instance like SIGKILL, and waits until all of its tasks have ended.
    pub async fn kill(self) {
        match self {
            Self::Tasks { runtime, app } => {
                spawn_blocking(move || runtime.shutdown_timeout(Duration::from_secs(60)))
                    .await
                    .unwrap();
                drop(app);
            }
            Self::Binary { mut child, .. } => {
                spawn_blocking(move || {
                    child.kill().unwrap();
                    child.wait().unwrap();
                })
                .await
                .unwrap();
            }
        }
    }

    /// Ends the instance with SIGTERM and waits for it.
    pub async fn terminate(self) {
        match self {
            Self::Tasks { runtime, mut app } => {
                app.terminate();
                (&mut app.server).await.unwrap();
                Self::Tasks { runtime, app }.kill().await;
            }
            // The standard library can only send SIGKILL.
            binary => Box::pin(binary.kill()).await,
        }
    }
}
