//! The order of class names: as numbers where all are numbers, else as people sort names, `a2` before `a10`.

use std::cmp::Ordering;

/// Sorts what has a name each, all of them distinct.
pub(super) fn sort<T>(named: &mut [(String, T)]) {
    let number = |name: &str| name.parse::<f64>().ok().filter(|value| value.is_finite());
    if named.iter().all(|(name, _)| number(name).is_some()) {
        let order = |a: &str, b: &str| number(a).partial_cmp(&number(b)).unwrap_or(Ordering::Equal);
        named.sort_by(|(a, _), (b, _)| order(a, b).then_with(|| a.cmp(b)));
    } else {
        named.sort_by(|(a, _), (b, _)| natural(a, b));
    }
}

/// Runs of digits by their value, everything else by its characters without case.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        match (split(left), split(right)) {
            (None, None) => return a.cmp(b),
            (None, _) => return Ordering::Less,
            (_, None) => return Ordering::Greater,
            (Some((one, left_rest)), Some((other, right_rest))) => {
                let plain = |part: &str| part.trim_start_matches('0').to_owned();
                let order = match (one.as_bytes()[0].is_ascii_digit(), other.as_bytes()[0].is_ascii_digit()) {
                    (true, true) => {
                        plain(one).len().cmp(&plain(other).len()).then_with(|| plain(one).cmp(&plain(other)))
                    }
                    _ => one.to_lowercase().cmp(&other.to_lowercase()),
                };
                if order != Ordering::Equal {
                    return order;
                }
                (left, right) = (left_rest, right_rest);
            }
        }
    }
}

/// A run of digits, or of anything else, and what follows.
fn split(text: &str) -> Option<(&str, &str)> {
    let digits = text.bytes().next()?.is_ascii_digit();
    let end = text.bytes().position(|byte| byte.is_ascii_digit() != digits).unwrap_or(text.len());
    Some(text.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_order_and_names_are_sorted_as_people_do() {
        for sorted in [
            &["-2", "-1", "0", "3", "10", "10.5"][..],
            &["1", "2", "10", "30"],
            &["a1", "a2", "A10", "b"],
            &["10 apples", "bear", "Cat", "zebra", "Ärger"],
            &["01", "1", "2x"],
        ] {
            let mut named: Vec<(String, ())> = sorted.iter().rev().map(|name| ((*name).to_owned(), ())).collect();
            sort(&mut named);
            assert!(named.iter().map(|(name, ())| name).eq(sorted), "{named:?}");
        }
    }
}
