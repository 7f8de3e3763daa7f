//! What folders say: which pictures are for training and which for tests, and what class they are of.

use super::source::{Name, shown};
use std::collections::BTreeSet;

/// Folders at the top that split the data.
const TRAIN: [&str; 2] = ["train", "training"];
const TEST: [&str; 4] = ["test", "val", "valid", "validation"];

/// Which pictures belong together, by the folders that they are in.
#[derive(Debug, PartialEq, Eq)]
pub struct Layout {
    /// `[N]`: whether a picture is a test picture.
    pub test: Vec<bool>,
    /// Whether some are, and some are not.
    pub split: bool,
    /// Folders that only hold folders with all pictures: the root, and what is inside of it. Each ends in `/`, but for the
    /// root, which is empty.
    pub bases: Vec<Name>,
    /// `[N]`: how much of each name is above its class.
    above: Vec<u32>,
}

impl Layout {
    /// What the folders of these pictures say.
    pub fn of(names: &[&[u8]]) -> Self {
        let mut bases = vec![Name::default()];
        let mut above = vec![0; names.len()];
        descend(names, &mut above, &mut bases);
        let top = |(name, &above): (&&[u8], &u32)| folder(name, above).map(<[u8]>::to_ascii_lowercase);
        let of = |folder: &[u8], known: &[&str]| known.iter().any(|known| known.as_bytes() == folder);
        let parts: Option<Vec<bool>> = names
            .iter()
            .zip(&above)
            .map(|found| {
                let folder = top(found)?;
                of(&folder, &TEST).then_some(true).or_else(|| of(&folder, &TRAIN).then_some(false))
            })
            .collect();
        let parts = parts.filter(|test| test.contains(&true) && test.contains(&false));
        let split = parts.is_some();
        if split {
            for (name, above) in names.iter().zip(&mut above) {
                step(name, above);
            }
            let splits: BTreeSet<&[u8]> =
                names.iter().zip(&above).map(|(name, &above)| &name[..above as usize]).collect();
            bases.extend(splits.into_iter().map(Name::from));
            descend(names, &mut above, &mut bases);
        }
        Self { test: parts.unwrap_or_else(|| vec![false; names.len()]), split, bases, above }
    }

    /// The folder of its class for each training picture, or test picture, where each lies in one.
    ///
    /// # Errors
    /// In words, which picture does not.
    pub fn folders<'a>(&self, names: &[&'a [u8]], test: bool) -> Result<Vec<&'a [u8]>, String> {
        let folder = |(name, &above): (&&'a [u8], &u32)| {
            folder(name, above).ok_or_else(|| format!("{} lies in no folder of its class", shown(name)))
        };
        let all = names.iter().zip(&self.above).zip(&self.test);
        all.filter(|(_, is_test)| **is_test == test).map(|(found, _)| folder(found)).collect()
    }

    /// Whether any picture lies in a folder that others do not lie in.
    pub fn has_folders(&self, names: &[&[u8]]) -> bool {
        names.iter().zip(&self.above).any(|(name, &above)| folder(name, above).is_some())
    }

    /// Whether the folders are numbered parts of the whole, such as `00012`, as large sets are cut into.
    pub fn is_numbered(&self, names: &[&[u8]]) -> bool {
        let mut folders = names.iter().zip(&self.above).map(|(name, &above)| folder(name, above));
        folders.all(|folder| folder.is_some_and(|f| f.len() >= 5 && f.iter().all(u8::is_ascii_digit)))
    }
}

/// Goes down as long as all pictures are in the one folder that there is; where they are split, in folders of one name.
fn descend(names: &[&[u8]], above: &mut [u32], bases: &mut Vec<Name>) {
    loop {
        let mut folders = names.iter().zip(&*above).map(|(name, &above)| folder(name, above));
        let Some(Some(first)) = folders.next() else { return };
        if !folders.all(|folder| folder == Some(first)) {
            return;
        }
        for (name, above) in names.iter().zip(&mut *above) {
            step(name, above);
        }
        let inner: BTreeSet<&[u8]> = names.iter().zip(&*above).map(|(name, &above)| &name[..above as usize]).collect();
        bases.extend(inner.into_iter().map(Name::from));
    }
}

