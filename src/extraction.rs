//! From a job to its rows: which listing is read, which show is the term's, and when a listing is
//! complete. Spotify's pages lie (facts and sources in ARCHITECTURE.md), so nothing here trusts a
//! page's length, a total that moved, or an id to come once.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::time::Duration;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::time::Instant;

use crate::config::Config;
use crate::failure::Failure;
use crate::job::Job;
use crate::keyed::Keyed;
use crate::meter::Meter;
use crate::names::{Kind, ShowId, Term};
use crate::rows::{self, PageRows, Rows};
use crate::spotify::{CallError, Spotify};
use crate::text::fold;

/// How many shows the table of podcasts holds.
const SHOWS: usize = 50;

/// Spotify's searches end here (offset and limit together).
const SEARCH_END: u32 = 1000;

/// The most episodes that Spotify gives in one page.
const EPISODE_PAGE: u32 = 50;

/// How often a listing of episodes is read that changes while it is read.
const READINGS: u32 = 3;

/// Reads Spotify for jobs.
#[derive(Debug)]
pub struct Extractor {
    spotify: Spotify,
    shows: Keyed<Option<Remembered>>,
    mention: String,
    search_page: u32,
    side_by_side: usize,
    memory: Duration,
}

#[derive(Clone, Debug)]
struct Remembered {
    show: ShowId,
    until: Instant,
}

/// A page as the listings see it.
struct Page {
    rows: PageRows,
    /// Items in it, nulls included.
    length: u32,
    /// Items that the listing says it has.
    total: u32,
}

/// How a listing of episodes looked when it was read.
#[derive(Debug, PartialEq, Eq)]
struct Shape {
    total: u32,
    length: u32,
    unique: usize,
    doubles: u64,
    nulls: u64,
    undated: u64,
    /// A hash of the ids in their order: two readings of one shape have lost the same episodes.
    ids: u64,
}

impl Shape {
    fn is_whole(&self) -> bool {
        self.length == self.total && self.doubles == 0
    }
}

impl Extractor {
    /// An extractor on a client.
    pub fn new(config: &Config, spotify: Spotify) -> Self {
        Self {
            spotify,
            shows: Keyed::default(),
            mention: fold(&config.mention),
            search_page: config.spotify.search_page_size,
            side_by_side: config.spotify.concurrent_calls,
            memory: config.timing.show_memory,
        }
    }

    /// The rows of the job's table: complete, unique by id, in Spotify's order. Never none, but for
    /// mentions of a show that has episodes.
    pub async fn rows(&self, job: &Job, meter: &Meter) -> Result<Rows, Failure> {
        let start = Instant::now();
        let rows = match job.kind {
            Kind::Podcasts => self.podcasts(&job.term, meter).await,
            Kind::Episodes => self.episodes(job, None, meter).await,
            Kind::Mentions => self.episodes(job, Some(&self.mention), meter).await,
        };
        meter.extraction_ms.add_since(start);
        rows
    }

    /// The first [`SHOWS`] distinct shows of a search, or all if it ends before.
    async fn podcasts(&self, term: &Term, meter: &Meter) -> Result<Rows, Failure> {
        let mut rows = Rows::default();
        let mut seen = HashSet::new();
        let mut offset = 0;
        let mut listed = 0;
        let mut ended = false;
        while seen.len() < SHOWS && !ended && offset < SEARCH_END {
            // What is missing is asked for side by side: it is known beforehand how many pages that
            // takes. Only the first call of a process goes alone, and says whether there are more.
            let missing = if offset == 0 && !self.spotify.is_open() {
                self.search_page
            } else {
                (SHOWS - seen.len()) as u32
            };
            let spans = spans(offset..(offset + missing).min(SEARCH_END), self.search_page)
                .map(|span| span.start..span.end.min(SEARCH_END));
            let read: Vec<(Range<u32>, Vec<Page>)> = stream::iter(spans)
                .map(|span| async {
                    let page = |at, limit| self.search(term, at, limit, meter);
                    self.read_span(span.clone(), page).await.map(|pages| (span, pages))
                })
                .buffered(self.side_by_side)
                .try_collect()
                .await
                .map_err(|error| not_found(error, || unexpected("the search")))?;
            for (span, pages) in read {
                offset = span.start;
                for page in pages {
                    // The total drifts: a search ends where none of its pages promised more.
                    listed = listed.max(page.total);
                    offset += page.length;
                    ended = page.length == 0 || offset >= listed;
                    meter.nulls.add(page.rows.nulls);
                    meter.doubles.add(rows.append(page.rows, &mut seen, SHOWS));
                }
                // A span that a drifted total cut short is taken up again where it ended.
                if ended || offset < span.end {
                    break;
                }
            }
        }
        match (rows.count(), listed) {
            (0, 0) => Err(Failure::NoResults { what: format!("no show for {:?}", term.text()) }),
            (0, _) => Err(Failure::OnlyNulls(format!("the search for {:?}", term.text()))),
            _ => Ok(rows),
        }
    }

