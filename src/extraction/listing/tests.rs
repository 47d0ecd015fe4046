//! Property tests: for any listing, with any transient or permanent faults in its pages' items, totals and
//! `next`, the verdict is correct.

use proptest::prelude::*;

use std::collections::HashSet;

use super::page::MAX_ATTEMPTS;
use super::verdict::MAX_READINGS;
use super::*;

/// Requests after the last page, in all readings together: attempts at gaps and prefetched pages.
const MAX_REQUESTS_PAST_END: usize = 42;

/// What is wrong with a page.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Empty,
    NotFound,
    Nulls { max_nulls: usize },
    IgnoredOffset,
    Shift(i64),
    Short { max_length: usize },
    Duplicates { max_duplicates: usize },
    NextMissing,
    NextAlways,
    Total(TotalFault),
}

#[derive(Clone, Copy, Debug)]
enum TotalFault {
    Zero,
    Less(u64),
    More(u64),
    Moving(u64),
}

impl Fault {
    fn is_about_totals(self) -> bool {
        matches!(self, Self::Total(_))
    }
}

#[derive(Clone, Copy, Debug)]
struct InjectedFault {
    fault: Fault,
    /// The number of the page, or `None` for every page.
    page: Option<u32>,
    /// How many more responses have the fault.
    times: u32,
    /// The number of the reading, or `None` for every reading.
    reading: Option<usize>,
}

/// A listing whose pages have faults.
struct FakeListing {
    items: Vec<Option<u32>>,
    faults: Vec<InjectedFault>,
    page_size: u32,
    /// The readings in which totals are correct. In the others, the items and `next` are correct.
    totals_are_true: [bool; MAX_READINGS],
    requests: usize,
    random: u64,
}

fn id(number: u32) -> String {
    format!("id{number}")
}

impl FakeListing {
    fn random(&mut self, below: usize) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((self.random >> 33) as usize) % below.max(1)
    }

    fn respond(&mut self, request: Request, reading: usize) -> Response {
        self.requests += 1;
        let all = self.items.clone();
        let (mut from, mut limit) = (request.offset as usize, request.limit as usize);
        let mut next = from + limit < all.len();
        let mut total = all.len() as u64;
        let (mut is_empty, mut not_found) = (false, false);
        let (mut nulls, mut duplicates) = (0, 0);
        let mut has_transient_fault = false;
        for at in 0..self.faults.len() {
            let injected = self.faults[at];
            // In each reading, either the totals are correct, or everything else is.
            let is_excluded = injected.fault.is_about_totals() == self.totals_are_true[reading];
            if injected.times == 0
                || injected.page.is_some_and(|page| page != request.offset / self.page_size)
                || injected.reading.is_some_and(|only| only != reading)
                || is_excluded
            {
                continue;
            }
            // A response has at most one transient fault.
            if injected.times < u32::MAX && std::mem::replace(&mut has_transient_fault, true) {
                continue;
            }
            self.faults[at].times -= u32::from(injected.times < u32::MAX);
            match injected.fault {
                Fault::Empty => is_empty = true,
                Fault::NotFound => not_found = true,
                Fault::Nulls { max_nulls } => nulls = max_nulls,
                Fault::IgnoredOffset => from = 0,
                Fault::Shift(by) => from = from.saturating_add_signed(by as isize),
                Fault::Short { max_length } => limit = limit.min(max_length),
                Fault::Duplicates { max_duplicates } => duplicates = max_duplicates,
                Fault::NextMissing => next = false,
                Fault::NextAlways => next = true,
                Fault::Total(TotalFault::Zero) => total = 0,
                Fault::Total(TotalFault::Less(by)) => total = total.saturating_sub(by),
                Fault::Total(TotalFault::More(by)) => total += by,
                Fault::Total(TotalFault::Moving(by)) => {
                    let by = self.random(2 * by as usize + 1) as i64 - by as i64;
                    total = total.saturating_add_signed(by);
                }
            }
        }
        if not_found {
            return Response::NotFound("non existing id".to_owned());
        }
        let from = from.min(all.len());
        let mut items: Vec<Option<u32>> =
            if is_empty { Vec::new() } else { all[from..all.len().min(from + limit)].to_vec() };
        for _ in 0..nulls {
            let at = self.random(items.len());
            if let Some(item) = items.get_mut(at) {
                *item = None;
            }
        }
        for _ in 0..duplicates {
            let (at, of) = (self.random(items.len()), self.random(all.len()));
            if let Some(item) = items.get_mut(at) {
                *item = all[of];
            }
        }
        Response::Page(Page { rows: page_rows(&items), total: Some(total), has_next: next })
    }
}

fn page_rows(items: &[Option<u32>]) -> PageRows {
    PageRows::of_ids(items.iter().map(|item| item.map(id)))
}

