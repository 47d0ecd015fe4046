//! Loads that end though their message is gone.
//!
//! If the client closes the connection or the message's time is up, its work is dropped. A load job that
//! was sent is not: its table's turn is held until the job's end is known, so that an older reading
//! never replaces a newer one. The turn alone is held, no place and no rows.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::admission::{Admission, Turn};
use crate::context::Context;
use crate::extraction::{Extracted, Extractor};
use crate::failure::Failure;
use crate::job::Job;
use crate::telemetry::traced;
use crate::warehouse::{CompletedLoad, EarlierLoads, Load, TableState, Warehouse};

/// A message at work on its table.
pub(super) struct Held {
    pub(super) turn: Turn,
    pub(super) admission: Arc<Admission>,
    pub(super) extractor: Arc<Extractor>,
    pub(super) warehouse: Arc<Warehouse>,
    pub(super) context: Arc<Context>,
    pub(super) job: Job,
    pub(super) message_id: String,
    pub(super) publish_time: String,
}

impl Held {
    /// Looks up the message's earlier loads, and waits for one that has not ended.
    pub(super) async fn find_earlier_loads(self: &Arc<Self>) -> Result<EarlierLoads, Failure> {
        let held = Arc::clone(self);
        let work =
            async move { held.warehouse.find_earlier_loads(&held.load(), &held.context).await };
        self.until_the_job_ends(work).await
    }

    /// Replaces the table. Once the load has succeeded, the table has used the reading.
    pub(super) async fn replace(
        self: &Arc<Self>,
        n: u32,
        table_state: TableState,
        extracted: &Extracted,
    ) -> Result<CompletedLoad, Failure> {
        let held = Arc::clone(self);
        let (rows, origin) = (extracted.rows.clone(), extracted.origin.clone());
        let work = async move {
            let (load, context) = (held.load(), &held.context);
            let loaded = held
                .warehouse
                .replace_table(&load, n, table_state, &rows, &origin, context)
                .await?;
            held.extractor.record_load(&held.job.table, &held.message_id);
            Ok(loaded)
        };
        self.until_the_job_ends(work).await
    }

    fn load(&self) -> Load<'_> {
        Load::new(&self.job, &self.warehouse.name(), &self.message_id, &self.publish_time)
    }

    /// Runs `work` in a task that goes on if the message is given up. If `work` ends before its load job,
    /// the task keeps the turn until the job ends.
    async fn until_the_job_ends<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        let (tell, told) = oneshot::channel();
        let held = Arc::clone(self);
        tokio::spawn(traced(async move {
            let result = AssertUnwindSafe(work).catch_unwind().await;
            // If the message is gone, the result interests no one.
            let _ = tell.send(result);
            let Some(job_id) = held.context.progress.followed() else { return };
            let table = &held.job.table;
            if held.admission.keep_for(table, &job_id, &held.turn) {
                if held.warehouse.wait_for_job(&job_id).await {
                    held.extractor.record_load(table, &held.message_id);
                }
                held.admission.ended(table, &job_id);
            }
        }));
        match told.await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => resume_unwind(panic),
            // Only the end of the process ends the task.
            Err(_) => Err(Failure::ShuttingDown),
        }
    }
}
