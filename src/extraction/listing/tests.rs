//! The rule against a Spotify that lies: any true listing, any sequence of lies about its items, its
//! totals and its `next`, told once or always, at any page.

use proptest::prelude::*;

use super::*;

/// A lie about the items or `next` of a page.
#[derive(Clone, Copy, Debug)]
enum Lie {
    Empty,
    NotFound,
    Nulls { most: usize },
    IgnoredOffset,
    Shift(i64),
    Short { most: usize },
    Doubles { many: usize },
    NextMissing,
    NextAlways,
    Total(False),
}

/// A false total.
#[derive(Clone, Copy, Debug)]
enum False {
    Zero,
    Less(u64),
    More(u64),
    Moving(u64),
}

impl Lie {
    fn is_about_totals(self) -> bool {
        matches!(self, Self::Total(_))
    }
}

#[derive(Clone, Copy, Debug)]
struct Told {
    lie: Lie,
    /// The number of the page that it is about, or every page.
    page: Option<u32>,
    /// How often it is told.
    times: u32,
    /// In which reading, or in every one.
    reading: Option<usize>,
}

/// A listing and what is said of it.
struct Liar {
    truth: Vec<Option<u32>>,
    told: Vec<Told>,
    page_size: u32,
    /// In which readings totals are true; in the others items and `next` both are.
    totals_are_true: [bool; MAX_READINGS],
    requests: usize,
    random: u64,
}

fn id(number: u32) -> String {
    format!("id{number}")
}

impl Liar {
    fn random(&mut self, below: usize) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((self.random >> 33) as usize) % below.max(1)
    }

    fn answer(&mut self, request: Request, reading: usize) -> Answer {
        self.requests += 1;
        let all = self.truth.clone();
        let (mut from, mut limit) = (request.offset as usize, request.limit as usize);
        let mut next = from + limit < all.len();
        let mut total = all.len() as u64;
        let (mut is_empty, mut not_found) = (false, false);
        let (mut nulls, mut doubles) = (0, 0);
        let mut told_one = false;
        for at in 0..self.told.len() {
            let told = self.told[at];
            let about_totals = told.lie.is_about_totals();
            if told.times == 0
                || told.page.is_some_and(|page| page != request.offset / self.page_size)
                || told.reading.is_some_and(|only| only != reading)
                || about_totals == self.totals_are_true[reading]
            {
                continue;
            }
            // What is told a few times is told one after the other.
            if told.times < u32::MAX && std::mem::replace(&mut told_one, true) {
                continue;
            }
            self.told[at].times = told.times.saturating_sub(u32::from(told.times < u32::MAX));
            match told.lie {
                Lie::Empty => is_empty = true,
                Lie::NotFound => not_found = true,
                Lie::Nulls { most } => nulls = most,
                Lie::IgnoredOffset => from = 0,
                Lie::Shift(by) => from = from.saturating_add_signed(by as isize),
                Lie::Short { most } => limit = limit.min(most),
                Lie::Doubles { many } => doubles = many,
                Lie::NextMissing => next = false,
                Lie::NextAlways => next = true,
                Lie::Total(False::Zero) => total = 0,
                Lie::Total(False::Less(by)) => total = total.saturating_sub(by),
                Lie::Total(False::More(by)) => total += by,
                Lie::Total(False::Moving(by)) => {
                    let by = self.random(2 * by as usize + 1) as i64 - by as i64;
                    total = total.saturating_add_signed(by);
                }
            }
        }
        if not_found {
            return Answer::NotFound("non existing id".to_owned());
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
        for _ in 0..doubles {
            let (at, of) = (self.random(items.len()), self.random(all.len()));
            if let Some(item) = items.get_mut(at) {
                *item = all[of];
            }
        }
        Answer::Page(Page { rows: page_rows(&items), total: Some(total), next })
    }
}

fn page_rows(items: &[Option<u32>]) -> PageRows {
    PageRows::of_ids(items.iter().map(|item| item.map(id)))
}

/// Reads a listing to its verdict, with answers in any order.
fn verdict(rules: &Rules, liar: &mut Liar) -> Verdict {
    let mut listing = Listing::new(rules.clone());
    let mut under_way: Vec<Request> = Vec::new();
    loop {
        match listing.step() {
            Step::Done(verdict) => return verdict,
            Step::Ask(requests) => under_way.extend(requests),
        }
        assert!(!under_way.is_empty(), "nothing is under way and there is no verdict");
        assert!(liar.requests < 40_000, "no end");
        let at = liar.random(under_way.len());
        let request = under_way.swap_remove(at);
        let answer = liar.answer(request, listing.earlier.len());
        listing.answer(request, answer);
    }
}

