//! Thousands of damaged and hostile files, made by chance, are opened and drawn from: none may crash, hang, or take much
//! memory, and what has checksums and is not refused draws what the healthy file draws.
//!
//! Chance is a function of `KILN_FUZZ_SEED` and a mutation's number. Files are opened in a process of their own, which says
//! what becomes of each; one that dies or stands still is blamed on the file that it had last, and the next one goes on.
#![cfg(target_os = "linux")]

mod common;
#[path = "common/mutations/mod.rs"]
mod mutations;

use mutations::files::{BESIDE, Files, Tensors, mutant};
use runtime::{Checksums, Error, ErrorKind, Generator, Options, Request, Start};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write, stdout};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

const SEED: &str = "KILN_FUZZ_SEED";
const COUNT: &str = "KILN_FUZZ_COUNT";
/// The mutations that a process is to try, `from..to`, and the folder for their files.
const RANGE: &str = "KILN_FUZZ_RANGE";
const FOLDER: &str = "KILN_FUZZ_FOLDER";
/// What the lines begin with by which that process reports.
const MARK: &str = "kiln-fuzz";

/// Mutations that a process tries.
const BATCH: u64 = 200;
/// How long one may take.
const LIMIT: Duration = Duration::from_secs(20);
/// Kilobytes that the address space of a process may have.
const ADDRESSES: u64 = 12 << 20;
/// Kilobytes by which the peak of memory may grow with a file.
const GROWTH: u64 = 300 << 10;
const STARTS: [Start; 2] = [Start::Steady, Start::Fast];
/// Images: the number is not that of another one, so that a class that is another one shows.
const FIRST: u64 = 7;
const IMAGES: usize = 3;

/// What a generator draws, and the checksums that its file has.
struct Drawn {
    checksums: Option<Checksums>,
    bits: Vec<u32>,
    /// The second of them, drawn alone with two threads.
    alone: Vec<u32>,
}

/// What became of a file.
enum End {
    Refused(String),
    /// With checksums that still hold.
    Equal,
    /// Without checksums: nothing is known of its images.
    Unsealed,
    Fault(String),
}

/// Puts the files into `folder`, opens them there, and draws.
fn draw(files: &Files, folder: &Path, start: Start) -> Result<Drawn, Error> {
    let opened = |threads: usize| {
        let options = Options { start, threads, max_batch: IMAGES, time_limit: Some(LIMIT / 4), ..Options::default() };
        let mut generator = Generator::open(folder.join("model.onnx"), &options)?;
        if let Some(Tensors::Swapped(_)) = files.tensors {
            generator.swap_weights(folder.join(BESIDE))?;
        }
        Ok::<_, Error>(generator)
    };
    let mut generator = opened(1)?;
    let (len, grey) =
        (generator.info().image.len(), vec![0.; generator.info().image_in.map_or(0, |image| image.len())]);
    let request = |first: u64| {
        let request = Request::seed(3).first(first);
        if grey.is_empty() { request } else { request.image(&grey) }
    };
    let mut images = vec![0f32; IMAGES * len];
    generator.draw(&request(FIRST), &mut images)?;
    // One NaN is as good as another.
    let bits =
        |images: &[f32]| images.iter().map(|x| if x.is_nan() { u32::MAX } else { x.to_bits() }).collect::<Vec<_>>();
    let mut image = vec![0f32; len];
    // With other threads, too.
    opened(2)?.draw(&request(FIRST + 1), &mut image)?;
    Ok(Drawn { checksums: generator.info().checksums.clone(), bits: bits(&images), alone: bits(&image) })
}

fn put(files: &Files, folder: &Path) {
    std::fs::write(folder.join("model.onnx"), &files.model).expect("writes");
    if let Some(Tensors::Beside(tensors) | Tensors::Swapped(tensors)) = &files.tensors {
        std::fs::write(folder.join(BESIDE), tensors).expect("writes");
    }
}

