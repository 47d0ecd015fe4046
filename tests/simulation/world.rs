//! One seed: a storm over the service, then fair weather until all messages are settled, then one
//! more message for each table, as the next morning's schedule sends them.

use std::pin::pin;
use std::sync::{Arc, Mutex};

use spotify_bq::demo::Catalog;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use super::bans::Bans;
use super::catalogue::{self, Catalogue, Shared, TERMS};
use super::dice::Dice;
use super::faults::{self, Weather};
use super::instance::{Instance, Lines, Recipe};
use super::message::{Draft, Message, Wants};
use super::plan::Plan;
use super::queue::{End, Queue};
use super::verdict;
use crate::support::World;
use crate::support::spotify::Spotify;
use crate::support::wire::Stub;

pub struct Sim {
    pub plan: Plan,
    pub world: World,
    pub catalogue: Shared,
    pub bans: Arc<Bans>,
    pub settled: Vec<(Message, End)>,
    /// The lines of all instances about messages.
    pub lines: Lines,
    queue: Arc<Queue>,
    /// How many of the service's publishes to the trigger topic are delivered.
    taken: usize,
}

/// The instances, and how many processes there have been.
struct Fleet {
    recipe: Recipe,
    instances: Vec<Option<Instance>>,
    processes: usize,
    queue: Arc<Queue>,
}

/// Runs a seed and answers what it found wrong.
pub async fn run(seed: u64) -> Vec<String> {
    let plan = Plan::new(seed);
    let mut sim = Sim::new(plan.clone()).await;
    let recipe = Recipe {
        plan: plan.clone(),
        settings: sim.world.settings.clone(),
        lines: Arc::clone(&sim.lines),
    };
    let mut fleet = Fleet::new(recipe, &sim.queue).await;

    let mut settling = JoinSet::new();
    for (n, draft) in plan.drafts().into_iter().enumerate() {
        settling.spawn(Arc::clone(&sim.queue).see_through(format!("m{n}"), draft));
    }
    let weather = sim.queue.weather.clone();
    let (catalogue, bans) = (Arc::clone(&sim.catalogue), Arc::clone(&sim.bans));
    let storm = async {
        fleet.storm(&plan, &catalogue).await;
        weather.clear_up();
        let short = plan.message_deadline < plan.fair().message_deadline;
        // The binary remembers denials for minutes, as in life.
        if bans.lift() || short || plan.binary {
            fleet.recipe.plan = plan.fair();
            fleet.replace_all().await;
        }
    };
    sim.settle(settling, storm).await;
    let mut complaints = verdict::after_the_storm(&sim);

    if complaints.is_empty() {
        // A day later no process remembers a reading.
        sleep(plan.reading_memory).await;
        let mut next_morning = JoinSet::new();
        for (kind, term) in sim.tables() {
            let id = format!("next {kind} {term}");
            let draft = Draft::table(kind, term);
            next_morning.spawn(Arc::clone(&sim.queue).see_through(id, draft));
        }
        sim.settle(next_morning, async {}).await;
        complaints = verdict::next_morning(&sim);
    }
    fleet.end().await;
    complaints
}

impl Sim {
    async fn new(plan: Plan) -> Self {
        let weather = Weather::stormy();
        let catalogue = Arc::new(Mutex::new(Catalogue::new(&plan, weather.clone())));
        let spotify = Spotify {
            stub: Stub::start(catalogue::router(Arc::clone(&catalogue))).await,
            catalog: Catalog::default(),
        };
        let world = World::new(spotify).await;
        world.bigquery.state.lock().unwrap().history = Some(Vec::new());
        let bans = Arc::new(Bans::new(plan.concurrent_calls));
        faults::begin(&world, &plan, &weather, &bans, &catalogue);
        let queue = Queue {
            plan: plan.clone(),
            urls: Mutex::default(),
            loose: TaskTracker::new(),
            weather,
            client: crate::support::client(),
        };
        let queue = Arc::new(queue);
        Self {
            plan,
            world,
            catalogue,
            bans,
            settled: Vec::new(),
            lines: Lines::default(),
            queue,
            taken: 0,
        }
    }

