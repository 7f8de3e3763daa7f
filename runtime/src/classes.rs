//! Names of classes: how a file has them, and which class is meant by a text.

use crate::error::{Error, Result};
use crate::model::ModelInfo;
use crate::text::{one_line, shown};
use std::cmp::Reverse;

/// The key of the metadata.
pub(crate) const NAMES: &str = "kiln.class_names";
/// Most characters of the name of a class.
pub const MAX_CLASS_NAME: usize = 100;
/// Names that a message has at most.
const LISTED: usize = 12;
/// Characters in a row that a misspelt name may have instead of the right ones.
const SLIP: usize = 2;

/// The names in a text that has one a line, for so many classes.
pub(crate) fn read(text: &str, classes: usize) -> std::result::Result<Vec<String>, String> {
    // Counted before anything is kept: a text of line ends alone is a name for every byte.
    let count = text.split('\n').count();
    if count != classes {
        return Err(format!("has {count} names, one a line, allowed are as many as kiln.classes says: {classes}"));
    }
    for (class, name) in text.split('\n').enumerate() {
        if name.chars().any(char::is_control) || !(1..=MAX_CLASS_NAME).contains(&name.chars().count()) {
            let shown = shown(name);
            return Err(format!(
                "has the name {shown} for class {class}, allowed are 1 to {MAX_CLASS_NAME} characters without control \
                 characters"
            ));
        }
    }
    Ok(text.split('\n').map(str::to_owned).collect())
}

