//! The binary itself, as a host would run it: settings by environment, and every byte that it
//! prints.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

/// A running `spotify-bq serve`.
pub struct Binary {
    pub url: String,
    child: Child,
    printed: Arc<Mutex<Vec<u8>>>,
    readers: Vec<JoinHandle<()>>,
}

/// A command with these settings and no others.
pub fn command(arguments: &[&str], settings: &BTreeMap<String, String>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spotify-bq"));
    command.args(arguments).env_clear().envs(settings).kill_on_drop(true).stdin(Stdio::null());
    command
}

/// What a command printed, on either stream.
pub async fn output(arguments: &[&str], settings: &BTreeMap<String, String>) -> String {
    let output = command(arguments, settings).output().await.unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

impl Binary {
    /// Starts the service on a free port and waits until it answers.
    pub async fn start(settings: &BTreeMap<String, String>) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut settings = settings.clone();
        settings.insert("PORT".to_owned(), port.to_string());
        let mut command = command(&["serve"], &settings);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let printed = Arc::default();
        let readers = vec![
            tokio::spawn(collect(child.stdout.take().unwrap(), Arc::clone(&printed))),
            tokio::spawn(collect(child.stderr.take().unwrap(), Arc::clone(&printed))),
        ];
        let mut binary = Self { url: format!("http://127.0.0.1:{port}/"), child, printed, readers };
        binary.wait_until_it_answers(port).await;
        binary
    }

    async fn wait_until_it_answers(&mut self, port: u16) {
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(self.child.try_wait().unwrap().is_none(), "it ended: {}", self.printed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn printed(&self) -> String {
        String::from_utf8(self.printed.lock().unwrap().clone()).unwrap()
    }

    /// The most memory that it has held, in MiB.
    pub fn peak_mib(&self) -> u64 {
        let status = format!("/proc/{}/status", self.child.id().unwrap());
        let status = std::fs::read_to_string(status).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }

    /// Ends it and gives all that it printed.
    pub async fn end(mut self) -> String {
        self.child.kill().await.unwrap();
        for reader in std::mem::take(&mut self.readers) {
            reader.await.unwrap();
        }
        self.printed()
    }
}

async fn collect(mut from: impl AsyncRead + Unpin, into: Arc<Mutex<Vec<u8>>>) {
    let mut buffer = [0; 8192];
    // A line is written at once, so the two streams mix only between lines.
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        into.lock().unwrap().extend_from_slice(&buffer[..length]);
    }
}
