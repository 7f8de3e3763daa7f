//! Chance, the same for a seed and a number on every machine.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

pub struct Dice(ChaCha8Rng);

impl Dice {
    /// What falls for the mutation of this number.
    pub fn new(seed: u64, number: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(number);
        Self(rng)
    }

    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number less than `n`, which is not 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.0.next_u64() % n as u64) as usize
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    /// Where something begins and ends among `len`, mostly short.
    pub fn span(&mut self, len: usize) -> std::ops::Range<usize> {
        let start = self.below(len + 1);
        let most = if self.once_in(4) { len } else { 16 };
        start..len.min(start + self.below(most + 1))
    }

    /// A number that readers may stumble on.
    pub fn extreme(&mut self) -> u64 {
        const ALL: [i64; 22] = [
            0,
            1,
            2,
            3,
            4,
            7,
            8,
            -1,
            -2,
            127,
            128,
            255,
            65536,
            1 << 20,
            i32::MAX as i64,
            1 << 31,
            1 << 32,
            1 << 40,
            1 << 62,
            i64::MIN,
            i64::MAX,
            -(1 << 31),
        ];
        self.pick(&ALL) as u64
    }
}
