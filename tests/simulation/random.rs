//! Random choices by seed. Each part of the simulation has its own generator, so that one more choice in a
//! part does not change the others.

use std::ops::Range;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sha2::{Digest, Sha256};

pub struct SeededRandom(StdRng);

impl SeededRandom {
    pub fn new(seed: u64, part: &str) -> Self {
        let hash = Sha256::digest(format!("{seed} {part}"));
        Self(StdRng::from_seed(hash.into()))
    }

    pub fn chance(&mut self, percent: u32) -> bool {
        self.0.random_range(0..100) < percent
    }

    pub fn number(&mut self, range: Range<u64>) -> u64 {
        self.0.random_range(range)
    }

    pub fn millis(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.number(range))
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.0.random_range(0..from.len())]
    }
}