    async fn search(
        &self,
        term: &Term,
        offset: u32,
        limit: u32,
        meter: &Meter,
    ) -> Result<Page, CallError> {
        let page = self.spotify.search(term, offset, limit, meter, |paging| Page {
            rows: rows::podcasts(&paging.items),
            length: paging.items.len() as u32,
            total: clamp(paging.total),
        });
        match page.await {
            // Past a search's end Spotify answers 404, or an empty page.
            Err(CallError::NotFound(_)) if offset > 0 => {
                Ok(Page { rows: PageRows::default(), length: 0, total: 0 })
            }
            other => other,
        }
    }

    /// The episodes of the job's show, all of them or those with a mention.
    async fn episodes(
        &self,
        job: &Job,
        mention: Option<&str>,
        meter: &Meter,
    ) -> Result<Rows, Failure> {
        if let Some(show) = &job.show {
            let rows = self.all_episodes(show, mention, meter).await;
            return rows.map_err(|error| not_found(error, || Failure::NoSuchShow(show.clone())));
        }
        let slot = self.shows.slot(job.term.folded());
        loop {
            let (show, fresh) = self.show_of(&job.term, &slot, meter).await?;
            match self.all_episodes(&show, mention, meter).await {
                Ok(rows) => return Ok(rows),
                Err(CallError::Failed(failure)) => return Err(failure),
                Err(CallError::NotFound(_)) => {
                    let mut remembered = slot.lock().await;
                    if remembered.as_ref().is_some_and(|remembered| remembered.show == show) {
                        *remembered = None;
                    }
                    if fresh {
                        return Err(Failure::ShowVanished { id: show, term: job.term.clone() });
                    }
                }
            }
        }
    }

