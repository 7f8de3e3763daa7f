//! The order in which images are shown: a new permutation every epoch, which is a function of a seed and of the count of
//! images shown so far, so that a resumed run goes on where it was.

use super::{Dataset, Labels};
use crate::random;

/// An order of so many images.
#[derive(Debug)]
pub struct Order {
    count: u64,
    seed: u64,
    /// Where classes are shown more or less often than they occur: each with its images, and how many it shows an epoch.
    classes: Vec<(Vec<u32>, u64)>,
    /// The epoch at hand, and its permutation.
    epoch: Option<(u64, Vec<u32>)>,
}

impl Order {
    /// The order of `count` images, at least 1, in which `purpose` shows them.
    pub fn new(count: usize, seed: u64, purpose: &str) -> Self {
        Self { count: count.max(1) as u64, seed: random::derive(seed, purpose), classes: Vec::new(), epoch: None }
    }

    /// The order in which a run of this seed learns from `data`. With a `balance` above 0, a class of n images is shown in
    /// proportion to `n^(1 - balance)`; within a class, all images are shown before one is shown again.
    pub fn of_training(data: &Dataset, seed: u64, balance: f64) -> Self {
        let mut order = Self::new(data.len(), seed, "order");
        if let Some(labels) = data.labels().filter(|_| balance > 0.) {
            let shares = shares(labels, balance, order.count);
            let mut classes: Vec<_> = shares.into_iter().map(|share| (Vec::new(), share)).collect();
            for (image, &class) in labels.values.iter().enumerate() {
                classes[class as usize].0.push(image as u32);
            }
            order.classes = classes;
        }
        order
    }

    /// Which image has the place `position`, counted from the beginning of the run.
    pub fn at(&mut self, position: u64) -> usize {
        let (epoch, place) = (position / self.count, (position % self.count) as usize);
        if self.epoch.as_ref().is_none_or(|(at, _)| *at != epoch) {
            self.epoch = Some((epoch, self.shown_in(epoch)));
        }
        self.epoch.as_ref().map_or(0, |(_, order)| order[place] as usize)
    }

    /// Which images have the places from `first` on, as many as `count`.
    pub fn take(&mut self, first: u64, count: usize) -> Vec<usize> {
        (first..first + count as u64).map(|position| self.at(position)).collect()
    }

    fn shown_in(&self, epoch: u64) -> Vec<u32> {
        let mixed = random::permutation(self.seed, epoch, self.count as u32);
        if self.classes.is_empty() {
            return mixed;
        }
        let mut shown = Vec::with_capacity(self.count as usize);
        for (class, (images, share)) in self.classes.iter().enumerate() {
            // Each class has an order of its own, of which every epoch takes the next part.
            let seed = random::derive(self.seed, &format!("class {class}"));
            let mut round: Option<(u64, Vec<u32>)> = None;
            for place in epoch * share..(epoch + 1) * share {
                let (at, place) = (place / images.len() as u64, (place % images.len() as u64) as usize);
                if round.as_ref().is_none_or(|(known, _)| *known != at) {
                    round = Some((at, random::permutation(seed, at, images.len() as u32)));
                }
                shown.extend(round.as_ref().map(|(_, order)| images[order[place] as usize]));
            }
        }
        mixed.into_iter().map(|place| shown[place as usize]).collect()
    }
}

/// How many of `total` images are of each class, where a class of n images has a share in proportion to `n^(1 - balance)`: as
/// whole numbers, those that lose most by rounding down rounded up.
pub fn shares(labels: &Labels, balance: f64, total: u64) -> Vec<u64> {
    let weights: Vec<f64> =
        labels.counts().iter().map(|&n| if n > 0 { (n as f64).powf(1. - balance) } else { 0. }).collect();
    let sum: f64 = weights.iter().sum();
    let exact: Vec<f64> = weights.iter().map(|weight| weight / sum * total as f64).collect();
    let mut shares: Vec<u64> = exact.iter().map(|&exact| exact as u64).collect();
    let mut by_loss: Vec<usize> = (0..exact.len()).filter(|&class| exact[class] > 0.).collect();
    by_loss.sort_by(|&a, &b| exact[b].fract().total_cmp(&exact[a].fract()));
    let missing = total.saturating_sub(shares.iter().sum());
    for &class in by_loss.iter().take(missing as usize) {
        shares[class] += 1;
    }
    shares
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

    /// 90 images of class 0, 9 of class 1, none of class 2, one of class 3.
    fn unequal() -> Dataset {
        let values = [vec![0; 90], vec![1; 9], vec![3]].concat();
        let shape = runtime::ImageShape { channels: 1, height: 1, width: 1 };
        Dataset::new("unequal", shape, vec![0; 100]).with_labels(Labels { values, classes: 4, names: None })
    }

    #[test]
    fn classes_have_their_shares() {
        let data = unequal();
        let of = |balance: f64, total: u64| shares(data.labels().expect("labels"), balance, total);
        assert_eq!(of(0., 100), [90, 9, 0, 1]);
        assert_eq!(of(1., 99), [33, 33, 0, 33]);
        // Square roots 9.487, 3, 1 of 13.487.
        assert_eq!(of(0.5, 1000), [703, 223, 0, 74]);
        assert_eq!(of(1., 100).iter().sum::<u64>(), 100);
    }

    #[test]
    fn a_balanced_order_shows_all_of_a_class_before_one_again_from_any_start() {
        let data = unequal();
        let mut order = Order::of_training(&data, 5, 1.);
        let shown = order.take(0, 300);
        let of_class = |class: u32| -> Vec<usize> {
            let labels = &data.labels().expect("labels").values;
            shown.iter().copied().filter(|&image| labels[image] == class).collect()
        };
        let counts = [0, 1, 3].map(|class| of_class(class).len());
        assert_eq!(counts.iter().sum::<usize>(), 300);
        assert!(counts.iter().all(|&count| (99..=102).contains(&count)), "{counts:?}");
        // Of the order within a class nothing is known but its rounds, which an epoch mixes: all of the first round are there
        // after three epochs of 33 or 34 of 90, none a third time.
        let mut first = of_class(0);
        first.sort_unstable();
        assert!((0..90).all(|image| (1..=2).contains(&first.iter().filter(|&&shown| shown == image).count())));
        assert_eq!(Order::of_training(&data, 5, 1.).take(117, 50), shown[117..167]);
        assert_eq!(Order::of_training(&data, 5, 0.).take(0, 100), Order::new(100, 5, "order").take(0, 100));
    }
}
