//! Runs a seed: a phase with faults, then no faults until all messages are acknowledged or dead-lettered, then
//! one more message for each table, as the next day's schedule sends them.

use std::pin::pin;
use std::sync::{Arc, Mutex};

use spotify_bq::demo;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use super::bans::Bans;
use super::catalog::{self, Catalog, Shared, TERMS};
use super::checks;
use super::faults::{self, FaultPhase};
use super::instance::{Instance, Launcher, Lines};
use super::message::{Draft, Expected, Message};
use super::plan::Plan;
use super::queue::{Outcome, Queue};
use super::random::SeededRandom;
use crate::support::World;
use crate::support::spotify::Spotify;
use crate::support::wire::Stub;

pub struct Simulation {
    pub plan: Plan,
    pub world: World,
    pub catalog: Shared,
    pub bans: Arc<Bans>,
    pub settled: Vec<(Message, Outcome)>,
    /// The log lines of all instances about messages.
    pub lines: Lines,
    queue: Arc<Queue>,
    /// The number of messages that the service published and the queue has taken.
    taken: usize,
}

/// The running instances.
struct Fleet {
    launcher: Launcher,
    instances: Vec<Option<Instance>>,
    /// The number of instances that were started.
    processes: usize,
    queue: Arc<Queue>,
}

/// Runs a seed. Returns its errors.
pub async fn run(seed: u64) -> Vec<String> {
    let plan = Plan::new(seed);
    let mut sim = Simulation::new(plan.clone()).await;
    let launcher = Launcher {
        plan: plan.clone(),
        settings: sim.world.settings.clone(),
        lines: Arc::clone(&sim.lines),
    };
    let mut fleet = Fleet::new(launcher, &sim.queue).await;

    let mut settling = JoinSet::new();
    for (n, draft) in plan.drafts().into_iter().enumerate() {
        settling.spawn(Arc::clone(&sim.queue).deliver_until_settled(format!("m{n}"), draft));
    }
    let phase = sim.queue.phase.clone();
    let (catalog, bans) = (Arc::clone(&sim.catalog), Arc::clone(&sim.bans));
    let fault_phase = async {
        fleet.run_fault_phase(&plan, &catalog).await;
        phase.end();
        let is_short = plan.message_deadline < plan.without_faults().message_deadline;
        // The binary remembers denials for minutes.
        if bans.end_long_bans() || is_short || plan.binary {
            fleet.launcher.plan = plan.without_faults();
            fleet.replace_all().await;
        }
    };
    sim.settle(settling, fault_phase).await;
    let mut violations = checks::after_faults(&sim);

    if violations.is_empty() {
        // After this, no process has a reading in memory.
        sleep(plan.reading_ttl).await;
        let mut settling = JoinSet::new();
        for (kind, term) in sim.tables() {
            let id = format!("next {kind} {term}");
            let draft = Draft::table(kind, term);
            settling.spawn(Arc::clone(&sim.queue).deliver_until_settled(id, draft));
        }
        sim.settle(settling, async {}).await;
        violations = checks::after_final_messages(&sim);
    }
    fleet.end().await;
    violations
}

impl Simulation {
    async fn new(plan: Plan) -> Self {
        let phase = FaultPhase::start();
        let catalog = Arc::new(Mutex::new(Catalog::new(&plan, phase.clone())));
        let spotify = Spotify {
            stub: Stub::start(catalog::router(Arc::clone(&catalog))).await,
            catalog: demo::Catalog::default(),
        };
        let world = World::new(spotify).await;
        world.bigquery.state.lock().unwrap().history = Some(Vec::new());
        let bans = Arc::new(Bans::new(plan.concurrent_calls));
        faults::inject(&world, &plan, &phase, &bans, &catalog);
        let queue = Queue {
            plan: plan.clone(),
            urls: Mutex::default(),
            background: TaskTracker::new(),
            phase,
            client: crate::support::client(),
        };
        let queue = Arc::new(queue);
        Self {
            plan,
            world,
            catalog,
            bans,
            settled: Vec::new(),
            lines: Lines::default(),
            queue,
            taken: 0,
        }
    }

