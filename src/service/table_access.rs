//! Warehouse calls that continue after their message is canceled.
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
use crate::extraction::{ExtractedTable, Extractor};
use crate::failure::Failure;
use crate::telemetry::traced;
use crate::warehouse::{CompletedLoad, EarlierLoads, Load, TableState, Warehouse};

/// One message's access to its table. It owns what its spawned tasks need.
pub(super) struct TableAccess {
    pub(super) lock: TableLock,
    pub(super) admission: Arc<Admission>,
    pub(super) extractor: Arc<Extractor>,
    pub(super) warehouse: Arc<Warehouse>,
    pub(super) context: Arc<Context>,
    pub(super) load: Load,
}

impl TableAccess {
    /// Looks up the message's earlier loads, and waits for one that has not ended.
    pub(super) async fn find_earlier_loads(self: &Arc<Self>) -> Result<EarlierLoads, Failure> {
        let access = Arc::clone(self);
        let work =
            async move { access.warehouse.find_earlier_loads(&access.load, &access.context).await };
        self.run(work).await
    }

    /// Replaces the table, and records the load so that the next message reads Spotify again.
    pub(super) async fn replace(
        self: &Arc<Self>,
        n: u32,
        table_state: TableState,
        extracted: &ExtractedTable,
    ) -> Result<CompletedLoad, Failure> {
        let access = Arc::clone(self);
        let (rows, origin) = (extracted.rows.clone(), extracted.origin.clone());
        let work = async move {
            let (load, context) = (&access.load, &access.context);
            let replaced =
                access.warehouse.replace_table(load, n, table_state, &rows, &origin, context);
            let loaded = replaced.await?;
            access.extractor.record_load(&load.job.table, &load.message_id);
            Ok(loaded)
        };
        self.run(work).await
    }

    /// Runs `work` in a spawned task, which goes on if the caller is dropped. If `work` returns before its
    /// load job has ended, the spawned task keeps the table locked until the job has ended.
    async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        let (sender, receiver) = oneshot::channel();
        let access = Arc::clone(self);
        tokio::spawn(traced(async move {
            let result = AssertUnwindSafe(work).catch_unwind().await;
            // If the caller was dropped, no one needs the result.
            let _ = sender.send(result);
            let Some(job_id) = access.context.progress.followed() else { return };
            let table = &access.load.job.table;
            if access.admission.lock_until_end(table, &job_id, &access.lock) {
                if access.warehouse.wait_for_job(&job_id).await {
                    access.extractor.record_load(table, &access.load.message_id);
                }
                access.admission.job_ended(table, &job_id);
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
