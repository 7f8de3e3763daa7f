//! What is said on the terminal. Nothing here can fail or panic: whoever listened may be gone (`trainer ... | head`), and
//! that is no reason to end a run. A result that is lost otherwise, on a full disk, is told when the program ends.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};
use std::sync::OnceLock;

/// The longest message, in characters: a hostile key or name must not flood a terminal.
const LONGEST: usize = 4000;

/// `eprintln!` that does not fail: news for a person, on standard error.
#[macro_export]
#[doc(hidden)]
macro_rules! __say {
    ($($text:tt)*) => { $crate::report::say_line(format_args!($($text)*)) };
}

/// `println!` that does not fail: results, on standard output.
#[macro_export]
#[doc(hidden)]
macro_rules! __print {
    ($($text:tt)*) => { $crate::report::print_line(format_args!($($text)*)) };
}

pub use crate::{__print as print, __say as say};

/// Says a line on standard error, if it is long without its middle.
pub fn say_line(text: Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "{}", plain(&short(&text.to_string())));
}

/// Why a line that was printed is lost.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// Prints a line on standard output: all of it, since programs read it.
pub fn print_line(text: Arguments<'_>) {
    match writeln!(io::stdout().lock(), "{}", plain(&text.to_string())) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => drop(LOST.set(e)),
        _ => (),
    }
}

/// Why something that was printed could not be written, if it could not, and somebody waits for it.
pub fn lost() -> Option<&'static io::Error> {
    LOST.get()
}

/// Text that does to a terminal what text does: control characters (of a hostile name, say) are shown as escapes, which
/// mean the same in a string of JSON or TOML.
fn plain(text: &str) -> String {
    let show = |c: char| match c {
        '\n' | '\t' => c.to_string(),
        c if c.is_control() => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    };
    text.chars().map(show).collect()
}

/// What is too long is cut in its middle, where least is said.
fn short(text: &str) -> String {
    let count = text.chars().count();
    if count <= LONGEST {
        return text.to_owned();
    }
    let half = LONGEST / 2;
    let (head, tail) = (text.chars().take(half), text.chars().skip(count - half));
    format!("{} [... {} characters ...] {}", head.collect::<String>(), count - 2 * half, tail.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        assert_eq!(plain("a\u{1b}[2Jb\r\n\tc\u{7f}\u{85}"), "a\\u001b[2Jb\\u000d\n\tc\\u007f\\u0085");
        assert_eq!(plain("é ü — 漢"), "é ü — 漢");
        assert_eq!(short("short"), "short");
    }

    #[test]
    fn long_text_keeps_its_ends() {
        let long = format!("begin{}end", "x".repeat(10_000_000));
        let shown = short(&long);
        assert!(shown.len() < LONGEST + 100, "{}", shown.len());
        assert!(
            shown.starts_with("begin") && shown.ends_with("end") && shown.contains("9996008 characters"),
            "{shown}"
        );
    }
}