    /// Waits until the fault phase is over and every message is settled, including those that the service
    /// publishes, and until no delivery is in progress.
    async fn settle(
        &mut self,
        mut settling: JoinSet<(Message, Outcome)>,
        fault_phase: impl Future<Output = ()>,
    ) {
        let mut fault_phase = pin!(fault_phase);
        let mut is_active = true;
        let mut news = self.world.pubsub.news.subscribe();
        loop {
            for published in self.world.pubsub.published("trigger").split_off(self.taken) {
                self.taken += 1;
                let draft = Draft::of_service(&published.data);
                let queue = Arc::clone(&self.queue);
                settling.spawn(queue.deliver_until_settled(published.id, draft));
            }
            if settling.is_empty() && is_active {
                self.queue.phase.clock.finish();
            } else if settling.is_empty() {
                self.queue.background.close();
                self.queue.background.wait().await;
                self.queue.background.reopen();
                if self.world.pubsub.published("trigger").len() == self.taken {
                    return;
                }
                continue;
            }
            tokio::select! {
                () = &mut fault_phase, if is_active => is_active = false,
                _ = news.changed() => {}
                Some(settled) = settling.join_next() => self.settled.push(settled.unwrap()),
            }
        }
    }

    /// Returns kind and term of the tables that messages load.
    pub fn tables(&self) -> Vec<(&'static str, usize)> {
        let kinds = ["podcasts", "episodes", "mentions"];
        let all = (0..TERMS.len()).flat_map(|term| kinds.map(|kind| (kind, term)));
        all.filter(|(kind, term)| self.with_expected(Expected::Table(kind, *term)).next().is_some())
            .collect()
    }

    /// Returns the settled messages with this expected outcome.
    pub fn with_expected(&self, expected: Expected) -> impl Iterator<Item = &(Message, Outcome)> {
        self.settled.iter().filter(move |(message, _)| message.expected == expected)
    }
}

impl Fleet {
    async fn new(launcher: Launcher, queue: &Arc<Queue>) -> Self {
        let count = launcher.plan.instances;
        let instances = std::iter::repeat_with(|| None).take(count).collect();
        *queue.urls.lock().unwrap() = vec![None; count];
        let mut fleet = Self { launcher, instances, processes: 0, queue: Arc::clone(queue) };
        for slot in 0..count {
            fleet.start(slot).await;
        }
        fleet
    }

    async fn start(&mut self, slot: usize) {
        let instance = self.launcher.start(self.processes).await;
        self.processes += 1;
        self.queue.urls.lock().unwrap()[slot] = Some(instance.url());
        self.instances[slot] = Some(instance);
    }

    /// Removes an instance, so that no more pushes are sent to its port.
    fn take(&mut self, slot: usize) -> Instance {
        self.queue.urls.lock().unwrap()[slot] = None;
        self.instances[slot].take().unwrap()
    }

    /// Restarts instances and changes the catalog until the end of the fault phase.
    async fn run_fault_phase(&mut self, plan: &Plan, catalog: &Shared) {
        let mut random = SeededRandom::new(plan.seed, "fleet");
        let restarts = plan.restarts.iter().map(|at| (*at, true));
        let changes = plan.changes.iter().map(|at| (*at, false));
        let mut moments: Vec<(u64, bool)> = restarts.chain(changes).collect();
        moments.sort();
        for (at, is_restart) in moments {
            self.queue.phase.clock.wait_until(at).await;
            if !is_restart {
                catalog.lock().unwrap().change();
                continue;
            }
            let slot = random.number(0..self.instances.len() as u64) as usize;
            let instance = self.take(slot);
            if random.chance(70) {
                instance.kill().await;
            } else {
                instance.terminate().await;
            }
            sleep(random.millis(0..40)).await;
            self.start(slot).await;
        }
        self.queue.phase.clock.wait_until(plan.fault_phase_end).await;
    }

    /// Replaces all instances with new processes.
    async fn replace_all(&mut self) {
        for slot in 0..self.instances.len() {
            self.take(slot).kill().await;
            self.start(slot).await;
        }
    }

    async fn end(mut self) {
        for slot in 0..self.instances.len() {
            self.take(slot).kill().await;
        }
    }
}
