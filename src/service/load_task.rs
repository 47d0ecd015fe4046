//! Warehouse calls that outlive their message.
//!
//! If the client closes the connection or the message's deadline passes, its work is dropped. A load job
//! that was already sent still runs: a task keeps the table locked until that job has ended, so that an
//! older reading never replaces a newer one. It keeps the lock only, neither a slot nor rows.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::admission::{Admission, TableLock};
use crate::context::Context;
use crate::extraction::{Extracted, Extractor, Source};
use crate::failure::Failure;
use crate::job::Job;
use crate::telemetry::traced;
use crate::warehouse::{Earlier, Load, Loaded, Origin, Standing, Warehouse};

/// One message's access to its table. It owns what its tasks need.
pub(super) struct LoadTask {
    pub(super) lock: TableLock,
    pub(super) admission: Arc<Admission>,
    pub(super) extractor: Arc<Extractor>,
    pub(super) warehouse: Arc<Warehouse>,
    pub(super) context: Arc<Context>,
    pub(super) job: Job,
    pub(super) message_id: String,
    pub(super) publish_time: String,
}

impl LoadTask {
    /// Looks up the message's earlier loads, and waits for one that has not ended.
    pub(super) async fn earlier(self: &Arc<Self>) -> Result<Earlier, Failure> {
        let task = Arc::clone(self);
        let work = async move { task.warehouse.earlier(&task.load(), &task.context).await };
        self.run(work, Source::default()).await
    }

    /// Replaces the table, and records that it has used the reading.
    pub(super) async fn replace(
        self: &Arc<Self>,
        n: u32,
        standing: Standing,
        extracted: &Extracted,
    ) -> Result<Loaded, Failure> {
        let (task, rows, source) = (Arc::clone(self), extracted.rows.clone(), extracted.source());
        let (used, about) = (source.clone(), &extracted.about);
        let origin = Origin {
            show: about.show.as_ref().map(|show| show.id.clone()),
            show_match: about.show.as_ref().map(|show| show.matched_by),
            read_at: about.read_at,
            shared: Some(about.shared),
        };
        let work = async move {
            let (load, context) = (task.load(), &task.context);
            let replaced = task.warehouse.replace(&load, n, standing, &rows, &origin, context);
            let loaded = replaced.await?;
            task.extractor.loaded(&used, &task.job.table);
            Ok(loaded)
        };
        self.run(work, source).await
    }

    fn load(&self) -> Load<'_> {
        Load::new(&self.job, &self.warehouse.place(), &self.message_id, &self.publish_time)
    }

    /// Runs `work` in a task that goes on if the caller is dropped. If `work` then returns before its load
    /// job has ended, the task keeps the table locked until it has.
    async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Future<Output = Result<T, Failure>> + Send + 'static,
        source: Source,
    ) -> Result<T, Failure> {
        let (sender, receiver) = oneshot::channel();
        let task = Arc::clone(self);
        tokio::spawn(traced(async move {
            let result = AssertUnwindSafe(work).catch_unwind().await;
            // If the caller was dropped, no one needs the result.
            let _ = sender.send(result);
            let Some(job_id) = task.context.progress.followed() else { return };
            let table = &task.job.table;
            if task.admission.lock_until_end(table, &job_id, &task.lock) {
                if task.warehouse.follow(&job_id).await {
                    task.extractor.loaded(&source, table);
                }
                task.admission.job_ended(table, &job_id);
            }
        }));
        match receiver.await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => resume_unwind(panic),
            // The runtime drops the task only when the process ends.
            Err(_) => Err(Failure::ShuttingDown),
        }
    }
}