/// Tries a file, which came from the healthy one that drew `origin`.
fn tried(files: &Files, folder: &Path, start: Start, healthy: &[Drawn], origin: Option<&Drawn>) -> End {
    match draw(files, folder, start) {
        // What fails then should have been refused before.
        Err(error) if error.kind() == ErrorKind::Run && error.what().contains("ONNX Runtime failed") => {
            End::Fault(format!("is opened and cannot be drawn: {error}"))
        }
        Err(error) => {
            let text = error.to_string();
            match text.len() < 4000 && !text.contains(char::is_control) {
                true => End::Refused(text),
                false => End::Fault(format!("an error of {} bytes: {text:.2000?}", text.len())),
            }
        }
        Ok(Drawn { bits, alone, .. }) if bits[alone.len()..2 * alone.len()] != alone => {
            End::Fault("draws another image alone than among others".into())
        }
        Ok(Drawn { checksums: None, .. }) => End::Unsealed,
        // Two files put together may have become the other one.
        Ok(drawn) => match healthy.iter().find(|one| one.checksums == drawn.checksums).or(origin) {
            Some(one) if one.bits != drawn.bits => End::Fault("draws other images than it did".into()),
            _ => End::Equal,
        },
    }
}

/// The process that opens the files: of no effect without [`RANGE`], as among other tests.
#[test]
fn child() {
    let Ok(range) = std::env::var(RANGE) else { return };
    let (from, to) = range.split_once("..").expect("a range");
    let range: Range<u64> = from.parse().expect("a number")..to.parse().expect("a number");
    let own = tempfile::tempdir().expect("a folder");
    let folder = std::env::var_os(FOLDER).map_or(own.path().into(), PathBuf::from);
    let healthy = Files::healthy();
    let expected = STARTS.map(|start| {
        let drawn = healthy.iter().map(|files| {
            put(files, &folder);
            draw(files, &folder, start).unwrap_or_else(|e| panic!("{e}"))
        });
        drawn.collect::<Vec<_>>()
    });
    // The harness has begun a line.
    writeln!(stdout()).expect("somebody listens");
    for number in range {
        let (files, origin) = mutant(seed(), number, &healthy);
        put(&files, &folder);
        for (start, expected) in STARTS.into_iter().zip(&expected) {
            say(number, "tries", &format!("{start:?}"));
            let before = reset_peak();
            match tried(&files, &folder, start, expected, origin.map(|at| &expected[at])) {
                End::Refused(why) => say(number, "refused", &why),
                End::Equal => say(number, "equal", ""),
                End::Unsealed => say(number, "unsealed", ""),
                End::Fault(what) => say(number, "fault", &format!("{start:?}: {what}")),
            }
            let grown = memory("VmHWM").saturating_sub(before);
            if grown > GROWTH {
                say(number, "fault", &format!("{start:?}: takes {grown} KB of memory"));
            }
        }
    }
}

fn say(number: u64, what: &str, more: &str) {
    // A line is a line, whatever is in it.
    let more = more.escape_debug();
    writeln!(stdout(), "{MARK} {number} {what} {more}").and_then(|()| stdout().flush()).expect("somebody listens");
}

/// Makes the peak of memory what is used now, in kilobytes.
fn reset_peak() -> u64 {
    std::fs::write("/proc/self/clear_refs", "5").expect("writes");
    memory("VmRSS")
}

fn memory(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("reads");
    let line = status.lines().find(|line| line.starts_with(what)).expect("is there");
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
}

fn seed() -> u64 {
    std::env::var(SEED).map_or(1, |seed| seed.parse().expect("a number"))
}

/// Tries so many mutations; what is wrong, if something is.
fn campaign(count: u64) -> Result<BTreeMap<String, u64>, String> {
    let (mut counts, mut faults, mut next) = (BTreeMap::new(), Vec::new(), 0);
    while next < count && faults.len() < 50 {
        next = batch(next..count.min(next + BATCH), &mut counts, &mut faults);
    }
    let text: String = counts.iter().map(|(what, count)| format!("{count:7} {what}\n")).collect();
    writeln!(stdout(), "\nseed {}:\n{text}", seed()).expect("somebody listens");
    match faults.is_empty() {
        true => Ok(counts),
        false => Err(faults.concat()),
    }
}

