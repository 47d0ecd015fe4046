//! Processes one message, from its envelope to its [`Outcome`]. The server turns the outcome into a
//! response.

mod admission;
mod event;
mod load_task;
mod log_line;
mod outcome;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select, try_join};
use tokio::time::{timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Timing};
use crate::context::{Context, Stage};
use crate::envelope::{Envelope, Message};
use crate::extraction::{Extracted, Extractor};
use crate::failure::{Decision, Failure};
use crate::google::GoogleCredentials;
use crate::job::{self, Action, Job, TriggerMessage};
use crate::letter;
#[cfg(feature = "local")]
use crate::names::{ChosenShow, Term};
use crate::publisher::{Outgoing, Publisher};
use crate::spotify::Spotify;
use crate::warehouse::{CompletedLoad, EarlierLoads, Load, Origin, TableState, Warehouse};
use admission::Admission;
use load_task::LoadTask;
use log_line::LogLine;
pub(crate) use log_line::log_refused_request;
pub use outcome::Outcome;

/// A dead letter is published even if the message's own deadline has passed, but not for longer than
/// this: the subscription's ack deadline (600 s) is 60 s later than the message's.
const DEAD_LETTER_TIMEOUT: Duration = Duration::from_secs(20);

/// The service without its HTTP.
#[derive(Debug)]
pub struct Service {
    config: Config,
    extractor: Arc<Extractor>,
    warehouse: Arc<Warehouse>,
    publisher: Publisher,
    admission: Arc<Admission>,
    /// Set at SIGTERM: new messages are answered 503.
    pub draining: CancellationToken,
    /// Set some seconds later: messages at work are answered 503, too.
    pub stopped: CancellationToken,
}

/// What is known about a message once Spotify is read and its earlier loads are looked up.
enum Prepared {
    /// An earlier delivery loaded the table.
    AlreadyLoaded(CompletedLoad),
    /// These rows must be loaded, as try number `n`.
    Load { n: u32, extracted: Extracted, table_state: TableState },
}

impl Service {
    /// Creates the service. It makes no calls.
    pub fn new(config: Config) -> Result<Self, String> {
        let google = Arc::new(GoogleCredentials::new(&config));
        let spotify = Spotify::new(&config).map_err(|error| crate::http::describe(&error))?;
        Ok(Self {
            extractor: Arc::new(Extractor::new(&config, spotify)),
            warehouse: Arc::new(Warehouse::new(&config, &google)?),
            publisher: Publisher::new(&config, &google),
            admission: Arc::new(Admission::new(config.max_concurrent_messages)),
            draining: CancellationToken::new(),
            stopped: CancellationToken::new(),
            config,
        })
    }

    /// Returns the term's show, without a call if a message has just found it. Returns `None` if it can't
    /// be found.
    #[cfg(feature = "local")]
    pub(crate) async fn show(&self, term: &Term) -> Option<ChosenShow> {
        self.extractor.show(term, &Context::new(self.config.timing.message_deadline)).await.ok()
    }

    pub(crate) fn timing(&self) -> &Timing {
        &self.config.timing
    }

