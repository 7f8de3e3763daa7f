//! Foreign text made fit to be shown: what files, ONNX Runtime and the system say may be long without end, and hold
//! characters that a terminal obeys, that turn the direction of writing, or that cannot be seen.

/// Characters that are shown of a name in a message.
const WORD: usize = 80;
/// Characters that are shown of a sentence in a message.
const SENTENCE: usize = 300;
/// Characters that are shown of a line.
const LINE: usize = 2000;
/// Lines that are shown of a text.
const LINES: usize = 500;

/// A foreign name or value as part of a message: in quotes, on one line, with escapes, and cut at 80 characters.
pub(crate) fn shown(text: &str) -> String {
    let (text, more) = cut(text, WORD);
    format!("{text:?}{more}")
}

/// What a library says of a foreign text, and may repeat of it, as part of a message.
pub(crate) fn sentence(text: &str) -> String {
    escaped(text, SENTENCE, &['"', '\'', '\\'])
}

/// A text of many lines: all that is not plainly visible is an escape, but for line ends and tabs; long lines are cut, and
/// so are lines without end.
#[doc(hidden)]
pub fn printable(text: &str) -> String {
    let mut lines = text.split('\n');
    let mut out: Vec<String> =
        lines.by_ref().take(LINES).map(|line| escaped(line, LINE, &['"', '\'', '\\', '\t'])).collect();
    let more = lines.count();
    if more > 0 {
        out.push(format!("... ({more} more lines)"));
    }
    out.join("\n")
}

/// As [`printable`], on one line: of a value that could otherwise pretend to be the line that follows.
#[doc(hidden)]
pub fn one_line(text: &str) -> String {
    escaped(text, LINE, &['"', '\'', '\\'])
}

/// The first `most` characters of a line, with escapes for everything that is not visible, nor among those that are `kept`.
fn escaped(line: &str, most: usize, kept: &[char]) -> String {
    let (line, more) = cut(line, most);
    let mut out = String::with_capacity(line.len());
    for piece in line.split_inclusive(kept) {
        let body = piece.trim_end_matches(kept);
        out.extend(body.escape_debug());
        out.push_str(&piece[body.len()..]);
    }
    out + &more
}

/// The first `most` characters, and a word about the others.
fn cut(text: &str, most: usize) -> (&str, String) {
    match text.char_indices().nth(most) {
        None => (text, String::new()),
        Some((end, _)) => (&text[..end], format!("... ({} more)", text[end..].chars().count())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reader_would_not_see_or_a_terminal_obey_is_shown() {
        let hidden = [
            ('\u{1b}', "\\u{1b}"),
            ('\r', "\\r"),
            ('\0', "\\0"),
            ('\u{7f}', "\\u{7f}"),
            ('\u{9b}', "\\u{9b}"),
            ('\u{202e}', "\\u{202e}"),
            ('\u{2066}', "\\u{2066}"),
            ('\u{200b}', "\\u{200b}"),
            ('\u{feff}', "\\u{feff}"),
            ('\u{2028}', "\\u{2028}"),
            ('\u{e0041}', "\\u{e0041}"),
        ];
        for (character, escape) in hidden {
            let text = format!("a{character}b");
            assert_eq!(printable(&text), format!("a{escape}b"));
            assert_eq!(one_line(&text), format!("a{escape}b"));
            assert_eq!(shown(&text), format!("\"a{escape}b\""));
        }
        // What can be seen stays, an accent of its own among it.
        let plain = "\"C:\\Übung\" e\u{301} 日本 it's";
        assert_eq!((printable(plain), one_line(plain)), (plain.into(), plain.into()));
        assert_eq!(printable("a\n\tb\n"), "a\n\tb\n");
        assert_eq!((one_line("a\n\tb"), shown("\"\n")), ("a\\n\\tb".into(), "\"\\\"\\n\"".into()));
    }

    #[test]
    fn what_is_long_is_cut_and_says_so() {
        let long = "ä".repeat(3_000_000);
        assert_eq!(shown(&long), format!("\"{}\"... (2999920 more)", &long[..160]));
        assert_eq!(sentence(&long), format!("{}... (2999700 more)", &long[..600]));
        assert_eq!(one_line(&long), format!("{}... (2998000 more)", &long[..4000]));
        assert_eq!(printable(&format!("a\n{long}\nb")), format!("a\n{}... (2998000 more)\nb", &long[..4000]));
        assert_eq!(printable(&"\n".repeat(700)), format!("{}... (201 more lines)", "\n".repeat(500)));
        assert_eq!((shown(&long[..160]).len(), printable(&long[..4000]).len()), (162, 4000), "the most is shown whole");
    }
}
