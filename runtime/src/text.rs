//! Texts from elsewhere in messages.

/// Most characters of a text that are shown.
const SHOWN: usize = 80;

/// A text of unknown origin in quotes, with what is no plain character escaped, and cut off where it is long.
pub(crate) fn shown(text: &str) -> String {
    let short: String = text.chars().take(SHOWN).collect();
    match text[short.len()..].len() {
        0 => format!("{short:?}"),
        more => format!("{short:?} and {more} bytes more"),
    }
}
