//! Processes one message, from its envelope to its [`Outcome`]. The server turns the outcome into a
//! response.

mod admission;
mod event;
mod log_line;
mod outcome;
mod table_access;
mod topics;

use std::pin::pin;
use std::sync::Arc;

use futures_util::future::{Either, select, try_join};
use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Timing};
use crate::context::{Context, Stage};
use crate::envelope::{Envelope, Message};
use crate::extraction::{ExtractedTable, Extractor};
use crate::failure::{Decision, Failure};
use crate::google::GoogleCredentials;
use crate::job::{self, Action, Job};
#[cfg(feature = "local")]
use crate::names::{ChosenShow, Term};
use crate::spotify::Spotify;
use crate::warehouse::{CompletedLoad, EarlierLoads, Load, TableState, Warehouse};
use admission::Admission;
use log_line::LogLine;
pub(crate) use log_line::log_refused_request;
pub use outcome::Outcome;
use table_access::TableAccess;
use topics::Topics;

/// Processes messages. `server` adds HTTP.
#[derive(Debug)]
pub struct Service {
    config: Config,
    extractor: Arc<Extractor>,
    warehouse: Arc<Warehouse>,
    topics: Topics,
    admission: Arc<Admission>,
    /// Set at SIGTERM: new messages are answered 503.
    pub draining: CancellationToken,
    /// Set some seconds later: messages in progress are answered 503, too.
    pub stopped: CancellationToken,
}

/// What remains to be done for a message.
enum Prepared {
    /// Nothing: an earlier delivery loaded the table.
    AlreadyLoaded(CompletedLoad),
    /// Load these rows, with load jobs numbered from `n`.
    Load { n: u32, extracted: ExtractedTable, table_state: TableState },
}

impl Service {
    /// Creates the service. It makes no calls.
    pub fn new(config: Config) -> Result<Self, String> {
        let google = Arc::new(GoogleCredentials::new(&config));
        let spotify = Spotify::new(&config).map_err(|error| crate::http::describe(&error))?;
        Ok(Self {
            extractor: Arc::new(Extractor::new(&config, spotify)),
            warehouse: Arc::new(Warehouse::new(&config, &google)?),
            topics: Topics::new(&config, &google),
            admission: Arc::new(Admission::new(config.max_concurrent_messages)),
            draining: CancellationToken::new(),
            stopped: CancellationToken::new(),
            config,
        })
    }