/// The folder that follows in a name.
fn folder(name: &[u8], above: u32) -> Option<&[u8]> {
    let rest = &name[above as usize..];
    rest.iter().position(|&byte| byte == b'/').map(|end| &rest[..end])
}

/// Goes one folder further.
fn step(name: &[u8], above: &mut u32) {
    *above += folder(name, *above).map_or(0, |folder| folder.len() as u32 + 1);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout<'a>(names: &[&'a str]) -> (Layout, Vec<&'a [u8]>) {
        let names: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
        (Layout::of(&names), names)
    }

    /// Of the training pictures, then of the test pictures.
    fn classes(names: &[&str]) -> Result<Vec<String>, String> {
        let (layout, names) = layout(names);
        let halves = [layout.folders(&names, false)?, layout.folders(&names, true)?];
        Ok(halves.concat().into_iter().map(shown).collect())
    }

    #[test]
    fn sub_folders_are_classes_also_one_level_deeper() {
        assert_eq!(classes(&["cat/1", "cat/deep/2", "dog/1"]).expect("classes"), ["cat", "cat", "dog"]);
        assert_eq!(classes(&["all/cat/1", "all/dog/1"]).expect("classes"), ["cat", "dog"]);
        assert_eq!(classes(&["a/b/cat/1", "a/b/dog/1"]).expect("classes"), ["cat", "dog"]);
        for names in [&["1", "2"][..], &["a/1", "a/2"]] {
            assert!(classes(names).expect_err("one folder").contains("1 lies in no folder"));
        }
        assert!(classes(&["cat/1", "dog/1", "loose"]).expect_err("loose").contains("loose lies in no folder"));
        assert!(classes(&["all/cat/1", "loose"]).expect_err("loose").contains("loose lies in no folder"));
    }

    #[test]
    fn folders_of_training_and_test_pictures_split() {
        let names = ["data/Test/dog/1", "data/train/cat/1", "data/train/dog/2", "data/val/cat/1"];
        assert_eq!(classes(&names).expect("classes"), ["cat", "dog", "dog", "cat"]);
        let (layout, _) = layout(&names);
        assert_eq!(layout.test, [true, false, false, true]);
        let bases: Vec<String> = layout.bases.iter().map(|base| shown(base)).collect();
        assert_eq!(bases, ["", "data/", "data/Test/", "data/train/", "data/val/"]);
    }

    #[test]
    fn folders_split_only_if_all_pictures_are_in_them() {
        for names in [&["train/1", "test/1", "more/1"][..], &["train/1", "test/1", "loose"], &["train/1", "training/1"]]
        {
            assert!(!layout(names).0.split, "{names:?}");
        }
        // Then they are classes.
        assert_eq!(classes(&["train/1", "test/1", "more/1"]).expect("classes"), ["train", "test", "more"]);
        // Both halves hold a folder of the same name, and test pictures of one class alone are of that class.
        assert_eq!(
            classes(&["train/x/cat/1", "train/x/dog/1", "test/x/cat/1"]).expect("classes"),
            ["cat", "dog", "cat"]
        );
        assert_eq!(classes(&["train/cat/1", "train/dog/1", "test/cat/1"]).expect("classes"), ["cat", "dog", "cat"]);
    }

    #[test]
    fn numbered_parts_are_told_from_classes() {
        let numbered = |names: &[&str]| layout(names).0.is_numbered(&layout(names).1);
        assert!(numbered(&["00000/img00000000", "00001/img00001000"]));
        assert!(numbered(&["thumbs/00000/1", "thumbs/01000/1"]));
        assert!(!numbered(&["0/1", "1/1"]) && !numbered(&["n01440764/1", "00001/1"]) && !numbered(&["1", "2"]));
    }
}