/// Reads a listing until there is a verdict. Responses arrive in any order.
fn verdict(rules: &Rules, fake: &mut FakeListing) -> Verdict {
    let mut listing = Listing::new(rules.clone());
    let mut in_flight: Vec<Request> = Vec::new();
    loop {
        match listing.next_step() {
            Step::Done(verdict) => return verdict,
            Step::Send(requests) => in_flight.extend(requests),
        }
        assert!(!in_flight.is_empty(), "neither a request nor a verdict");
        assert!(fake.requests < 40_000, "the reading does not end");
        let at = fake.random(in_flight.len());
        let request = in_flight.swap_remove(at);
        let response = fake.respond(request, listing.earlier_readings.len());
        listing.receive(request, response);
        let (_, wanted) = listing.progress();
        assert!(rules.max_items.is_none_or(|max_items| wanted <= max_items as u64));
    }
}

fn shown(complete: &CompleteListing) -> Vec<String> {
    let ids = complete.rows.lines().map(|line| {
        let row: serde_json::Value = serde_json::from_slice(line).unwrap();
        row["id"].as_str().unwrap().to_owned()
    });
    ids.collect()
}

fn episodes() -> Rules {
    Rules {
        page_size: 50,
        max_items: None,
        max_offset: u32::MAX,
        max_concurrent_requests: 8,
        all_at_once: false,
        max_missing_percent: 2,
    }
}

fn search() -> Rules {
    Rules {
        page_size: 10,
        max_items: Some(50),
        max_offset: 1000,
        max_missing_percent: 10,
        ..episodes()
    }
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        Just(Fault::Empty),
        Just(Fault::NotFound),
        (1_usize..60).prop_map(|max_nulls| Fault::Nulls { max_nulls }),
        Just(Fault::IgnoredOffset),
        (-60_i64..60).prop_map(Fault::Shift),
        (0_usize..50).prop_map(|max_length| Fault::Short { max_length }),
        (1_usize..60).prop_map(|max_duplicates| Fault::Duplicates { max_duplicates }),
        Just(Fault::NextMissing),
        Just(Fault::NextAlways),
        Just(Fault::Total(TotalFault::Zero)),
        (1_u64..400).prop_map(|by| Fault::Total(TotalFault::Less(by))),
        prop_oneof![1_u64..5, 1_u64..20_000].prop_map(|by| Fault::Total(TotalFault::More(by))),
        (1_u64..20).prop_map(|by| Fault::Total(TotalFault::Moving(by))),
    ]
}

fn injected_fault() -> impl Strategy<Value = InjectedFault> {
    let page = prop_oneof![2 => (0_u32..8).prop_map(Some), 1 => Just(None)];
    let times = prop_oneof![1_u32..4, Just(u32::MAX)];
    let reading = prop_oneof![(0..MAX_READINGS).prop_map(Some), Just(None)];
    (fault(), page, times, reading).prop_map(|(fault, page, times, reading)| InjectedFault {
        fault,
        page,
        times,
        reading,
    })
}

/// The items of a listing, some of which may be null.
fn items(longest: u32) -> impl Strategy<Value = Vec<Option<u32>>> {
    let length = prop_oneof![4 => 0..longest, 1 => 0..8_u32, 1 => Just(50), 1 => Just(100)];
    (length, prop::collection::vec(0_u32..longest, 0..3), any::<bool>()).prop_map(
        |(length, nulls, with_nulls)| {
            (0..length).map(|at| (!(with_nulls && nulls.contains(&at))).then_some(at)).collect()
        },
    )
}

fn fake_listing(
    items: Vec<Option<u32>>,
    faults: Vec<InjectedFault>,
    page_size: u32,
    random: u64,
) -> FakeListing {
    FakeListing {
        items,
        faults,
        page_size,
        totals_are_true: [true; MAX_READINGS],
        requests: 0,
        random: random | 1,
    }
}

fn ids(items: &[Option<u32>]) -> Vec<String> {
    items.iter().flatten().copied().map(id).collect()
}

