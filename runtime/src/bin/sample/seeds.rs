//! Seeds as the command line has them: `1,5,9`, `0..1000`, or both.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// Seeds in their order; ranges are never written out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seeds(Vec<Range<u64>>);

impl Seeds {
    /// How many there are.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }

    /// So many from this one on, or as many as there are.
    pub fn take(&self, first: u64, count: usize) -> Vec<u64> {
        let mut left = first;
        let mut taken = Vec::new();
        for range in &self.0 {
            let len = range.end - range.start;
            let from = range.start + left.min(len);
            left = left.saturating_sub(len);
            taken.extend((from..range.end).take(count - taken.len()));
        }
        taken
    }
}

impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Range { start, end }) in self.0.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            match end - start {
                1 => write!(f, "{comma}{start}")?,
                _ => write!(f, "{comma}{start}..{end}")?,
            }
        }
        Ok(())
    }
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            |part: &str| format!("{part:?} is no seed and no range of them; allowed are such as 1,5,9 and 0..1000");
        let number = |text: &str, part: &str| text.trim().parse::<u64>().map_err(|_| wrong(part));
        let (mut ranges, mut all) = (Vec::new(), 0u64);
        for part in text.split(',') {
            let range = match part.split_once("..") {
                Some((start, end)) => number(start, part)?..number(end, part)?,
                None => {
                    let seed = number(part, part)?;
                    // The last one has no number after it.
                    seed..seed.checked_add(1).ok_or_else(|| wrong(part))?
                }
            };
            if range.is_empty() {
                return Err(format!("{part:?} has no seed in it; a range ends before its second number"));
            }
            all = all.checked_add(range.end - range.start).ok_or("there are more than 2^64 seeds")?;
            ranges.push(range);
        }
        Ok(Self(ranges))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_ranges_are_read() {
        let seeds = |text: &str| text.parse::<Seeds>();
        for (text, len, all) in [
            ("7", 1, &[7][..]),
            ("1,5,9", 3, &[1, 5, 9]),
            ("9, 1 ,9", 3, &[9, 1, 9]),
            ("3..6", 3, &[3, 4, 5]),
            ("0..2,9,4..6", 5, &[0, 1, 9, 4, 5]),
        ] {
            let seeds = seeds(text).expect(text);
            assert_eq!((seeds.len(), seeds.to_string()), (len, text.replace(' ', "")));
            for first in 0..all.len() {
                for count in 0..all.len() + 2 {
                    let expected = &all[first..all.len().min(first + count)];
                    assert_eq!(seeds.take(first as u64, count), expected, "{text} from {first}, {count}");
                }
            }
            assert!(seeds.take(len, 3).is_empty());
        }
        let most = format!("0..{}", u64::MAX);
        assert_eq!(
            seeds(&most).map(|seeds| (seeds.len(), seeds.take(u64::MAX - 2, 9))),
            Ok((u64::MAX, vec![u64::MAX - 2, u64::MAX - 1]))
        );
        for (text, words) in [
            ("", "\"\" is no seed"),
            ("1,,2", "\"\" is no seed"),
            ("a", "\"a\" is no seed"),
            ("-1", "\"-1\" is no seed"),
            ("1..", "\"1..\" is no seed"),
            ("1..2..3", "no range"),
            ("5..5", "has no seed in it"),
            ("5..4", "has no seed in it"),
            (&u64::MAX.to_string(), "is no seed"),
            (&format!("{most},{most}"), "more than 2^64"),
        ] {
            let error = seeds(text).expect_err(text);
            assert!(error.contains(words), "{error}");
        }
    }
}
