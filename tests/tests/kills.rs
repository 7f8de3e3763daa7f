//! Runs that are killed at any moment go on to the same bytes.
#![allow(clippy::print_stdout, reason = "a test says what it came to")]

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::process::Command;
use std::time::{Duration, Instant};
use tests::process::Running;
use tests::runs::{COLLAPSE, assert_same, checkpoints, export, resume, tiny};
use tests::{folder, read, succeed};

#[test]
fn a_run_survives_eight_kills() {
    survives(8, 60, &[]);
}

/// Remedies race again where they were interrupted, and the run that turns back does so wholly or not at all.
#[test]
fn a_run_that_heals_survives_eight_kills() {
    survives(8, 60, &healing());
}

#[test]
#[ignore = "takes a minute"]
fn a_run_survives_a_hundred_kills() {
    survives(100, 2000, &[]);
}

#[test]
#[ignore = "takes minutes"]
fn a_run_that_heals_survives_a_hundred_kills() {
    survives(100, 60, &healing());
}

/// Of a game that collapses soon.
fn healing() -> Vec<&'static str> {
    [&COLLAPSE[..], &["--on-alarm", "heal"]].concat()
}

/// Kills a run at random moments, each time beginning again where it can, and compares what it comes to with a run that was
/// left alone. If it comes to its end before so many kills, another one is killed on.
fn survives(kills: u32, steps: u64, arguments: &[&str]) {
    let folder = folder();
    let here = folder.path();
    let begin = |run: &str, steps: u64| {
        let mut command = tiny(here, run, steps);
        command.args(arguments);
        command
    };
    let start_up = duration(&mut begin("one step", 1));
    let whole = duration(export(&mut begin("whole", steps), "whole.safetensors"));
    assert!(arguments.is_empty() || here.join("whole/healing.jsonl").exists(), "nothing was healed");
    let training = whole.saturating_sub(start_up);

    // Kills come while the program starts as often as their share of the time says.
    let span = start_up + training * 2 / kills;
    let run = here.join("killed");
    let mut rng = ChaCha8Rng::seed_from_u64(u64::from(kills));
    let (mut made, mut runs, mut without_recipe, mut without_checkpoint) = (0, 0, 0, 0);
    let next = || if run.join("recipe.toml").exists() { resume(here, "killed") } else { begin("killed", steps) };
    while made < kills {
        let mut running = Running::start(&mut next());
        std::thread::sleep(Duration::from_secs_f64(span.as_secs_f64() * f64::from(rng.next_u32()) / 2f64.powi(32)));
        let ended = running.ended();
        if ended {
            let (status, said) = running.wait();
            assert!(status.success(), "after {made} kills, {} checkpoints:\n{said}", checkpoints(&run).len());
        } else {
            running.kill();
            made += 1;
            without_recipe += u32::from(!run.join("recipe.toml").exists());
            without_checkpoint += u32::from(checkpoints(&run).is_empty());
        }
        if ended || made == kills {
            succeed(export(&mut next(), "killed.safetensors"));
            assert_same(&run, &here.join("whole"));
            let exported = ["killed.safetensors", "whole.safetensors"].map(|name| read(here.join(name)));
            assert!(exported[0] == exported[1], "exports differ");
            std::fs::remove_dir_all(&run).expect("removes");
            runs += 1;
        }
    }
    println!(
        "{made} kills of {runs} runs, {without_recipe} of them before there was a recipe, {without_checkpoint} before a \
         checkpoint"
    );
}

/// How long a command takes that ends well.
fn duration(command: &mut Command) -> Duration {
    let start = Instant::now();
    succeed(command);
    start.elapsed()
}
