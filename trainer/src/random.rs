//! Where randomness comes from: counter-based generators, so that the state of all of them is a seed and a count.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

/// A seed for one purpose, unrelated to those for others: the first 8 bytes of SHA-256 of `purpose` and `seed`.
pub fn derive(seed: u64, purpose: &str) -> u64 {
    let hash = Sha256::new().chain_update(purpose).chain_update([0]).chain_update(seed.to_le_bytes()).finalize();
    hash.iter().take(8).rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// A permutation of `0..count`, uniformly drawn (Fisher & Yates); `seed` and `index` name it.
pub fn permutation(seed: u64, index: u64, count: u32) -> Vec<u32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(index);
    let mut order: Vec<u32> = (0..count).collect();
    for i in (1..count as usize).rev() {
        order.swap(i, below(&mut rng, i + 1));
    }
    order
}

/// A number in `0..count`, uniformly drawn, where `count` is at least 1 and fits in 32 bits.
pub fn below(rng: &mut ChaCha8Rng, count: usize) -> usize {
    // The high half of a 64-bit product; its bias is below 2^-16 for any data set here and the same on every platform.
    ((u64::from(rng.next_u32()) * count as u64) >> 32) as usize
}

/// Heads or tails, the `index`-th throw of `seed`.
pub fn coin(seed: u64, index: u64) -> bool {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(index);
    rng.next_u32() >> 31 == 1
}

/// Evenly drawn numbers in [0, 1), `width` for each of `count` indices from `first` on: those of an index are a function of
/// it and `seed`.
pub fn uniform(seed: u64, first: u64, count: usize, width: usize) -> Vec<f32> {
    let mut all = Vec::with_capacity(count * width);
    for index in (first..).take(count) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(index);
        // As many bits as an `f32` in [0.5, 1) has, so that none is rounded up to 1.
        all.extend((0..width).map(|_| (rng.next_u32() >> 8) as f32 / (1 << 24) as f32));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_numbers_are_even_and_belong_to_their_index() {
        let all = uniform(1, 0, 500, 4);
        let mean = all.iter().sum::<f32>() / 2000.;
        let variance = all.iter().map(|u| (u - mean).powi(2)).sum::<f32>() / 2000.;
        assert!((mean - 0.5).abs() < 0.02 && (variance - 1. / 12.).abs() < 0.006, "{mean} {variance}");
        assert!(all.iter().all(|u| (0. ..1.).contains(u)));
        assert_eq!(uniform(1, 7, 3, 4), all[28..40]);
        assert_ne!(uniform(2, 7, 3, 4), all[28..40]);
    }

    #[test]
    fn permutations_hold_every_index_once_and_differ() {
        let mut a = permutation(1, 0, 1000);
        assert_ne!(a, permutation(1, 1, 1000));
        assert_ne!(a, permutation(2, 0, 1000));
        assert_eq!(a, permutation(1, 0, 1000));
        a.sort_unstable();
        assert!(a.iter().copied().eq(0..1000));
    }

    #[test]
    fn a_coin_is_fair_and_falls_the_same_way_again() {
        let heads = |seed: u64| (0..1000).filter(|&i| coin(seed, i)).count();
        assert!((440..560).contains(&heads(1)) && (440..560).contains(&heads(2)));
        let throws = |seed: u64| (0..64).map(|i| coin(seed, i)).collect::<Vec<_>>();
        assert!(throws(1) == throws(1) && throws(1) != throws(2));
    }

    #[test]
    fn purposes_do_not_share_seeds() {
        assert_ne!(derive(0, "weights"), derive(0, "latents"));
        assert_ne!(derive(0, "weights"), derive(1, "weights"));
    }
}
