//! Extracts the rows of `podcasts`: the shows that a search finds.

use std::time::SystemTime;

use super::{ExtractedTable, Extractor, add_counters, show};
use crate::context::Context;
use crate::failure::Failure;
use crate::job::Job;
use crate::warehouse::Origin;

impl Extractor {
    pub(super) async fn extract_podcasts(
        &self,
        job: &Job,
        context: &Context,
    ) -> Result<ExtractedTable, Failure> {
        // This search also finds the term's show, so messages that need the show wait for it. If another
        // message is already searching for the show, this message does not cache it.
        let lock = self.search_locks.get(job.term.folded());
        let locked = lock.try_lock();
        let read_at = SystemTime::now();
        let complete = self.search(&job.term, job.max_missing_percent, context).await?;
        add_counters(&complete, complete.undated, context);
        // Does not replace a cached show, so that the tables of a term hold the same show.
        if locked.is_ok() && self.shows.get(job.term.folded()).is_none() {
            let first_page = complete.rows.lines().take(complete.first_page_rows);
            if let Some(show) = show::choose_show(&job.term, first_page) {
                self.shows.insert(job.term.folded().to_owned(), show, self.show_ttl);
            }
        }
        let listed = complete.wanted_if_missing();
        let origin = Origin { show: None, read_at, shared: Some(false), listed };
        Ok(ExtractedTable { rows: complete.rows, origin })
    }
}
