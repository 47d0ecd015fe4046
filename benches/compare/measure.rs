//! One round: a subject started, sent messages, and measured.

use std::time::Duration;

use crate::Options;
use crate::load::{self, Sender};
use crate::subject::Kind;
use crate::world::World;

/// Messages after which resident memory is looked at.
const SETTLED: usize = 60;

/// The kernel counts processor time in hundredths of a second: shorter than this tells nothing.
const LONG_ENOUGH: Duration = Duration::from_secs(2);

/// What one round found; times in milliseconds, memory in megabytes.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub listening: f64,
    pub first: f64,
    pub message: f64,
    pub processor: f64,
    pub rate: f64,
    pub resident: f64,
    pub waiting: f64,
    pub large: f64,
}

impl Figures {
    fn all(&mut self) -> [&mut f64; 8] {
        [
            &mut self.listening,
            &mut self.first,
            &mut self.message,
            &mut self.processor,
            &mut self.rate,
            &mut self.resident,
            &mut self.waiting,
            &mut self.large,
        ]
    }

    /// The median of each figure.
    pub fn median(rounds: &[Self]) -> Self {
        let mut median = Self::default();
        for (at, figure) in median.all().into_iter().enumerate() {
            let mut values: Vec<f64> =
                rounds.iter().map(|round| *round.clone().all()[at]).collect();
            values.sort_by(f64::total_cmp);
            *figure = values.get(values.len() / 2).copied().unwrap_or_default();
        }
        median
    }
}

pub async fn round(kind: &Kind, world: &World, options: &Options) -> Result<Figures, String> {
    let mut found = Figures::default();
    let episodes = options.episodes;
    world.set_latency(Duration::ZERO);
    let (subject, listening) = kind.start(world)?;
    found.listening = ms(listening);
    Sender::new(subject.address).push("episodes", &World::term(episodes, 0)).await?;
    found.first = ms(subject.started.elapsed());

    // 60 messages in all, the first one included, then resident memory.
    load::one_by_one(subject.address, SETTLED / 3, episodes).await?;
    found.resident = mb(subject.resident());
    world.take_loaded();
    let (before, mut times) = (subject.processor(), Vec::new());
    while times.len() < SETTLED || times.iter().sum::<Duration>() < LONG_ENOUGH {
        times.extend(load::one_by_one(subject.address, 1, episodes).await?);
    }
    let messages = times.len() as f64;
    found.message = ms(times.iter().sum()) / messages;
    found.processor = ms(subject.processor().saturating_sub(before)) / messages;
    let loaded: Vec<usize> = world.take_loaded().into_values().collect();
    let mut expected = [50, episodes, episodes.div_ceil(10)];
    expected.sort_unstable();
    let mut sorted = loaded.clone();
    sorted.sort_unstable();
    if sorted != expected {
        return Err(format!("{} loaded {loaded:?} rows, expected {expected:?}", kind.name()));
    }

    load::at_once(subject.address, 8, 24, episodes).await?;
    // About as long as the row before, whoever it is.
    let messages = ((2000.0 / found.message) as usize).clamp(48, 4000) / 24 * 24;
    let took = load::at_once(subject.address, 8, messages, episodes).await?;
    found.rate = messages as f64 / took.as_secs_f64();

    world.set_latency(Duration::from_millis(options.latency_ms));
    load::one_by_one(subject.address, 1, episodes).await?;
    let times = load::one_by_one(subject.address, 4, episodes).await?;
    found.waiting = ms(times.iter().sum()) / times.len() as f64;
    world.set_latency(Duration::ZERO);
    drop(subject);

    let (subject, _) = kind.start(world)?;
    Sender::new(subject.address).push("episodes", &World::term(options.large, 0)).await?;
    found.large = mb(subject.peak());
    Ok(found)
}

pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

pub fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