/// Checks a verdict against the listing itself.
fn check_verdict(
    rules: &Rules,
    fake: &FakeListing,
    verdict: &Verdict,
) -> Result<(), TestCaseError> {
    let all: HashSet<String> = ids(&fake.items).into_iter().collect();
    let max_items = rules.max_items.unwrap_or(usize::MAX) as u64;
    match verdict {
        Verdict::Complete(complete) => {
            let shown = shown(complete);
            let distinct: HashSet<&String> = shown.iter().collect();
            prop_assert_eq!(distinct.len(), shown.len());
            prop_assert!(shown.iter().all(|id| all.contains(id)));
            let existing = (fake.items.len() as u64).saturating_sub(complete.nulls).min(max_items);
            let actually_missing = existing.saturating_sub(shown.len() as u64);
            // A null that is shown on two pages counts twice, since it has no ID.
            let adds_nulls = |injected: &InjectedFault| {
                matches!(
                    injected.fault,
                    Fault::Nulls { .. }
                        | Fault::IgnoredOffset
                        | Fault::Shift(_)
                        | Fault::Duplicates { .. }
                )
            };
            if !fake.faults.iter().any(adds_nulls) {
                let nulls = fake.items.iter().filter(|item| item.is_none()).count() as u64;
                prop_assert!(complete.nulls <= nulls, "{} of {nulls} nulls", complete.nulls);
            }
            prop_assert!(
                actually_missing <= complete.missing,
                "{actually_missing} are missing, the verdict says {}",
                complete.missing
            );
            let percent = u64::from(rules.max_missing_percent);
            let is_tolerated = 100 * complete.missing <= percent * complete.wanted
                || complete.missing <= 2 && complete.missing <= complete.wanted - complete.missing;
            prop_assert!(is_tolerated, "{} of {} are missing", complete.missing, complete.wanted);
        }
        Verdict::Empty => prop_assert!(fake.items.is_empty()),
        Verdict::NotFound(_) => {
            let is_not_found = |injected: &InjectedFault| matches!(injected.fault, Fault::NotFound);
            prop_assert!(fake.faults.iter().any(is_not_found));
        }
        Verdict::Incomplete(_) => {}
    }
    let pages = fake.items.len().div_ceil(rules.page_size as usize).max(1);
    // Short pages take more requests.
    let shortest = fake.faults.iter().filter_map(|injected| match injected.fault {
        Fault::Short { max_length } => Some(max_length.max(1)),
        _ => None,
    });
    let pages = pages * (rules.page_size as usize).div_ceil(shortest.min().unwrap_or(50).min(50));
    let max_requests = MAX_ATTEMPTS as usize * MAX_READINGS * pages + MAX_REQUESTS_PAST_END;
    prop_assert!(fake.requests <= max_requests, "{} requests for {pages} pages", fake.requests);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn a_complete_verdict_is_correct_for_any_faults(
        items in items(400),
        faults in prop::collection::vec(injected_fault(), 0..4),
        totals_are_true in any::<[bool; MAX_READINGS]>(),
        is_search in any::<bool>(),
        all_at_once in any::<bool>(),
        random in any::<u64>(),
    ) {
        let rules = if is_search { Rules { all_at_once, ..search() } } else { episodes() };
        let mut fake = fake_listing(items, faults, rules.page_size, random);
        fake.totals_are_true = totals_are_true;
        let verdict = verdict(&rules, &mut fake);
        check_verdict(&rules, &fake, &verdict)?;
    }

    #[test]
    fn faults_that_occur_once_lose_no_item(
        mut items in items(400),
        faults in prop::collection::vec(injected_fault(), 1..4),
        totals_are_true in any::<bool>(),
        is_search in any::<bool>(),
        random in any::<u64>(),
    ) {
        let rules = if is_search { search() } else { episodes() };
        items.push(Some(u32::MAX));
        let faults = faults
            .into_iter()
            .map(|injected| InjectedFault { times: 1, reading: Some(0), ..injected });
        // A second null at the same position would be a confirmed one.
        let mut nulls = 0;
        let faults = faults.filter(|injected| {
            nulls += u32::from(matches!(injected.fault, Fault::Nulls { .. }));
            !matches!(injected.fault, Fault::Nulls { .. }) || nulls == 1
        });
        let mut fake = fake_listing(items, faults.collect(), rules.page_size, random);
        fake.totals_are_true = [totals_are_true; MAX_READINGS];
        let verdict = verdict(&rules, &mut fake);
        check_verdict(&rules, &fake, &verdict)?;
        let Verdict::Complete(complete) = verdict else {
            return Err(TestCaseError::fail(format!("{verdict:?}")));
        };
        prop_assert_eq!(complete.missing, 0);
        if !is_search {
            let mut shown = shown(&complete);
            let mut all = ids(&fake.items);
            shown.sort();
            all.sort();
            prop_assert_eq!(shown, all);
        }
    }

    #[test]
    fn a_healthy_listing_costs_one_request_per_page(length in 1_u32..400, random in any::<u64>()) {
        let rules = episodes();
        let mut fake = fake_listing((0..length).map(Some).collect(), Vec::new(), 50, random);
        let Verdict::Complete(complete) = verdict(&rules, &mut fake) else {
            return Err(TestCaseError::fail("not complete"));
        };
        prop_assert_eq!(shown(&complete), ids(&fake.items));
        prop_assert_eq!((complete.missing, fake.requests), (0, length.div_ceil(50) as usize));
    }
}

#[test]
fn a_total_that_is_far_too_large_costs_few_requests() {
    for (rules, items) in [(episodes(), 70), (search(), 12)] {
        let injected = InjectedFault {
            fault: Fault::Total(TotalFault::More(20_000)),
            page: None,
            times: u32::MAX,
            reading: None,
        };
        let mut fake =
            fake_listing((0..items).map(Some).collect(), vec![injected], rules.page_size, 7);
        fake.totals_are_true = [false; MAX_READINGS];
        let verdict = verdict(&rules, &mut fake);
        assert!(matches!(verdict, Verdict::Incomplete(_)), "{verdict:?}");
        assert!(fake.requests <= 30, "{} requests", fake.requests);
    }
}
