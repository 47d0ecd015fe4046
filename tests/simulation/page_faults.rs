//! Wrong pages within what the service promises to detect: in each listing, either `total` is correct, or
//! the items and `next` are.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::catalog::TERMS;
use super::plan::Plan;
use super::random::SeededRandom;

/// A listing: whether it is a search, and the term.
pub type Key = (bool, usize);

pub struct PageFaults {
    listings: BTreeMap<Key, ListingFaults>,
    random: SeededRandom,
    /// The percentage of pages with a fault.
    percent: u32,
}

struct ListingFaults {
    /// Whether totals are wrong, or items and `next`.
    in_totals: bool,
    /// A fault in every response.
    constant: Option<ConstantFault>,
}

struct ConstantFault {
    fault: PageFault,
    /// The offset of the page with the fault, or `None` for all pages.
    offset: Option<usize>,
}

#[derive(Clone, Copy)]
enum PageFault {
    Empty,
    NotFound,
    Nulls(usize),
    IgnoredOffset,
    ShiftedOffset(isize),
    MaxItems(usize),
    /// This many items are replaced with others of the listing.
    Duplicates(usize),
    /// The item after this one is replaced with it.
    Repeated(usize),
    NoNext,
    AlwaysNext,
    Total(u64),
    TotalOffBy(i64),
    VaryingTotal(u64),
    NoTotal,
}

impl PageFaults {
    pub fn new(plan: &Plan) -> Self {
        let mut random = SeededRandom::new(plan.seed, "lies");
        let mut listings = BTreeMap::new();
        for term in 0..TERMS.len() {
            for is_search in [true, false] {
                let in_totals = random.chance(40);
                let constant = (plan.page_faults > 0 && random.chance(40)).then(|| {
                    let page = *random.pick(&[0, 0, 1, 2]);
                    let offset = page * if is_search { 10 } else { 50 };
                    let fault = match in_totals {
                        // Within the tolerance.
                        false if random.chance(30) => {
                            PageFault::Repeated(random.number(0..9) as usize)
                        }
                        _ => PageFault::new(&mut random, in_totals),
                    };
                    ConstantFault { fault, offset: random.chance(70).then_some(offset) }
                });
                listings.insert((is_search, term), ListingFaults { in_totals, constant });
            }
        }
        Self { listings, random, percent: plan.page_faults }
    }

    /// Returns whether the totals of a listing may be wrong. Then only the items show that it changed.
    pub fn are_in_totals(&self, key: Key) -> bool {
        self.percent > 0 && self.listings[&key].in_totals
    }

    /// Returns a page of a listing, possibly with faults, or `None` for a 404.
    pub fn page(&mut self, key: Key, all: &[Value], offset: usize, limit: usize) -> Option<Value> {
        let listing = &self.listings[&key];
        let random = &mut self.random;
        let mut faults = Vec::new();
        if let Some(ConstantFault { fault, offset: page }) = &listing.constant
            && page.is_none_or(|page| page == offset)
        {
            faults.push(*fault);
        }
        if random.chance(self.percent) {
            faults.push(PageFault::new(random, listing.in_totals));
        }
        let (mut from, mut max_items) = (offset, limit);
        let (mut total, mut next) = (Some(all.len() as u64), offset + limit < all.len());
        let (mut nulls, mut duplicates, mut repeated) = (0, 0, None);
        for fault in faults {
            match fault {
                PageFault::Empty => max_items = 0,
                PageFault::NotFound => return None,
                PageFault::Nulls(count) => nulls = count,
                PageFault::IgnoredOffset => from = 0,
                PageFault::ShiftedOffset(by) => from = from.saturating_add_signed(by),
                PageFault::MaxItems(count) => max_items = max_items.min(count),
                PageFault::Duplicates(count) => duplicates = count,
                PageFault::Repeated(at) => repeated = Some(at),
                PageFault::NoNext => next = false,
                PageFault::AlwaysNext => next = true,
                PageFault::Total(wrong) => total = Some(wrong),
                PageFault::TotalOffBy(by) => {
                    total = total.map(|total| total.saturating_add_signed(by));
                }
                PageFault::VaryingTotal(by) => {
                    total = total.map(|total| total.saturating_sub(by) + random.number(0..2 * by));
                }
                PageFault::NoTotal => total = None,
            }
        }
        let mut items: Vec<Value> = all.iter().skip(from).take(max_items).cloned().collect();
        for _ in 0..nulls.min(items.len()) {
            let at = random.number(0..items.len() as u64) as usize;
            items[at] = Value::Null;
        }
        for _ in 0..duplicates.min(items.len()) {
            let at = random.number(0..items.len() as u64) as usize;
            items[at] = all[random.number(0..all.len() as u64) as usize].clone();
        }
        if let Some(at) = repeated.filter(|at| at + 1 < items.len()) {
            items[at + 1] = items[at].clone();
        }
        Some(page_json(&items, total, next, offset, limit))
    }
}

pub fn correct_page(all: &[Value], offset: usize, limit: usize) -> Value {
    let items: Vec<Value> = all.iter().skip(offset).take(limit).cloned().collect();
    page_json(&items, Some(all.len() as u64), offset + limit < all.len(), offset, limit)
}

fn page_json(
    items: &[Value],
    total: Option<u64>,
    next: bool,
    offset: usize,
    limit: usize,
) -> Value {
    let next = next.then_some("https://api.spotify.com/v1/next");
    json!({"items": items, "total": total, "next": next, "limit": limit, "offset": offset})
}

impl PageFault {
    fn new(random: &mut SeededRandom, in_totals: bool) -> Self {
        if in_totals {
            return match random.number(0..8) {
                0..2 => Self::Total(0),
                2 => Self::Total(1),
                3 => Self::Total(20_000),
                4 => Self::TotalOffBy(-(random.number(1..60) as i64)),
                5 => Self::TotalOffBy(random.number(1..60) as i64),
                6 => Self::VaryingTotal(random.number(1..20)),
                _ => Self::NoTotal,
            };
        }
        match random.number(0..17) {
            0..3 => Self::Empty,
            3..5 => Self::NotFound,
            5..7 => Self::Nulls(random.number(1..60) as usize),
            7 => Self::IgnoredOffset,
            8 => Self::ShiftedOffset(random.number(0..121) as isize - 60),
            9 => Self::ShiftedOffset(*random.pick(&[-2, -1, 1, 2])),
            10 => Self::MaxItems(random.number(0..50) as usize),
            11 => Self::Duplicates(random.number(1..4) as usize),
            12 => Self::NoNext,
            13..16 => Self::Repeated(random.number(0..9) as usize),
            _ => Self::AlwaysNext,
        }
    }
}
