//! Runs the binary with settings from the environment, and collects its output.

use std::collections::BTreeMap;
use std::process::{ExitStatus, Stdio};
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

/// Returns a command with only these settings.
pub fn command(arguments: &[&str], settings: &BTreeMap<String, String>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spotify-bq"));
    command.args(arguments).env_clear().envs(settings).kill_on_drop(true).stdin(Stdio::null());
    command
}

/// Runs a command. Returns its standard output and standard error.
pub async fn output(arguments: &[&str], settings: &BTreeMap<String, String>) -> String {
    let output = command(arguments, settings).output().await.unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

impl Binary {
    /// Starts the service on a free port and waits until it accepts connections.
    pub async fn start(settings: &BTreeMap<String, String>) -> Self {
        Self::start_command(command(&["serve"], settings)).await
    }

    /// Starts the service with at most `max_files` open files.
    pub async fn start_with_max_files(settings: &BTreeMap<String, String>, max_files: u32) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit -n {max_files} && exec \"$0\" serve")]);
        shell.arg(env!("CARGO_BIN_EXE_spotify-bq")).env_clear().envs(settings).kill_on_drop(true);
        Self::start_command(shell).await
    }

    async fn start_command(mut command: Command) -> Self {
        command.env("PORT", "0").stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let printed = Arc::default();
        let readers = vec![
            tokio::spawn(collect(child.stdout.take().unwrap(), Arc::clone(&printed))),
            tokio::spawn(collect(child.stderr.take().unwrap(), Arc::clone(&printed))),
        ];
        let mut binary = Self { url: String::new(), child, printed, readers };
        let port = binary.printed_port().await;
        binary.url = format!("http://127.0.0.1:{port}/");
        binary
    }

    /// Waits until the log names the port that the service listens on.
    async fn printed_port(&mut self) -> String {
        loop {
            let printed = self.printed();
            if let Some((_, rest)) = printed.split_once("listening on port ")
                && let Some(end) = rest.find(|next: char| !next.is_ascii_digit())
            {
                return rest[..end].to_owned();
            }
            assert!(self.child.try_wait().unwrap().is_none(), "the service exited: {printed}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn printed(&self) -> String {
        String::from_utf8_lossy(&self.printed.lock().unwrap()).into_owned()
    }

    /// Returns the peak memory in MiB.
    pub fn peak_mib(&self) -> u64 {
        let status = format!("/proc/{}/status", self.child.id().unwrap());
        let status = std::fs::read_to_string(status).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }

    /// Kills the process. Returns its output.
    pub async fn end(mut self) -> String {
        self.child.start_kill().unwrap();
        self.wait().await.1
    }

    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().unwrap().to_string();
        assert!(
            std::process::Command::new("kill").args([signal, &pid]).status().unwrap().success()
        );
    }

    /// Waits until the process exits. Returns its output.
    pub async fn wait(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().await.unwrap();
        for reader in std::mem::take(&mut self.readers) {
            reader.await.unwrap();
        }
        (status, self.printed())
    }
}

async fn collect(mut from: impl AsyncRead + Unpin, into: Arc<Mutex<Vec<u8>>>) {
    let mut buffer = [0; 8192];
    // Each line is written at once, so a line of one stream does not contain part of the other.
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        into.lock().unwrap().extend_from_slice(&buffer[..length]);
    }
}
