//! What is said on the terminal. It cannot fail or panic: whoever listened may be gone (`sample --info | head`). What is lost
//! otherwise, on a full disk, is told when the program ends.

use runtime::printable;
use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};
use std::sync::OnceLock;

/// `println!` that does not fail.
macro_rules! print {
    ($($text:tt)*) => { $crate::say::result(format_args!($($text)*)) };
}

/// `eprintln!` that does not fail.
macro_rules! say {
    ($($text:tt)*) => { drop($crate::say::line(std::io::stderr().lock(), format_args!($($text)*))) };
}

pub(crate) use {print, say};

/// Why a line of standard output is lost.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// Writes a line to standard output.
pub fn result(text: Arguments<'_>) {
    match line(io::stdout().lock(), text) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => drop(LOST.set(e)),
        _ => (),
    }
}

/// Why something that was printed could not be written, if it could not, and somebody waits for it.
pub fn lost() -> Option<&'static io::Error> {
    LOST.get()
}

/// Writes a line, in which what a hostile file says is of bounded length, and is shown, not obeyed.
pub fn line(mut to: impl Write, text: Arguments<'_>) -> io::Result<()> {
    writeln!(to, "{}", printable(&text.to_string()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_a_terminal_would_obey_is_shown_and_what_is_long_is_cut() {
        let mut said = Vec::new();
        super::line(&mut said, format_args!("a\u{1b}[2J{}\r", "é\n\u{7f}\u{202e}")).expect("is written");
        assert_eq!(String::from_utf8_lossy(&said), "a\\u{1b}[2Jé\n\\u{7f}\\u{202e}\\r\n");
        said.clear();
        super::line(&mut said, format_args!("{}", "x".repeat(3_000_000))).expect("is written");
        assert!(said.len() < 2100 && said.ends_with(b"... (2998000 more)\n"));
    }
}