/// Tries a range in a process, as far as that goes; the number to go on with.
fn batch(range: Range<u64>, counts: &mut BTreeMap<String, u64>, faults: &mut Vec<String>) -> u64 {
    let folder = tempfile::tempdir().expect("a folder");
    let mut child = Command::new("sh")
        .args(["-c", &format!("ulimit -v {ADDRESSES}; exec \"$0\" child --exact --nocapture --test-threads=1")])
        .arg(std::env::current_exe().expect("a program"))
        .env(SEED, seed().to_string())
        .env(RANGE, format!("{}..{}", range.start, range.end))
        .env(FOLDER, folder.path())
        .env("RUST_BACKTRACE", "0")
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(folder.path().join("stderr")).expect("a file"))
        .spawn()
        .expect("starts");
    let (sender, lines) = mpsc::channel();
    let out = BufReader::new(child.stdout.take().expect("a pipe"));
    std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let (mut at, mut hangs) = (range.start, "");
    loop {
        let line = match lines.recv_timeout(LIMIT) {
            Ok(line) => line,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                child.kill().expect("ends");
                hangs = "hangs, ";
                break;
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        };
        let Some((number, rest)) = line.strip_prefix(MARK).and_then(|line| line.trim().split_once(' ')) else {
            continue;
        };
        at = number.parse().expect("a number");
        match rest.split_once(' ').unwrap_or((rest, "")) {
            ("tries", _) => (),
            ("fault", what) => {
                keep(at, what, faults);
            }
            ("refused", why) => {
                *counts.entry("refused".into()).or_default() += 1;
                if let Some((_, why)) =
                    why.split_once("is refused by ONNX Runtime").or(why.split_once("ONNX Runtime failed"))
                {
                    *counts.entry(format!("refused by ONNX Runtime{}", kind(why))).or_default() += 1;
                }
            }
            (what, _) => *counts.entry(what.into()).or_default() += 1,
        }
    }
    let status = child.wait().expect("ends");
    if !status.success() {
        let said = std::fs::read_to_string(folder.path().join("stderr")).unwrap_or_default();
        let said: String = said.chars().skip(said.chars().count().saturating_sub(1000)).collect();
        keep(at, &format!("{}{status}: {said}", hangs), faults);
        return at + 1;
    }
    range.end
}

/// Remembers a fault, and keeps its files, which are made again.
fn keep(number: u64, what: &str, faults: &mut Vec<String>) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("mutation-{}-{number}", seed()));
    std::fs::create_dir_all(&folder).expect("a folder");
    put(&mutant(seed(), number, &Files::healthy()).0, &folder);
    let again = format!("{SEED}={} {RANGE}={number}..{}", seed(), number + 1);
    faults.push(format!("mutation {number}: {what}\n  kept in {}; again: {again}\n", folder.display()));
}

/// A message without what differs between messages of a kind.
fn kind(message: &str) -> String {
    let words =
        message.split_whitespace().filter(|word| !word.contains(|c: char| c.is_ascii_digit() || "\"'/".contains(c)));
    words.take(24).collect::<Vec<_>>().join(" ")
}

#[test]
fn mutated_files_are_harmless() {
    let counts = campaign(600).unwrap_or_else(|faults| panic!("{faults}"));
    // Enough of them get somewhere.
    for what in ["refused", "equal", "unsealed"] {
        assert!(counts.get(what).is_some_and(|count| *count > 30), "{what}: {counts:?}");
    }
}

#[test]
#[ignore = "takes minutes"]
fn many_mutated_files_are_harmless() {
    let count = std::env::var(COUNT).map_or(10_000, |count| count.parse().expect("a number"));
    campaign(count).unwrap_or_else(|faults| panic!("{faults}"));
}