    /// Until every message is settled, those too that the service publishes meanwhile, and nothing
    /// is under way any more.
    async fn settle(
        &mut self,
        mut settling: JoinSet<(Message, End)>,
        storm: impl Future<Output = ()>,
    ) {
        let mut storm = pin!(storm);
        let mut blows = true;
        let mut news = self.world.pubsub.news.subscribe();
        loop {
            for published in self.world.pubsub.published("trigger").split_off(self.taken) {
                self.taken += 1;
                let draft = Draft::of_service(&published.data);
                let queue = Arc::clone(&self.queue);
                settling.spawn(queue.see_through(published.id, draft));
            }
            if settling.is_empty() && blows {
                self.queue.weather.clock.run_out();
            } else if settling.is_empty() {
                self.queue.loose.close();
                self.queue.loose.wait().await;
                self.queue.loose.reopen();
                if self.world.pubsub.published("trigger").len() == self.taken {
                    return;
                }
                continue;
            }
            tokio::select! {
                () = &mut storm, if blows => blows = false,
                _ = news.changed() => {}
                Some(end) = settling.join_next() => self.settled.push(end.unwrap()),
            }
        }
    }

    /// The tables that messages asked for.
    pub fn tables(&self) -> Vec<(&'static str, usize)> {
        let kinds = ["podcasts", "episodes", "mentions"];
        let all = (0..TERMS.len()).flat_map(|term| kinds.map(|kind| (kind, term)));
        all.filter(|(kind, term)| self.wanted(Wants::Table(kind, *term)).next().is_some()).collect()
    }

    pub fn wanted(&self, wants: Wants) -> impl Iterator<Item = &(Message, End)> {
        self.settled.iter().filter(move |(message, _)| message.wants == wants)
    }
}

impl Fleet {
    async fn new(recipe: Recipe, queue: &Arc<Queue>) -> Self {
        let many = recipe.plan.instances;
        let instances = std::iter::repeat_with(|| None).take(many).collect();
        *queue.urls.lock().unwrap() = vec![None; many];
        let mut fleet = Self { recipe, instances, processes: 0, queue: Arc::clone(queue) };
        for slot in 0..many {
            fleet.start(slot).await;
        }
        fleet
    }

    async fn start(&mut self, slot: usize) {
        let instance = self.recipe.start(self.processes).await;
        self.processes += 1;
        self.queue.urls.lock().unwrap()[slot] = Some(instance.url());
        self.instances[slot] = Some(instance);
    }

    /// Takes an instance out, so that no push goes to its port any more.
    fn take(&mut self, slot: usize) -> Instance {
        self.queue.urls.lock().unwrap()[slot] = None;
        self.instances[slot].take().unwrap()
    }

    /// Lets instances end and begin, and the catalogue change, until the storm is over.
    async fn storm(&mut self, plan: &Plan, catalogue: &Shared) {
        let mut dice = Dice::new(plan.seed, "fleet");
        let ends = plan.ends.iter().map(|at| (*at, true));
        let changes = plan.changes.iter().map(|at| (*at, false));
        let mut moments: Vec<(u64, bool)> = ends.chain(changes).collect();
        moments.sort();
        for (at, is_end) in moments {
            self.queue.weather.clock.reach(at).await;
            if !is_end {
                catalogue.lock().unwrap().change();
                continue;
            }
            let slot = dice.number(0..self.instances.len() as u64) as usize;
            let instance = self.take(slot);
            if dice.chance(70) {
                instance.kill().await;
            } else {
                instance.terminate().await;
            }
            sleep(dice.millis(0..40)).await;
            self.start(slot).await;
        }
        self.queue.weather.clock.reach(plan.storm).await;
    }

    /// Other processes in the place of all: a day later none of the day before is left.
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