fn shown(complete: &Complete) -> Vec<String> {
    let ids = complete.rows.lines().map(|line| {
        let row: serde_json::Value = serde_json::from_slice(line).unwrap();
        row["id"].as_str().unwrap().to_owned()
    });
    ids.collect()
}

fn episodes() -> Rules {
    Rules {
        page_size: 50,
        enough: None,
        end: u32::MAX,
        side_by_side: 8,
        all_at_once: false,
        max_missing_percent: 2,
    }
}

fn search() -> Rules {
    Rules { page_size: 10, enough: Some(50), end: 1000, max_missing_percent: 10, ..episodes() }
}

fn lie() -> impl Strategy<Value = Lie> {
    prop_oneof![
        Just(Lie::Empty),
        Just(Lie::NotFound),
        (1_usize..60).prop_map(|most| Lie::Nulls { most }),
        Just(Lie::IgnoredOffset),
        (-60_i64..60).prop_map(Lie::Shift),
        (0_usize..50).prop_map(|most| Lie::Short { most }),
        (1_usize..60).prop_map(|many| Lie::Doubles { many }),
        Just(Lie::NextMissing),
        Just(Lie::NextAlways),
        Just(Lie::Total(False::Zero)),
        (1_u64..400).prop_map(|by| Lie::Total(False::Less(by))),
        prop_oneof![1_u64..5, 1_u64..20_000].prop_map(|by| Lie::Total(False::More(by))),
        (1_u64..20).prop_map(|by| Lie::Total(False::Moving(by))),
    ]
}

fn told() -> impl Strategy<Value = Told> {
    let page = prop_oneof![2 => (0_u32..8).prop_map(Some), 1 => Just(None)];
    let times = prop_oneof![1_u32..4, Just(u32::MAX)];
    let reading = prop_oneof![(0..MAX_READINGS).prop_map(Some), Just(None)];
    (lie(), page, times, reading).prop_map(|(lie, page, times, reading)| Told {
        lie,
        page,
        times,
        reading,
    })
}

/// A listing of at most `longest` items, some of which are null.
fn truth(longest: u32) -> impl Strategy<Value = Vec<Option<u32>>> {
    let length = prop_oneof![4 => 0..longest, 1 => 0..8_u32, 1 => Just(50), 1 => Just(100)];
    (length, prop::collection::vec(0_u32..longest, 0..3), any::<bool>()).prop_map(
        |(length, nulls, with_nulls)| {
            (0..length).map(|at| (!(with_nulls && nulls.contains(&at))).then_some(at)).collect()
        },
    )
}

fn liar(truth: Vec<Option<u32>>, told: Vec<Told>, page_size: u32, random: u64) -> Liar {
    Liar {
        truth,
        told,
        page_size,
        totals_are_true: [true; MAX_READINGS],
        requests: 0,
        random: random | 1,
    }
}

fn ids(truth: &[Option<u32>]) -> Vec<String> {
    truth.iter().flatten().copied().map(id).collect()
}