    /// Returns the term's show, from the cache if a message found it recently. Returns `None` if the
    /// search fails.
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
        let action = job::parse(message, &self.config.naming);
        let job = match &action {
            Ok(Action::Load(job)) => Some(job),
            _ => None,
        };
        let line = LogLine::new(envelope, job, &context);
        let result = match action {
            _ if self.draining.is_cancelled() => Err(Failure::ShuttingDown),
            Ok(ref action) => self.process(action, envelope, &context).await,
            Err(ref invalid) => Err(invalid.clone()),
        };
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(failure) => self.fail(failure, message, &context).await,
        };
        line.write(&outcome);
        outcome
    }

    /// Does what the message asks for, until its deadline or until the service stops.
    async fn process(
        &self,
        action: &Action,
        envelope: &Envelope,
        context: &Arc<Context>,
    ) -> Result<Outcome, Failure> {
        let work = async {
            match action {
                Action::Load(job) => self.load(job, envelope, context).await,
                Action::FanOut(messages) => {
                    context.progress.enter(Stage::FanningOut);
                    let messages = self.topics.publish_fan_out(messages).await?;
                    Ok(Outcome::FannedOut { messages })
                }
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
        let access = Arc::new(TableAccess {
            lock,
            admission: Arc::clone(&self.admission),
            extractor: Arc::clone(&self.extractor),
            warehouse: Arc::clone(&self.warehouse),
            context: Arc::clone(context),
            load,
        });
        // Cancels the context when this function returns or is dropped, so that its tasks insert no more load jobs.
        let _cancel = context.cancelled.clone().drop_guard();

        let prepared = self.prepare(&access, envelope.delivery_attempt).await?;
        let (n, extracted, table_state) = match prepared {
            Prepared::AlreadyLoaded(loaded) => {
                return self.already_loaded(&access.load, loaded, context).await;
            }
            Prepared::Load { n, extracted, table_state } => (n, extracted, table_state),
        };
        context.progress.enter(Stage::Loading);
        let mut loaded = access.replace(n, table_state, &extracted).await?;
        if loaded.by_earlier_delivery {
            return self.already_loaded(&access.load, loaded, context).await;
        }
        let (rows, origin) = (extracted.rows.count(), extracted.origin);
        // Unlike the job's labels, this has the show's name.
        (loaded.rows, loaded.origin) = (Some(rows), Some(origin.clone()));
        context.progress.enter(Stage::PublishingEvent);
        self.topics.publish_event(&access.load, &loaded).await?;
        let rows_before = table_state.rows();
        Ok(Outcome::Loaded { job_id: loaded.job_id, rows, rows_before, origin })
    }

    /// Looks up earlier loads if there can be any, and reads Spotify unless one of them succeeded.
    async fn prepare(
        &self,
        access: &Arc<TableAccess>,
        delivery_attempt: Option<u32>,
    ) -> Result<Prepared, Failure> {
        let (load, context) = (&access.load, &*access.context);
        // Before the lookup, so that redeliveries make no calls while a denial rules out any load.
        self.warehouse.fail_if_denied(load)?;
        let (earlier, extracted) = match delivery_attempt {
            // A first delivery has no earlier load. If it is a duplicate, BigQuery rejects the second job,
            // because both have the same ID.
            Some(1) => (EarlierLoads::NoneSucceeded { next: 0 }, self.extract(load, context).await),
            Some(_) => {
                context.progress.enter(Stage::LookingUp);
                match access.find_earlier_loads().await? {
                    EarlierLoads::Succeeded(loaded) => return Ok(Prepared::AlreadyLoaded(loaded)),
                    none => (none, self.extract(load, context).await),
                }
            }
            // A subscription without a dead-letter topic sends no attempt number. Most deliveries are the
            // first, so the lookup must not delay the calls to Spotify.
            None => {
                let lookup = pin!(access.find_earlier_loads());
                match select(lookup, pin!(self.extract(load, context))).await {
                    Either::Left((earlier, extract)) => match earlier? {
                        EarlierLoads::Succeeded(loaded) => {
                            return Ok(Prepared::AlreadyLoaded(loaded));
                        }
                        none => (none, extract.await),
                    },
                    Either::Right((extracted, lookup)) => (lookup.await?, extracted),
                }
            }
        };
        match earlier {
            // This counts even if the extraction failed.
            EarlierLoads::Succeeded(loaded) => Ok(Prepared::AlreadyLoaded(loaded)),
            EarlierLoads::NoneSucceeded { next: n } => {
                let (extracted, table_state) = extracted?;
                Ok(Prepared::Load { n, extracted, table_state })
            }
        }
    }

    /// Reads Spotify and checks the table: concurrently, or the table first if BigQuery recently denied
    /// something.
    async fn extract(
        &self,
        load: &Load,
        context: &Context,
    ) -> Result<(ExtractedTable, TableState), Failure> {
        context.progress.enter(Stage::Reading);
        let extract = async {
            context.deadline.check_time_left()?;
            self.extractor.extract(&load.job, &load.message_id, context).await
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
        load: &Load,
        loaded: CompletedLoad,
        context: &Context,
    ) -> Result<Outcome, Failure> {
        context.progress.enter(Stage::PublishingEvent);
        self.topics.publish_event(load, &loaded).await?;
        let CompletedLoad { job_id, rows, origin, .. } = loaded;
        Ok(Outcome::AlreadyLoaded { job_id, rows, origin })
    }

    /// Dead-letters a message that can never succeed. All others are redelivered.
    async fn fail(&self, failure: Failure, message: &Message, context: &Context) -> Outcome {
        if failure.decision() != Decision::DeadLetter {
            return Outcome::failed(failure);
        }
        context.progress.enter(Stage::DeadLettering);
        match self.topics.publish_dead_letter(&failure, message).await {
            Ok(()) => Outcome::DeadLettered(failure),
            Err(why) => Outcome::Refused { failure, undelivered: Some(why) },
        }
    }
}
