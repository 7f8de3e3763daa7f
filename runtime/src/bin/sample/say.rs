//! What is said on the terminal. It cannot fail or panic: whoever listened may be gone (`sample --info | head`).

use std::fmt::Arguments;
use std::io::Write;

/// `println!` that does not fail.
macro_rules! print {
    ($($text:tt)*) => { $crate::say::line(std::io::stdout().lock(), format_args!($($text)*)) };
}

/// `eprintln!` that does not fail.
macro_rules! say {
    ($($text:tt)*) => { $crate::say::line(std::io::stderr().lock(), format_args!($($text)*)) };
}

pub(crate) use {print, say};

/// Writes a line in which control characters, such as those in the words of a hostile file, are shown and not obeyed.
pub fn line(mut to: impl Write, text: Arguments<'_>) {
    let show = |c: char| match c {
        '\n' | '\t' => c.to_string(),
        c if c.is_control() => c.escape_default().to_string(),
        c => c.to_string(),
    };
    let _ = writeln!(to, "{}", text.to_string().chars().map(show).collect::<String>());
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        let mut said = Vec::new();
        super::line(&mut said, format_args!("a\u{1b}[2J{}\r", "é\n\u{7f}"));
        assert_eq!(String::from_utf8_lossy(&said), "a\\u{1b}[2Jé\n\\u{7f}\\r\n");
    }
}
