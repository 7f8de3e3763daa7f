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

#[cfg(test)]
mod tests {
    use super::*;

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
