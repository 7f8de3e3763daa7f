//! The order in which images are shown: a new permutation every epoch, which is a function of a seed and of the count of
//! images shown so far, so that a resumed run goes on where it was.

use super::Dataset;
use crate::random;

/// An order of so many images.
#[derive(Debug)]
pub struct Order {
    count: u64,
    seed: u64,
    /// The epoch at hand, and its permutation.
    epoch: Option<(u64, Vec<u32>)>,
}

impl Order {
    /// The order of `count` images, at least 1, in which `purpose` shows them.
    pub fn new(count: usize, seed: u64, purpose: &str) -> Self {
        Self { count: count.max(1) as u64, seed: random::derive(seed, purpose), epoch: None }
    }

    /// The order in which a run of this seed learns from `data`.
    pub fn of_training(data: &Dataset, seed: u64) -> Self {
        Self::new(data.len(), seed, "order")
    }

    /// Which image has the place `position`, counted from the beginning of the run.
    pub fn at(&mut self, position: u64) -> usize {
        let (epoch, place) = (position / self.count, (position % self.count) as usize);
        if self.epoch.as_ref().is_none_or(|(at, _)| *at != epoch) {
            self.epoch = Some((epoch, random::permutation(self.seed, epoch, self.count as u32)));
        }
        self.epoch.as_ref().map_or(0, |(_, order)| order[place] as usize)
    }

    /// Which images have the places from `first` on, as many as `count`.
    pub fn take(&mut self, first: u64, count: usize) -> Vec<usize> {
        (first..first + count as u64).map(|position| self.at(position)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_epoch_shows_every_image_once_in_another_order() {
        let mut order = Order::new(100, 5, "order");
        let epochs: Vec<Vec<usize>> = (0..3).map(|e| (0..100).map(|i| order.at(e * 100 + i)).collect()).collect();
        assert_ne!(epochs[0], epochs[1]);
        for epoch in &epochs {
            let mut sorted = epoch.clone();
            sorted.sort_unstable();
            assert!(sorted.into_iter().eq(0..100));
        }
        // Another reader that starts in the middle sees the same, another purpose does not.
        assert_eq!(Order::new(100, 5, "order").at(142), epochs[1][42]);
        assert!((0..100).any(|i| Order::new(100, 5, "other").at(i) != epochs[0][i as usize]));
    }
}