/// Checks a verdict against the truth, whatever was told about it.
fn is_true(rules: &Rules, liar: &Liar, verdict: &Verdict) -> Result<(), TestCaseError> {
    let all: HashSet<String> = ids(&liar.truth).into_iter().collect();
    let most = rules.enough.unwrap_or(usize::MAX) as u64;
    match verdict {
        Verdict::Complete(complete) => {
            let shown = shown(complete);
            let distinct: HashSet<&String> = shown.iter().collect();
            prop_assert_eq!(distinct.len(), shown.len());
            prop_assert!(shown.iter().all(|id| all.contains(id)));
            let existing = (liar.truth.len() as u64).saturating_sub(complete.nulls).min(most);
            let lacks = existing.saturating_sub(shown.len() as u64);
            // A true null that is shown on two pages counts twice, since it has no id.
            let adds_nulls = |told: &Told| {
                matches!(
                    told.lie,
                    Lie::Nulls { .. } | Lie::IgnoredOffset | Lie::Shift(_) | Lie::Doubles { .. }
                )
            };
            if !liar.told.iter().any(adds_nulls) {
                let nulls = liar.truth.iter().filter(|item| item.is_none()).count() as u64;
                prop_assert!(complete.nulls <= nulls, "{} of {nulls} nulls", complete.nulls);
            }
            prop_assert!(
                lacks <= complete.missing,
                "{lacks} are missing, {} were said to be",
                complete.missing
            );
            let percent = u64::from(rules.max_missing_percent);
            let is_tolerated = 100 * complete.missing <= percent * complete.listed
                || complete.missing <= 2 && complete.missing < complete.listed;
            prop_assert!(is_tolerated, "{} of {} are missing", complete.missing, complete.listed);
        }
        Verdict::Nothing => prop_assert!(liar.truth.is_empty()),
        Verdict::NotFound(_) => {
            let says_so = |told: &Told| matches!(told.lie, Lie::NotFound);
            prop_assert!(liar.told.iter().any(says_so));
        }
        Verdict::Incomplete(_) => {}
    }
    let pages = liar.truth.len().div_ceil(rules.page_size as usize).max(1);
    // Short pages are more pages.
    let shortest = liar.told.iter().filter_map(|told| match told.lie {
        Lie::Short { most } => Some(most.max(1)),
        _ => None,
    });
    let pages = pages * (rules.page_size as usize).div_ceil(shortest.min().unwrap_or(50).min(50));
    prop_assert!(liar.requests <= 18 * pages + 42, "{} requests for {pages} pages", liar.requests);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn what_is_complete_is_true_whatever_is_told(
        truth in truth(400),
        told in prop::collection::vec(told(), 0..4),
        totals_are_true in any::<[bool; MAX_READINGS]>(),
        is_search in any::<bool>(),
        all_at_once in any::<bool>(),
        random in any::<u64>(),
    ) {
        let rules = if is_search { Rules { all_at_once, ..search() } } else { episodes() };
        let mut liar = liar(truth, told, rules.page_size, random);
        liar.totals_are_true = totals_are_true;
        let verdict = verdict(&rules, &mut liar);
        is_true(&rules, &liar, &verdict)?;
    }

    #[test]
    fn lies_told_once_in_one_reading_end_whole(
        truth in truth(400),
        told in prop::collection::vec(told(), 1..4),
        totals_are_true in any::<bool>(),
        is_search in any::<bool>(),
        random in any::<u64>(),
    ) {
        let rules = if is_search { search() } else { episodes() };
        let mut truth = truth;
        truth.push(Some(u32::MAX));
        let told = told.into_iter().map(|told| Told { times: 1, reading: Some(0), ..told });
        // A second null at the same place would be a confirmed one.
        let mut nulls = 0;
        let told = told.filter(|told| {
            nulls += u32::from(matches!(told.lie, Lie::Nulls { .. }));
            !matches!(told.lie, Lie::Nulls { .. }) || nulls == 1
        });
        let mut liar = liar(truth, told.collect(), rules.page_size, random);
        liar.totals_are_true = [totals_are_true; MAX_READINGS];
        let verdict = verdict(&rules, &mut liar);
        is_true(&rules, &liar, &verdict)?;
        let Verdict::Complete(complete) = verdict else {
            return Err(TestCaseError::fail(format!("{verdict:?}")));
        };
        prop_assert_eq!(complete.missing, 0);
        if !is_search {
            let mut shown = shown(&complete);
            let mut all = ids(&liar.truth);
            shown.sort();
            all.sort();
            prop_assert_eq!(shown, all);
        }
    }

    #[test]
    fn a_healthy_listing_costs_its_pages(length in 1_u32..400, random in any::<u64>()) {
        let rules = episodes();
        let mut liar = liar((0..length).map(Some).collect(), Vec::new(), 50, random);
        let Verdict::Complete(complete) = verdict(&rules, &mut liar) else {
            return Err(TestCaseError::fail("not complete"));
        };
        prop_assert_eq!(shown(&complete), ids(&liar.truth));
        prop_assert_eq!((complete.missing, liar.requests), (0, length.div_ceil(50) as usize));
    }
}

#[test]
fn a_total_that_nothing_fills_costs_few_requests() {
    for (rules, items) in [(episodes(), 70), (search(), 12)] {
        let told = Told {
            lie: Lie::Total(False::More(20_000)),
            page: None,
            times: u32::MAX,
            reading: None,
        };
        let mut liar = liar((0..items).map(Some).collect(), vec![told], rules.page_size, 7);
        liar.totals_are_true = [false; MAX_READINGS];
        let verdict = verdict(&rules, &mut liar);
        assert!(matches!(verdict, Verdict::Incomplete(_)), "{verdict:?}");
        assert!(liar.requests <= 30, "{} requests", liar.requests);
    }
}
