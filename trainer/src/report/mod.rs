//! What is told on the terminal: lines that cannot fail, and bars.

mod bar;
mod say;

pub use bar::Bar;
pub use say::{lost, print, print_line, say, say_line};

/// Seconds as a person says them: `2m05s`.
pub fn duration(seconds: f64) -> String {
    let s = seconds.max(0.).round() as u64;
    match (s / 3600, s / 60 % 60, s % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s:02}s"),
        (h, m, _) => format!("{h}h{m:02}m"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn durations_read_well() {
        assert_eq!(super::duration(4.4), "4s");
        assert_eq!(super::duration(125.), "2m05s");
        assert_eq!(super::duration(3. * 3600. + 61.), "3h01m");
    }
}
