//! How programs that time something are told what to do by a script, `benches/peers/worker.py`: once they are ready, they
//! print a line of JSON that says so; then they answer each line of the standard input by one; at its end, a last line has
//! the largest memory.

use crate::process::peak_memory;
use serde_json::{Value, json};
use std::io::{BufRead, Write};

/// Serves the standard input until it ends.
///
/// # Errors
/// What `answer` fails with; input or output that is broken.
pub fn serve(versions: &Value, mut answer: impl FnMut(&str) -> Result<Value, String>) -> Result<(), String> {
    let mut out = std::io::stdout();
    let mut print = |value: Value| writeln!(out, "{value}").and_then(|()| out.flush()).map_err(|e| e.to_string());
    print(json!({ "ready": true, "versions": versions, "peak_mb": peak_memory() }))?;
    for line in std::io::stdin().lock().lines() {
        print(answer(line.map_err(|e| e.to_string())?.trim())?)?;
    }
    print(json!({ "peak_mb": peak_memory() }))
}

/// The number after `word` in a line of the form `WORD N`.
pub fn number(line: &str, word: &str) -> Option<usize> {
    line.strip_prefix(word)?.strip_prefix(' ')?.parse().ok()
}
