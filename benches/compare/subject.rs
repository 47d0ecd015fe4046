//! A subject: the process of one of the two, with its children, and what the kernel says of them.

use std::collections::HashMap;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::world::World;

/// Which of the two, and how it is started.
#[derive(Clone, Debug)]
pub enum Kind {
    Service { binary: PathBuf },
    Peer { framework: PathBuf, source: PathBuf },
}

/// A running subject; dropped, it is killed.
pub struct Subject {
    child: Child,
    pub address: SocketAddr,
    pub started: Instant,
}

impl Kind {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Service { .. } => "spotify-bq",
            Self::Peer { .. } => "peer",
        }
    }

    /// Starts it and waits until it listens; also answers how long that took.
    pub fn start(&self, world: &World) -> Result<(Subject, Duration), String> {
        self.start_with(world, &[])
    }

    /// Starts it with further settings.
    pub fn start_with(
        &self,
        world: &World,
        settings: &[(&str, &str)],
    ) -> Result<(Subject, Duration), String> {
        let address = free_address();
        let port = address.port().to_string();
        let mut command = match self {
            Self::Service { binary } => Command::new(binary),
            Self::Peer { framework, source } => {
                let mut command = Command::new(framework);
                command.args(["--target", "handle", "--host", "127.0.0.1", "--port", &port]);
                command.arg("--source").arg(source.join("main.py"));
                command
            }
        };
        command
            .env("PORT", &port)
            .env("GOOGLE_CLOUD_PROJECT", "p")
            .env("SPOTIFY_API_URL", &world.url)
            .env("SPOTIFY_ACCOUNTS_URL", &world.url)
            .env("SPOTIFY_CREDENTIALS", r#"{"client_id":"i","client_secret":"s"}"#)
            .env("BIGQUERY_EMULATOR_HOST", &world.url)
            .env("LOG_FORMAT", "json")
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit());
        let started = Instant::now();
        let child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
        let mut subject = Subject { child, address, started };
        while TcpStream::connect(address).is_err() {
            if let Ok(Some(status)) = subject.child.try_wait() {
                return Err(format!("{} ended with {status}", self.name()));
            }
            if started.elapsed() > Duration::from_secs(60) {
                return Err(format!("{} does not listen", self.name()));
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        let listening = started.elapsed();
        Ok((subject, listening))
    }
}

impl Subject {
    /// Processor time so far, of the process and its children.
    pub fn processor(&self) -> Duration {
        // USER_HZ, in which /proc counts, is 100 on every Linux.
        let ticks: u64 = self.tree().iter().map(|stat| stat.ticks).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Resident memory now, in bytes.
    pub fn resident(&self) -> u64 {
        self.tree().iter().map(|stat| kilobytes(stat.pid, "VmRSS:") * 1024).sum()
    }

    /// The most resident memory that each process ever had, in bytes.
    pub fn peak(&self) -> u64 {
        self.tree().iter().map(|stat| kilobytes(stat.pid, "VmHWM:") * 1024).sum()
    }

    fn tree(&self) -> Vec<Stat> {
        let mut children: HashMap<u32, Vec<Stat>> = HashMap::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            if let Some(stat) = entry.file_name().to_str().and_then(Stat::read) {
                children.entry(stat.parent).or_default().push(stat);
            }
        }
        let mut tree: Vec<Stat> = Stat::read(&self.child.id().to_string()).into_iter().collect();
        let mut at = 0;
        while at < tree.len() {
            tree.extend(children.remove(&tree[at].pid).into_iter().flatten());
            at += 1;
        }
        tree
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // gunicorn ends its workers at SIGTERM only; those of this tree are ended by their number.
        for stat in self.tree().iter().rev() {
            let _ = Command::new("kill").args(["-KILL", &stat.pid.to_string()]).status();
        }
        let _ = self.child.wait();
    }
}

struct Stat {
    pid: u32,
    parent: u32,
    ticks: u64,
}

impl Stat {
    fn read(pid: &str) -> Option<Self> {
        let pid_number = pid.parse().ok()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Self { pid: pid_number, parent: number(1)? as u32, ticks: number(11)? + number(12)? })
    }
}

fn kilobytes(pid: u32, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address")
}