    /// The term's show, and whether it was searched for just now. Who comes while it is searched
    /// for waits for that search.
    async fn show_of(
        &self,
        term: &Term,
        slot: &tokio::sync::Mutex<Option<Remembered>>,
        meter: &Meter,
    ) -> Result<(ShowId, bool), Failure> {
        let mut remembered = slot.lock().await;
        if let Some(Remembered { show, until }) = &*remembered
            && Instant::now() < *until
        {
            return Ok((show.clone(), false));
        }
        let found = self
            .spotify
            .search(term, 0, self.search_page, meter, |paging| {
                let shows = || paging.items.iter().flatten();
                let id = |show: &crate::spotify::wire::Show<'_>| {
                    show.id.as_deref().and_then(ShowId::from_spotify)
                };
                let named = shows().find(|show| {
                    id(show).is_some()
                        && show
                            .name
                            .as_ref()
                            .and_then(|name| name.read().ok())
                            .is_some_and(|name| fold(&name) == term.folded())
                });
                let nulls = shows().count() < paging.items.len();
                (named.and_then(id).or_else(|| shows().find_map(id)), paging.total > 0 || nulls)
            })
            .await
            .map_err(|error| not_found(error, || unexpected("the search")))?;
        match found {
            (Some(show), _) => {
                let until = Instant::now() + self.memory;
                *remembered = Some(Remembered { show: show.clone(), until });
                Ok((show, true))
            }
            (None, true) => Err(Failure::OnlyNulls(format!("the search for {:?}", term.text()))),
            (None, false) => {
                Err(Failure::NoResults { what: format!("no show for {:?}", term.text()) })
            }
        }
    }

    /// Reads a listing until it is whole, or until two readings agree on how it is not: what Spotify
    /// shows twice alike is what it shows.
    async fn all_episodes(
        &self,
        show: &ShowId,
        mention: Option<&str>,
        meter: &Meter,
    ) -> Result<Rows, CallError> {
        let mut before = None;
        let mut why = String::new();
        for _ in 0..READINGS {
            match self.read_episodes(show, mention, meter).await? {
                Err(moved) => {
                    why = moved;
                    before = None;
                }
                Ok((rows, shape)) if shape.is_whole() || before.as_ref() == Some(&shape) => {
                    meter.nulls.add(shape.nulls);
                    meter.doubles.add(shape.doubles);
                    meter.undated.add(shape.undated);
                    return match (shape.unique, shape.total) {
                        (0, 0) => Err(Failure::NoResults {
                            what: format!("no episode of the show {show}"),
                        }
                        .into()),
                        (0, _) => {
                            Err(Failure::OnlyNulls(format!("the episodes of the show {show}"))
                                .into())
                        }
                        _ => Ok(rows),
                    };
                }
                Ok((_, shape)) => {
                    why = format!(
                        "{} of {} items were shown, {} of them twice",
                        shape.length, shape.total, shape.doubles
                    );
                    before = Some(shape);
                }
            }
        }
        Err(Failure::Unstable { what: format!("the show {show}"), detail: why }.into())
    }

    /// One reading: the rows and the listing's shape, or how its total moved meanwhile.
    async fn read_episodes(
        &self,
        show: &ShowId,
        mention: Option<&str>,
        meter: &Meter,
    ) -> Result<Result<(Rows, Shape), String>, CallError> {
        let page = |at, limit| async move {
            let page = self.spotify.episodes(show, at, limit, meter, |paging| Page {
                rows: rows::episodes(&paging.items, mention),
                length: paging.items.len() as u32,
                total: clamp(paging.total),
            });
            page.await
        };
        meter.read.set(0);
        let first = page(0, EPISODE_PAGE).await?;
        let total = first.total;
        meter.listed.set(u64::from(total));
        // A shorter first page than was asked for shows what Spotify allows.
        let size = if first.length == 0 { EPISODE_PAGE } else { first.length.min(EPISODE_PAGE) };
        let rest = spans(first.length..if first.length == 0 { 0 } else { total }, size);
        let spans = stream::iter(rest).map(|span| self.read_span(span, page));
        let first = stream::iter([Ok(vec![first])]);
        let mut pages = first.chain(spans.buffered(self.side_by_side));

        let mut rows = Rows::default();
        let mut seen = HashSet::new();
        let mut ids = DefaultHasher::new();
        let mut shape =
            Shape { total, length: 0, unique: 0, doubles: 0, nulls: 0, undated: 0, ids: 0 };
        while let Some(span) = pages.try_next().await? {
            for page in span {
                if page.total != total {
                    return Ok(Err(format!("its total went from {total} to {}", page.total)));
                }
                shape.length += page.length;
                shape.nulls += page.rows.nulls;
                shape.undated += page.rows.undated;
                page.rows.ids().for_each(|id| id.hash(&mut ids));
                meter.read.add(u64::from(page.length));
                shape.doubles += rows.append(page.rows, &mut seen, usize::MAX);
            }
        }
        shape.unique = seen.len();
        shape.ids = ids.finish();
        Ok(Ok((rows, shape)))
    }

    /// The pages from one offset to another: one call, or more where pages are shorter than asked
    /// for. Ends early where the listing does.
    async fn read_span<F>(
        &self,
        span: Range<u32>,
        page: impl Fn(u32, u32) -> F,
    ) -> Result<Vec<Page>, CallError>
    where
        F: Future<Output = Result<Page, CallError>>,
    {
        let mut at = span.start;
        let mut pages = Vec::with_capacity(1);
        while at < span.end {
            let next = page(at, span.end - at).await?;
            let ended = next.length == 0 || at + next.length >= next.total;
            at += next.length;
            pages.push(next);
            if ended {
                break;
            }
        }
        Ok(pages)
    }
}

/// `whole` in pieces of `size`; the last one may reach further, as pages do.
fn spans(whole: Range<u32>, size: u32) -> impl Iterator<Item = Range<u32>> {
    whole.step_by(size.max(1) as usize).map(move |at| at..at + size)
}

/// A total that no listing reaches is a lie that must not size a loop.
fn clamp(total: u64) -> u32 {
    const MOST: u32 = 1_000_000;
    u32::try_from(total).unwrap_or(MOST).min(MOST)
}

fn not_found(error: CallError, instead: impl FnOnce() -> Failure) -> Failure {
    match error {
        CallError::NotFound(_) => instead(),
        CallError::Failed(failure) => failure,
    }
}

fn unexpected(call: &str) -> Failure {
    Failure::SpotifyUnavailable { call: call.to_owned(), detail: "404".to_owned(), after: None }
}
