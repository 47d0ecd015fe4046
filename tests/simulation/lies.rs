//! What Spotify shows that is not true, within what the service promises to see through: of each
//! listing either `total` is true, or the items and `next` both are.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::catalogue::TERMS;
use super::dice::Dice;
use super::plan::Plan;

/// A listing: whether it is a search, and of which term.
pub type Key = (bool, usize);

/// Who lies about which listing, and how.
pub struct Lies {
    liars: BTreeMap<Key, Liar>,
    dice: Dice,
    /// How many percent of the pages are wrong for once.
    percent: u32,
}

struct Liar {
    /// Whether the totals are wrong, or the items and `next`.
    about_totals: bool,
    /// A lie that is told every time.
    steady: Option<Told>,
}

struct Told {
    lie: Lie,
    /// The offset of the page that it is about, or every page.
    offset: Option<usize>,
}

#[derive(Clone, Copy)]
enum Lie {
    Empty,
    NotFound,
    Nulls(usize),
    IgnoredOffset,
    Shift(isize),
    Short(usize),
    Doubles(usize),
    /// The item at this place is told twice, and the one after it not at all.
    Twice(usize),
    NoNext,
    AlwaysNext,
    TotalOf(u64),
    TotalBy(i64),
    MovingTotal(u64),
    NoTotal,
}

impl Lies {
    pub fn new(plan: &Plan) -> Self {
        let mut dice = Dice::new(plan.seed, "lies");
        let mut liars = BTreeMap::new();
        for term in 0..TERMS.len() {
            for is_search in [true, false] {
                let about_totals = dice.chance(40);
                let steady = (plan.lies > 0 && dice.chance(40)).then(|| {
                    let page = *dice.pick(&[0, 0, 1, 2]);
                    let offset = page * if is_search { 10 } else { 50 };
                    let lie = match about_totals {
                        // What the tolerance is for.
                        false if dice.chance(30) => Lie::Twice(dice.number(0..9) as usize),
                        _ => Lie::new(&mut dice, about_totals),
                    };
                    Told { lie, offset: dice.chance(70).then_some(offset) }
                });
                liars.insert((is_search, term), Liar { about_totals, steady });
            }
        }
        Self { liars, dice, percent: plan.lies }
    }

    /// Whether the totals of a listing may be wrong. Then nothing but the items tells that it changed.
    pub fn are_about_totals(&self, key: Key) -> bool {
        self.percent > 0 && self.liars[&key].about_totals
    }

    /// A page of a listing, true or not; `None` for a 404.
    pub fn page(&mut self, key: Key, all: &[Value], offset: usize, limit: usize) -> Option<Value> {
        let liar = &self.liars[&key];
        let dice = &mut self.dice;
        let mut lies = Vec::new();
        if let Some(Told { lie, offset: about }) = &liar.steady
            && about.is_none_or(|about| about == offset)
        {
            lies.push(*lie);
        }
        if dice.chance(self.percent) {
            lies.push(Lie::new(dice, liar.about_totals));
        }
        let mut page = Page {
            from: offset,
            limit,
            all,
            is_empty: false,
            total: Some(all.len() as u64),
            next: None,
        };
        let (mut nulls, mut doubles, mut twice) = (0, 0, None);
        for lie in lies {
            match lie {
                Lie::Empty => page.is_empty = true,
                Lie::NotFound => return None,
                Lie::Nulls(most) => nulls = most,
                Lie::IgnoredOffset => page.from = 0,
                Lie::Shift(by) => page.from = page.from.saturating_add_signed(by),
                Lie::Short(most) => page.limit = page.limit.min(most),
                Lie::Doubles(many) => doubles = many,
                Lie::Twice(at) => twice = Some(at),
                Lie::NoNext => page.next = Some(false),
                Lie::AlwaysNext => page.next = Some(true),
                Lie::TotalOf(total) => page.total = Some(total),
                Lie::TotalBy(by) => {
                    page.total = page.total.map(|total| total.saturating_add_signed(by))
                }
                Lie::MovingTotal(by) => {
                    page.total =
                        page.total.map(|total| total.saturating_sub(by) + dice.number(0..2 * by));
                }
                Lie::NoTotal => page.total = None,
            }
        }
        let next = page.next.unwrap_or(offset + limit < all.len());
        let mut items = page.items();
        for _ in 0..nulls.min(items.len()) {
            let at = dice.number(0..items.len() as u64) as usize;
            items[at] = Value::Null;
        }
        for _ in 0..doubles.min(items.len()) {
            let (at, of) = (dice.number(0..items.len() as u64), dice.number(0..all.len() as u64));
            items[at as usize] = all[of as usize].clone();
        }
        if let Some(at) = twice.filter(|at| at + 1 < items.len()) {
            items[at + 1] = items[at].clone();
        }
        Some(told(&items, page.total, next, offset, limit))
    }
}

/// The page as it is.
pub fn truth(all: &[Value], offset: usize, limit: usize) -> Value {
    let items: Vec<Value> = all.iter().skip(offset).take(limit).cloned().collect();
    told(&items, Some(all.len() as u64), offset + limit < all.len(), offset, limit)
}

fn told(items: &[Value], total: Option<u64>, next: bool, offset: usize, limit: usize) -> Value {
    let next = next.then_some("https://api.spotify.com/v1/next");
    json!({"items": items, "total": total, "next": next, "limit": limit, "offset": offset})
}

struct Page<'a> {
    all: &'a [Value],
    from: usize,
    limit: usize,
    is_empty: bool,
    total: Option<u64>,
    next: Option<bool>,
}

impl Page<'_> {
    fn items(&self) -> Vec<Value> {
        let limit = if self.is_empty { 0 } else { self.limit };
        self.all.iter().skip(self.from).take(limit).cloned().collect()
    }
}

impl Lie {
    fn new(dice: &mut Dice, about_totals: bool) -> Self {
        if about_totals {
            return match dice.number(0..8) {
                0..2 => Self::TotalOf(0),
                2 => Self::TotalOf(1),
                3 => Self::TotalOf(20_000),
                4 => Self::TotalBy(-(dice.number(1..60) as i64)),
                5 => Self::TotalBy(dice.number(1..60) as i64),
                6 => Self::MovingTotal(dice.number(1..20)),
                _ => Self::NoTotal,
            };
        }
        match dice.number(0..17) {
            0..3 => Self::Empty,
            3..5 => Self::NotFound,
            5..7 => Self::Nulls(dice.number(1..60) as usize),
            7 => Self::IgnoredOffset,
            8 => Self::Shift(dice.number(0..121) as isize - 60),
            9 => Self::Shift(*dice.pick(&[-2, -1, 1, 2])),
            10 => Self::Short(dice.number(0..50) as usize),
            11 => Self::Doubles(dice.number(1..4) as usize),
            12 => Self::NoNext,
            13..16 => Self::Twice(dice.number(0..9) as usize),
            _ => Self::AlwaysNext,
        }
    }
}
