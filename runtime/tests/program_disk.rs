//! The program `sample` on a disk that is full or can only be read: told in words, nothing half-written, and it goes on.
#![cfg(target_os = "linux")]
#![allow(clippy::print_stderr, reason = "said to whoever runs the tests")]

use std::process::Command;

/// Mounts a disk where no other process sees it, and draws there: for too little room, for enough, and for reading alone.
const SCRIPT: &str = r#"
mount -t tmpfs -o size=400k none "$1" || exit 77
cd "$1"
draw() { "$2" "$3" --seed 7 --count "$1" --out a 2>&1; echo "code $?, $(ls -A a | grep -c 'part$') unfinished"; }
draw 300 "$2" "$3"
mount -o remount,size=9m "$1"
draw 300 "$2" "$3"
"$2" "$3" --seed 7 --count 300 --out b 2>&1
for picture in a/*.png; do cmp "$picture" "b/${picture#a/}" || echo "$picture differs"; done
mount -o remount,ro "$1"
draw 301 "$2" "$3"
"#;

#[test]
fn a_full_disk_is_told_in_words_and_the_run_goes_on_where_there_is_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", SCRIPT, "sh"]).arg(folder.path());
    command.arg(env!("CARGO_BIN_EXE_sample"));
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/dcgan-f16.onnx"));
    let output = match command.output() {
        Ok(output) => output,
        Err(e) => return eprintln!("not tested: unshare does not start ({e})"),
    };
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    if words.is_empty() {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        return eprintln!("not tested: no file system can be mounted here: {why}");
    }
    let mut lines = words.lines();
    let mut line = |parts: &[&str]| {
        let line = lines.next().unwrap_or_default();
        assert!(parts.iter().all(|part| line.contains(part)), "{line:?} lacks one of {parts:?} in:\n{words}");
    };
    line(&["error: cannot ", ".png: the disk is full"]);
    line(&[" of 300 pictures are in a; the same command goes on from there"]);
    line(&["code 1, 0 unfinished"]);
    line(&["300 images of seed 7 in a (", " of them there already"]);
    line(&["code 0, 0 unfinished"]);
    line(&["300 images of seed 7 in b ("]);
    line(&["error: cannot use the folder a: the disk can only be read"]);
    line(&["code 1, 0 unfinished"]);
    assert_eq!(lines.next(), None, "{words}");
}