    /// Processes a message, writes its log line, and returns its outcome.
    pub async fn handle(&self, envelope: &Envelope) -> Outcome {
        let context = Arc::new(Context::new(self.config.timing.message_deadline));
        let message = &envelope.message;
        let request = job::parse(message, &self.config.naming);
        let job = match &request {
            Ok(Action::Load(job)) => Some(job),
            _ => None,
        };
        let line = LogLine::new(envelope, job, &context);
        let result = match &request {
            _ if self.draining.is_cancelled() => Err(Failure::ShuttingDown),
            Ok(request) => self.process(request, envelope, &context).await,
            Err(refused) => Err(refused.clone()),
        };
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(failure) => self.fail(failure, message).await,
        };
        line.write(&outcome);
        outcome
    }

    /// Processes a request until its deadline, or until the service stops.
    async fn process(
        &self,
        request: &Action,
        envelope: &Envelope,
        context: &Arc<Context>,
    ) -> Result<Outcome, Failure> {
        let work = async {
            match request {
                Action::Load(job) => self.load(job, envelope, context).await,
                Action::FanOut(orders) => self.fan_out(orders).await,
            }
        };
        tokio::select! {
            result = timeout_at(context.deadline.answer_by(), work) => result.unwrap_or_else(|_| {
                Err(Failure::DeadlinePassed {
                    deadline: self.config.timing.message_deadline,
                    progress: context.describe_progress(),
                    job_id: context.progress.followed(),
                })
            }),
            () = self.stopped.cancelled() => Err(Failure::ShuttingDown),
        }
    }

    async fn load(
        &self,
        job: &Job,
        envelope: &Envelope,
        context: &Arc<Context>,
    ) -> Result<Outcome, Failure> {
        let message = &envelope.message;
        let load = Load::new(job, &self.warehouse.name(), &message.id, &message.publish_time);
        // The lock comes first, so that a message that waits for its table takes no slot from another.
        let lock = self.admission.lock_table(&load, context).await?;
        let _slot = self.admission.acquire_slot(context).await?;
        let task = Arc::new(LoadTask {
            lock,
            admission: Arc::clone(&self.admission),
            extractor: Arc::clone(&self.extractor),
            warehouse: Arc::clone(&self.warehouse),
            context: Arc::clone(context),
            job: job.clone(),
            message_id: message.id.clone(),
            publish_time: message.publish_time.clone(),
        });
        // Once this function returns or is dropped, its tasks insert no load job.
        let _cancel = context.cancelled.clone().drop_guard();

        let prepared = self.prepare(&load, &task, envelope.delivery_attempt).await?;
        let (n, extracted, table_state) = match prepared {
            Prepared::AlreadyLoaded(loaded) => {
                return self.already_loaded(&load, loaded, context).await;
            }
            Prepared::Load { n, extracted, table_state } => (n, extracted, table_state),
        };
        context.progress.enter(Stage::Loading);
        let mut loaded = task.replace(n, table_state, &extracted).await?;
        if loaded.by_earlier_delivery {
            return self.already_loaded(&load, loaded, context).await;
        }
        let (rows, origin) = (extracted.rows.count(), extracted.origin);
        loaded.rows = Some(rows);
        self.publish_event(&load, &loaded, Some(&origin), context).await?;
        let rows_before = table_state.rows();
        Ok(Outcome::Loaded { job_id: loaded.job_id, rows, rows_before, origin })
    }

    /// Looks up earlier loads and reads Spotify, as far as this delivery needs either.
    async fn prepare(
        &self,
        load: &Load<'_>,
        task: &Arc<LoadTask>,
        delivery_attempt: Option<u32>,
    ) -> Result<Prepared, Failure> {
        let context = &task.context;
        // Fails without a call if a denial that is remembered rules out every load.
        self.warehouse.fail_if_denied(load)?;
        let (earlier, extracted) = match delivery_attempt {
            // A first delivery has no earlier load. If it is a duplicate, BigQuery refuses the job's id.
            Some(1) => (EarlierLoads::NoneSucceeded { next: 0 }, self.extract(load, context).await),
            // A redelivery may have one, so Spotify is read only if there is none.
            Some(_) => {
                context.progress.enter(Stage::LookingUp);
                match task.find_earlier_loads().await? {
                    EarlierLoads::Succeeded(loaded) => return Ok(Prepared::AlreadyLoaded(loaded)),
                    next => (next, self.extract(load, context).await),
                }
            }
            // Without an attempt number, the lookup costs no time alongside the first calls to Spotify.
            None => {
                let (earlier, extract) =
                    (pin!(task.find_earlier_loads()), pin!(self.extract(load, context)));
                match select(earlier, extract).await {
                    Either::Left((earlier, extract)) => match earlier? {
                        EarlierLoads::Succeeded(loaded) => {
                            return Ok(Prepared::AlreadyLoaded(loaded));
                        }
                        next => (next, extract.await),
                    },
                    Either::Right((extracted, earlier)) => (earlier.await?, extracted),
                }
            }
        };
        match earlier {
            EarlierLoads::Succeeded(loaded) => Ok(Prepared::AlreadyLoaded(loaded)),
            EarlierLoads::NoneSucceeded { next: n } => {
                let (extracted, table_state) = extracted?;
                Ok(Prepared::Load { n, extracted, table_state })
            }
        }
    }

    /// Reads Spotify and looks at the table: concurrently, or the table first if BigQuery recently denied
    /// something.
    async fn extract(
        &self,
        load: &Load<'_>,
        context: &Context,
    ) -> Result<(Extracted, TableState), Failure> {
        context.progress.enter(Stage::Reading);
        let extract = async {
            context.deadline.check_time_left()?;
            self.extractor.extract(load.job, load.message_id, context).await
        };
        self.warehouse.fail_if_denied(load)?;
        if self.warehouse.must_check_first(load) {
            let table_state = self.warehouse.check_or_create_table(load).await?;
            Ok((extract.await?, table_state))
        } else {
            try_join(extract, self.warehouse.check_table(load)).await
        }
    }

    /// Ends a message whose table an earlier delivery loaded. That delivery may have ended before it
    /// published the event, so the event is published again.
    async fn already_loaded(
        &self,
        load: &Load<'_>,
        loaded: CompletedLoad,
        context: &Context,
    ) -> Result<Outcome, Failure> {
        self.publish_event(load, &loaded, None, context).await?;
        Ok(Outcome::already_loaded(loaded))
    }

    /// Publishes the event of a load, if `LOADED_TOPIC` is set.
    async fn publish_event(
        &self,
        load: &Load<'_>,
        loaded: &CompletedLoad,
        origin: Option<&Origin>,
        context: &Context,
    ) -> Result<(), Failure> {
        let Some(topic) = &self.config.pubsub.loaded_topic else { return Ok(()) };
        context.progress.enter(Stage::Publishing);
        let event = event::loaded_event(load, loaded, origin);
        let published = self.publisher.publish(topic, vec![event]).await;
        published.map(drop).map_err(|why| Failure::EventNotPublished {
            table: load.job.table.clone(),
            job_id: loaded.job_id.clone(),
            why: Box::new(why),
        })
    }

    /// Publishes one message for each table and term. A redelivery publishes them again, which loads the
    /// same tables again.
    async fn fan_out(&self, orders: &[TriggerMessage]) -> Result<Outcome, Failure> {
        let Some(topic) = &self.config.pubsub.trigger_topic else {
            return Err(Failure::NoTriggerTopic(orders.len()));
        };
        let messages = orders
            .iter()
            .map(|order| Outgoing { data: order.to_data(), ..Outgoing::default() })
            .collect();
        let published = self.publisher.publish(topic, messages).await?;
        Ok(Outcome::FannedOut { messages: published.len() as u64 })
    }

    /// Dead-letters a message that can never succeed. All others are redelivered.
    async fn fail(&self, failure: Failure, message: &Message) -> Outcome {
        if failure.decision() != Decision::DeadLetter {
            return Outcome::failed(failure);
        }
        match self.publish_dead_letter(&failure, message).await {
            Ok(()) => Outcome::DeadLettered(failure),
            Err(why) => Outcome::Refused { failure, undelivered: Some(why) },
        }
    }

    async fn publish_dead_letter(
        &self,
        failure: &Failure,
        message: &Message,
    ) -> Result<(), String> {
        let Some(topic) = &self.config.pubsub.dead_letter_topic else {
            return Err("DEAD_LETTER_TOPIC is not set".to_owned());
        };
        let dead_letter = Outgoing {
            data: message.data.as_bytes().to_vec(),
            attributes: letter::attributes(message, failure),
        };
        let time = DEAD_LETTER_TIMEOUT.min(self.config.timing.google_call_timeout);
        match timeout(time, self.publisher.publish(topic, vec![dead_letter])).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(why)) => Err(why.to_string()),
            Err(_) => Err("Pub/Sub did not answer in time".to_owned()),
        }
    }
}
