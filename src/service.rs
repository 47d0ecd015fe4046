//! One message from its envelope to its end: what it asks for is done, or its failure is decided.
//! How either is told to Pub/Sub is the server's.

pub mod admission;
mod event;
mod held;
mod report;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select, try_join};
use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Timing};
use crate::context::{Context, Deadline, Stage};
use crate::envelope::{Envelope, Message};
use crate::extraction::{Extracted, Extractor};
use crate::failure::{Decision, Failure};
use crate::google::GoogleCredentials;
use crate::job::{self, Job, Request, TriggerMessage};
use crate::letter;
#[cfg(feature = "local")]
use crate::names::{ChosenShow, Term};
use crate::publisher::{Outgoing, Publisher};
use crate::spotify::Spotify;
use crate::warehouse::{CompletedLoad, EarlierLoads, Load, Origin, TableState, Warehouse};
use admission::Admission;
use held::Held;
pub use report::{Outcome, Report};

/// The service, but for its HTTP.
#[derive(Debug)]
pub struct Service {
    config: Config,
    extractor: Arc<Extractor>,
    warehouse: Arc<Warehouse>,
    publisher: Publisher,
    admission: Arc<Admission>,
    /// Set at SIGTERM: no new message.
    pub draining: CancellationToken,
    /// Set some seconds later: no message any more.
    pub stopped: CancellationToken,
}

/// What came of a message that did not fail.
enum Done {
    Loaded { rows: u64, rows_before: Option<u64>, job_id: String, about: Origin },
    AlreadyLoaded(CompletedLoad),
    FannedOut { messages: u64 },
}

/// What a load needs.
struct Ready {
    extracted: Extracted,
    table_state: TableState,
}

/// What the concurrent lookup of earlier loads found.
enum Attempt {
    /// An earlier delivery loaded the table.
    Done(CompletedLoad),
    /// The number of the next load, and what it needs.
    Ready(u32, Ready),
}

