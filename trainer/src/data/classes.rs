//! Which classes samples are drawn of.

/// The classes of samples number `first` to `first + count`, in the proportions of `counts`, evenly mixed: sample i has the
/// class in which the fractional part of i times the golden ratio falls, where classes share the range from 0 to 1 (the
/// sequence of lowest discrepancy of its kind). Of no classes, class 0.
pub fn classes_like(counts: &[u64], first: u64, count: usize) -> Vec<u32> {
    // The fraction of the golden ratio in 64 bits; products wrap to fractions.
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let total: u64 = counts.iter().sum();
    let ends: Vec<u64> = counts
        .iter()
        .scan(0, |end, &count| {
            *end += count;
            Some(*end)
        })
        .collect();
    let class = |index: u64| {
        let place = (u128::from(index.wrapping_mul(GOLDEN)) * u128::from(total)) >> 64;
        ends.partition_point(|&end| u128::from(end) <= place).min(ends.len().saturating_sub(1)) as u32
    };
    (0..count as u64).map(|i| class(first.wrapping_add(i))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proportions_are_those_of_the_counts_from_any_start() {
        let all = classes_like(&[700, 200, 0, 100], 0, 1000);
        let counts = [0, 1, 2, 3].map(|class| all.iter().filter(|&&c| c == class).count());
        assert!(
            counts[2] == 0 && counts.iter().zip([700, 200, 0, 100]).all(|(a, b): (&usize, usize)| a.abs_diff(b) < 4),
            "{counts:?}"
        );
        assert_eq!(classes_like(&[700, 200, 0, 100], 123, 50), all[123..173]);
        // Every class is among few.
        let few = classes_like(&[5; 10], 77, 16);
        assert!((0..10).all(|class| few.contains(&class)), "{few:?}");
        assert_eq!(classes_like(&[3], u64::MAX, 2), [0, 0]);
        assert_eq!(classes_like(&[], 0, 2), [0, 0]);
    }
}