/// Classes with their numbers, of many the first: `0 cat, 1 dog and 3 more`.
#[doc(hidden)]
pub fn listed<'a>(classes: impl Iterator<Item = (usize, &'a String)>) -> String {
    let mut classes = classes.map(|(class, name)| format!("{class} {}", one_line(name)));
    let first = classes.by_ref().take(LISTED).collect::<Vec<_>>().join(", ");
    match classes.count() {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

impl ModelInfo {
    /// The class that a text means: the one of exactly this name; else the one of this name in other letters, upper or lower
    /// case; else the one of this number.
    ///
    /// # Errors
    /// No such class or several; the message lists names, those that are nearly the same first. A generator without classes.
    pub fn class_named(&self, name: &str) -> Result<u32> {
        let fail = |what: String| Err(Error::argument(what));
        let Some(last) = self.classes.checked_sub(1) else {
            return fail("a class is asked for, but the generator is unconditional".into());
        };
        let lower = name.to_lowercase();
        let alike = |is: &dyn Fn(&str) -> bool| {
            self.class_names.iter().enumerate().filter(|(_, own)| is(own)).collect::<Vec<_>>()
        };
        let exactly = alike(&|own| own == name);
        let found = if exactly.is_empty() { alike(&|own| own.to_lowercase() == lower) } else { exactly };
        if let [(class, _)] = found[..] {
            // It is one of at most `MAX_CLASSES`.
            return Ok(class as u32);
        }
        let asked = shown(name);
        if !found.is_empty() {
            return fail(format!(
                "{asked} is the name of several classes: {}; give the number",
                listed(found.into_iter())
            ));
        }
        match name.parse::<u32>() {
            Ok(class) if class as usize <= last => return Ok(class),
            Ok(class) => return fail(format!("class {class} is asked for, allowed is 0 to {last}")),
            Err(_) => (),
        }
        if self.class_names.is_empty() {
            return fail(format!("class {asked} is asked for, but the classes have no names; allowed is 0 to {last}"));
        }
        let mut all: Vec<(usize, &String)> = self.class_names.iter().enumerate().collect();
        // A text that is longer than any name by more than a slip is near none: it may be of any length.
        let letters: Vec<char> = lower.chars().take(MAX_CLASS_NAME + SLIP + 1).collect();
        let is_near = |own: &str| letters.len() <= MAX_CLASS_NAME + SLIP && is_near(&lower, &letters, own);
        // The order of those that are equally near stays.
        all.sort_by_cached_key(|(_, own)| Reverse(is_near(&own.to_lowercase())));
        fail(format!("no class is called {asked}, allowed are numbers and names: {}", listed(all.into_iter())))
    }
}

/// Whether one is a part of the other, or both are the same but for a few characters in one place; `letters` are those of
/// `a`.
fn is_near(a: &str, letters: &[char], b: &str) -> bool {
    if !a.is_empty() && (a.contains(b) || b.contains(a)) {
        return true;
    }
    let (a, b): (&[char], Vec<char>) = (letters, b.chars().collect());
    let begin = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[begin..], &b[begin..]);
    let end = a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count();
    begin + end > 0 && a.len().max(b.len()) - end <= SLIP
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::plain;

    fn info(classes: usize, names: &[&str]) -> ModelInfo {
        ModelInfo { classes, class_names: names.iter().map(|&name| name.into()).collect(), ..plain(1, 1) }
    }

    #[test]
    fn names_are_read_as_they_stand() {
        let longest = "ä".repeat(100);
        let text = format!("cat\nred fox\n{longest}\n 7 \n\u{202e}");
        assert_eq!(read(&text, 5), Ok(text.split('\n').map(String::from).collect()));
        for (text, classes, words) in [
            ("", 0, "has 1 names, one a line, allowed are as many as kiln.classes says: 0"),
            ("a\nb", 3, "has 2 names"),
            ("a\nb\n", 2, "has 3 names"),
            ("a\n\nb", 3, "the name \"\" for class 1"),
            ("a\nb\r", 2, "the name \"b\\r\" for class 1"),
            ("a\0", 1, "without control characters"),
            ("\u{9b}", 1, "\\u{9b}"),
            (&format!("a\n{longest}b"), 2, "1 to 100 characters"),
            (&"\n".repeat(1 << 20), 10, "has 1048577 names"),
        ] {
            let error = read(text, classes).expect_err(words);
            assert!(error.contains(words) && error.len() < 400, "{error}");
        }
    }

    #[test]
    fn a_text_means_a_name_before_a_name_in_other_letters_before_a_number() {
        let info = info(6, &["Cat", "cat", "Red Fox", "3x", "5", "ÉCLAIR"]);
        for (text, class) in [("Cat", 0), ("cat", 1), ("red fox", 2), ("RED FOX", 2), ("5", 4), ("3", 3), ("éclair", 5)]
        {
            assert_eq!(info.class_named(text).map_err(|e| e.to_string()), Ok(class), "{text}");
        }
        let error = |text: &str| info.class_named(text).expect_err(text).to_string();
        assert_eq!(error("CAT"), "\"CAT\" is the name of several classes: 0 Cat, 1 cat; give the number");
        assert_eq!(error("6"), "class 6 is asked for, allowed is 0 to 5");
        assert!(
            error("-1").starts_with("no class is called \"-1\", allowed are numbers and names: 0 Cat, 1 cat, 2 Red")
        );
        assert!(error("4294967296").contains("no class is called"));
    }

    #[test]
    fn generators_without_names_or_classes_say_so() {
        let named = |info: &ModelInfo, text: &str| info.class_named(text).map_err(|e| e.to_string());
        let numbers = info(3, &[]);
        assert_eq!((named(&numbers, "0"), named(&numbers, "2")), (Ok(0), Ok(2)));
        assert_eq!(named(&numbers, "3"), Err("class 3 is asked for, allowed is 0 to 2".into()));
        let error = named(&numbers, "cat").expect_err("has no names");
        assert_eq!(error, "class \"cat\" is asked for, but the classes have no names; allowed is 0 to 2");
        for text in ["0", "cat", ""] {
            let error = named(&info(0, &[]), text).expect_err("has no classes");
            assert_eq!(error, "a class is asked for, but the generator is unconditional");
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_a_dozen_the_nearest_first() {
        let names: Vec<String> = (0..20).map(|i| format!("{}{i}", ["row", "line"][i % 2])).collect();
        let names: Vec<&str> =
            names.iter().map(String::as_str).chain(["Siberian husky", "dog", "a\u{202e}b"]).collect();
        let info = info(names.len(), &names);
        let listed = |text: &str| {
            let error = info.class_named(text).expect_err(text).to_string();
            error.split_once("names: ").map(|(_, list)| list.to_owned()).expect("a list")
        };
        let plain = "0 row0, 1 line1, 2 row2, 3 line3, 4 row4, 5 line5, 6 row6, 7 line7, 8 row8, 9 line9, 10 row10, \
                     11 line11 and 11 more";
        assert_eq!(listed("zebra"), plain);
        assert_eq!(listed(""), plain, "nothing is near");
        assert!(listed("Husky").starts_with("20 Siberian husky, 0 row0, "));
        assert!(listed("huskys").starts_with("0 row0, "), "a part that is misspelt is not found");
        for slip in ["dg", "dogg", "dgo", "DIG", "d0g"] {
            assert!(listed(slip).starts_with("21 dog, 0 row0, "), "{slip}: {}", listed(slip));
        }
        assert!(listed("a b").starts_with("22 a\\u{202e}b, 0 row0, "), "what cannot be seen is shown");
        let husky = |more: usize| format!("{}Siberian husky", "x".repeat(more));
        assert!(listed(&husky(88)).starts_with("20 Siberian husky, 0 row0, "));
        assert_eq!(listed(&husky(89)), plain, "what is longer than any name is not looked through");
        let long = info.class_named(&"x".repeat(1_000_000)).expect_err("is none").to_string();
        assert!(long.len() < 400, "{long}");
    }
}