impl Service {
    /// The service as configured; nothing is called.
    pub async fn new(config: Config) -> Result<Self, String> {
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

    /// The term's show, without a call if a message has just found it. `None` if it can't be found.
    #[cfg(feature = "local")]
    pub(crate) async fn show(&self, term: &Term) -> Option<ChosenShow> {
        let context = Context::new(self.deadline());
        self.extractor.show(term, &context).await.ok()
    }

    /// Returns the deadline of a message received now.
    fn deadline(&self) -> Deadline {
        let time = self.config.timing.message_deadline;
        Deadline::new(time, admission::max_wait(time))
    }

    /// How long things may take.
    pub(crate) fn timing(&self) -> &Timing {
        &self.config.timing
    }

    /// Sees a message through and reports its outcome, in one log line and to the caller.
    pub async fn handle(&self, envelope: &Envelope) -> Report {
        let context = Arc::new(Context::new(self.deadline()));
        let message = &envelope.message;
        let mut line = report::Line::new(envelope, &context);
        let done = match job::parse(message, &self.config.naming) {
            _ if self.draining.is_cancelled() => Err(Failure::ShuttingDown),
            Err(refused) => Err(refused),
            Ok(request) => {
                line.names(&request);
                self.within_bounds(&request, envelope, &context).await
            }
        };
        let report = match done {
            Ok(done) => Report::done(done),
            Err(failure) => self.decide(failure, message).await,
        };
        line.write(&report);
        report
    }

    async fn within_bounds(
        &self,
        request: &Request,
        envelope: &Envelope,
        context: &Arc<Context>,
    ) -> Result<Done, Failure> {
        let work = async {
            match request {
                Request::Load(job) => self.load(job, envelope, context).await,
                Request::FanOut(orders) => self.fan_out(orders).await,
            }
        };
        let deadline = self.config.timing.message_deadline;
        tokio::select! {
            done = timeout_at(context.deadline.answer_by(), work) => done.unwrap_or_else(|_| {
                let (progress, job_id) = (context.describe_progress(), context.progress.followed());
                Err(Failure::DeadlinePassed { deadline, progress, job_id })
            }),
            () = self.stopped.cancelled() => Err(Failure::ShuttingDown),
        }
    }

    async fn load(
        &self,
        job: &Job,
        envelope: &Envelope,
        context: &Arc<Context>,
    ) -> Result<Done, Failure> {
        let message = &envelope.message;
        let load = Load::new(job, &self.warehouse.name(), &message.id, &message.publish_time);
        // The turn first: a message that waits for a table must not hold a place that another table can use.
        let turn = self.admission.turn(&load, context).await?;
        let _place = self.admission.place(context).await?;
        let held = &Arc::new(Held {
            turn,
            admission: Arc::clone(&self.admission),
            extractor: Arc::clone(&self.extractor),
            warehouse: Arc::clone(&self.warehouse),
            context: Arc::clone(context),
            job: job.clone(),
            message_id: message.id.clone(),
            publish_time: message.publish_time.clone(),
        });
        let _cancel = context.cancelled.clone().drop_guard();

        // While a load can't succeed, no call is made.
        self.warehouse.must_check_first(&load)?;
        let (n, ready) = match envelope.delivery_attempt {
            // The first delivery has no earlier load; if it is a duplicate, the load's id is taken.
            Some(1) => (0, self.extract(&load, context).await?),
            Some(_) => {
                context.progress.enter(Stage::LookingUp);
                match held.find_earlier_loads().await? {
                    EarlierLoads::Succeeded(loaded) => {
                        return self.already_loaded(&load, loaded, context).await;
                    }
                    EarlierLoads::NoneSucceeded { next: n } => {
                        (n, self.extract(&load, context).await?)
                    }
                }
            }
            None => match self.extract_unless_done(&load, held).await? {
                Attempt::Done(loaded) => return self.already_loaded(&load, loaded, context).await,
                Attempt::Ready(n, ready) => (n, ready),
            },
        };
        context.progress.enter(Stage::Loading);
        let Ready { extracted, table_state } = ready;
        let (rows, about) = (&extracted.rows, &extracted.origin);
        let mut loaded = held.replace(n, table_state, &extracted).await?;
        if loaded.by_earlier_delivery {
            return self.already_loaded(&load, loaded, context).await;
        }
        loaded.rows = Some(rows.count());
        self.tell(&load, &loaded, Some(about), context).await?;
        let rows_before = table_state.rows();
        let (rows, about) = (rows.count(), about.clone());
        Ok(Done::Loaded { rows, rows_before, job_id: loaded.job_id, about })
    }

    /// Ends a message whose table an earlier delivery loaded. That delivery may have ended before it
    /// published the event.
    async fn already_loaded(
        &self,
        load: &Load<'_>,
        loaded: CompletedLoad,
        context: &Context,
    ) -> Result<Done, Failure> {
        self.tell(load, &loaded, None, context).await?;
        Ok(Done::AlreadyLoaded(loaded))
    }

    /// Publishes the event of a load, if there is a topic for it.
    async fn tell(
        &self,
        load: &Load<'_>,
        loaded: &CompletedLoad,
        about: Option<&Origin>,
        context: &Context,
    ) -> Result<(), Failure> {
        let Some(topic) = &self.config.pubsub.loaded_topic else { return Ok(()) };
        context.progress.enter(Stage::Publishing);
        let event = event::event(load, loaded, about);
        let published = self.publisher.publish(topic, vec![event]).await;
        published.map(drop).map_err(|why| Failure::EventNotPublished {
            table: load.job.table.clone(),
            job_id: loaded.job_id.clone(),
            why: Box::new(why),
        })
    }

    /// Reads Spotify and looks at the table concurrently, or before it if the warehouse denied something
    /// recently.
    async fn extract(&self, load: &Load<'_>, context: &Context) -> Result<Ready, Failure> {
        context.progress.enter(Stage::Reading);
        let extracted = async {
            context.deadline.check_time_left()?;
            self.extractor.extract(load.job, load.message_id, context).await
        };
        let (extracted, table_state) = if self.warehouse.must_check_first(load)? {
            let table_state = self.warehouse.check_or_create_table(load).await?;
            (extracted.await?, table_state)
        } else {
            try_join(extracted, self.warehouse.check_table(load)).await?
        };
        Ok(Ready { extracted, table_state })
    }

    /// Asks for earlier loads beside the first calls to Spotify, where nothing says that there are
    /// any.
    async fn extract_unless_done(
        &self,
        load: &Load<'_>,
        held: &Arc<Held>,
    ) -> Result<Attempt, Failure> {
        let earlier = pin!(held.find_earlier_loads());
        let ready = pin!(self.extract(load, &held.context));
        let (earlier, ready) = match select(earlier, ready).await {
            Either::Left((earlier, ready)) => match earlier? {
                EarlierLoads::Succeeded(loaded) => return Ok(Attempt::Done(loaded)),
                next => (next, ready.await),
            },
            Either::Right((ready, earlier)) => (earlier.await?, ready),
        };
        match earlier {
            EarlierLoads::Succeeded(loaded) => Ok(Attempt::Done(loaded)),
            EarlierLoads::NoneSucceeded { next: n } => Ok(Attempt::Ready(n, ready?)),
        }
    }

    /// Publishes the messages that this one means. A fan-out that comes again publishes them again:
    /// that loads the same tables anew, and each of them is whole.
    async fn fan_out(&self, orders: &[TriggerMessage]) -> Result<Done, Failure> {
        let Some(topic) = &self.config.pubsub.trigger_topic else {
            return Err(Failure::NoTriggerTopic(orders.len()));
        };
        let messages = orders
            .iter()
            .map(|order| Outgoing { data: order.to_data(), ..Outgoing::default() })
            .collect();
        let published = self.publisher.publish(topic, messages).await?;
        Ok(Done::FannedOut { messages: published.len() as u64 })
    }

    /// Dead-letters what can never succeed, and reports the rest as it is.
    async fn decide(&self, failure: Failure, message: &Message) -> Report {
        if failure.decision() != Decision::DeadLetter {
            return Report::failed(failure);
        }
        let Some(topic) = &self.config.pubsub.dead_letter_topic else {
            return Report::undeliverable(failure, "DEAD_LETTER_TOPIC is not set");
        };
        let letter = Outgoing {
            data: message.data.as_bytes().to_vec(),
            attributes: letter::attributes(message, &failure),
        };
        // The message's own time may be up; the letter has a little of its own.
        let time = Duration::from_secs(20).min(self.config.timing.google_call_timeout);
        match tokio::time::timeout(time, self.publisher.publish(topic, vec![letter])).await {
            Ok(Ok(_)) => Report::dead_lettered(failure),
            Ok(Err(why)) => Report::undeliverable(failure, &why.to_string()),
            Err(_) => Report::undeliverable(failure, "Pub/Sub did not answer in time"),
        }
    }
}
