//! Runs one of the two programs and reads its CPU time and memory from /proc.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A program, which gets its settings from the environment.
pub struct Program {
    pub name: &'static str,
    executable: PathBuf,
}

/// A running program. Killed when dropped.
pub struct Process {
    child: Child,
    pub address: SocketAddr,
    pub started: Instant,
}

impl Program {
    pub fn service() -> Self {
        Self { name: "spotify-bq", executable: env!("CARGO_BIN_EXE_spotify-bq").into() }
    }

    /// The Python function, run by functions-framework.
    pub fn peer(functions_framework: PathBuf) -> Self {
        Self { name: "peer", executable: functions_framework }
    }
}

impl Process {
    /// Starts a program with the stubs at `url` and `settings`. Also returns how long it took until it
    /// accepted connections.
    pub fn start(
        program: &Program,
        url: &str,
        settings: &[(&str, String)],
    ) -> Result<(Self, Duration), String> {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let address = free.map_err(|error| error.to_string())?;
        let mut command = Command::new(&program.executable);
        command
            .env("PORT", address.port().to_string())
            .env("GOOGLE_CLOUD_PROJECT", "p")
            .env("SPOTIFY_API_URL", url)
            .env("SPOTIFY_ACCOUNTS_URL", url)
            .env("SPOTIFY_CREDENTIALS", r#"{"client_id":"i","client_secret":"s"}"#)
            .env("BIGQUERY_EMULATOR_HOST", url)
            .env("LOG_FORMAT", "json")
            .envs(settings.iter().map(|(name, value)| (name, value)))
            // For functions-framework.
            .env("HOST", "127.0.0.1")
            .env("FUNCTION_TARGET", "handle")
            .env(
                "FUNCTION_SOURCE",
                concat!(env!("CARGO_MANIFEST_DIR"), "/benches/compare/peer/main.py"),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .process_group(0);
        let started = Instant::now();
        let child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
        let mut process = Self { child, address, started };
        while TcpStream::connect(address).is_err() {
            if let Ok(Some(status)) = process.child.try_wait() {
                return Err(format!("{} exited with {status}", program.name));
            }
            if started.elapsed() > START_TIMEOUT {
                return Err(format!("{} does not accept connections", program.name));
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        let listening = started.elapsed();
        Ok((process, listening))
    }

    /// Returns the CPU time of the process and its children.
    pub fn cpu_time(&self) -> Duration {
        // /proc counts hundredths of a second on every Linux (USER_HZ).
        let ticks: u64 = self.group().iter().map(|stat| stat.ticks).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Returns the resident memory in bytes.
    pub fn resident_memory(&self) -> u64 {
        self.group().iter().map(|stat| memory(stat.pid, "VmRSS:")).sum()
    }

    /// Returns the sum of the peak resident memory of the process and its children, in bytes.
    pub fn peak_memory(&self) -> u64 {
        self.group().iter().map(|stat| memory(stat.pid, "VmHWM:")).sum()
    }

    /// Returns the processes of the group. gunicorn has a worker.
    fn group(&self) -> Vec<Stat> {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        processes
            .filter_map(|entry| Stat::read(entry.file_name().to_str()?))
            .filter(|stat| stat.group == self.child.id())
            .collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.child.wait();
    }
}

struct Stat {
    pid: u32,
    group: u32,
    ticks: u64,
}

impl Stat {
    fn read(pid: &str) -> Option<Self> {
        let pid = pid.parse().ok()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may contain spaces.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Self { pid, group: number(2)? as u32, ticks: number(11)? + number(12)? })
    }
}

/// Returns a value in kB of /proc/PID/status in bytes.
fn memory(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let value = status.lines().find_map(|line| line.strip_prefix(name));
    let kb = value.and_then(|value| value.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kb.unwrap_or(0) * 1024
}
