//! Signals end a run with its work kept, or not at all where they are ignored.
#![cfg(unix)]

use std::path::Path;
use std::process::Command;
use tests::process::Running;
use tests::runs::{TICK, assert_same, checkpoints, export, log, resume, tiny};
use tests::{folder, read, succeed, trainer};

const STEPS: u64 = 400;

/// Starts a run and waits until it trains.
fn start(command: &mut Command, run: &Path) -> Running {
    let mut running = Running::start(command);
    // The first is written before it trains.
    running.wait_until("two checkpoints", || checkpoints(run).len() > 1);
    running
}

#[test]
fn a_stopped_run_keeps_its_work_and_says_how_to_go_on() {
    let folder = folder();
    let here = folder.path();
    succeed(export(&mut tiny(here, "whole", STEPS), "whole.safetensors"));
    for signal in ["INT", "TERM", "HUP"] {
        if signal == "HUP" && hang_ups_are_ignored() {
            println!("skipped: hang-ups are ignored here, as after nohup");
            continue;
        }
        let run = here.join(signal);
        let file = here.join(format!("{signal}.safetensors"));
        let running = start(export(&mut tiny(here, signal, STEPS), &file), &run);
        running.signal(signal);
        let (status, said) = running.wait();
        assert_eq!(status.code(), Some(130), "{signal}: {status}\n{said}");
        assert!(said.contains(&format!("--run {signal} --resume")) && !said.contains("panicked"), "{signal}: {said}");
        assert!(!file.exists(), "{signal}: a generator that has not learned all was exported");
        // The tick at hand is logged, and marked: a resumed run goes on with it.
        let stopped: u64 =
            said.split("stopped at ").nth(1).and_then(|s| s.split(' ').next()?.parse().ok()).expect("a count");
        if !stopped.is_multiple_of(TICK) {
            let last = log(&run).pop().expect("a line");
            assert!(last["partial"] == true && last["images"] == stopped, "{signal}: stopped at {stopped}: {last}");
        }

        succeed(export(&mut resume(here, signal), &file));
        assert_same(&run, &here.join("whole"));
        assert!(read(&file) == read(here.join("whole.safetensors")), "{signal}: another generator");
    }
}

/// The first seed is done when it is stopped in the second.
#[test]
fn a_stopped_benchmark_prints_what_is_done_and_goes_on() {
    let folder = folder();
    let here = folder.path();
    let bench = |kept: &[&str]| {
        let mut command = trainer(here);
        command.args(["bench", "ring", "--kimg", "16", "--seeds", "2", "--json"]).args(kept);
        command
    };
    let figures = |said: &str| {
        let line = said.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("no figures: {said}"));
        let report: serde_json::Value = serde_json::from_str(line).expect("is JSON");
        report["runs"].as_array().expect("runs").iter().map(|run| run["samples"].to_string()).collect::<Vec<_>>()
    };
    let whole = figures(&succeed(&mut bench(&[])));
    let mut running = Running::start(&mut bench(&["--run", "kept"]));
    running.wait_until("the first seed", || here.join("kept/seed-0.json").exists());
    running.signal("TERM");
    let (status, said) = running.wait();
    assert_eq!(status.code(), Some(130), "{status}\n{said}");
    assert!(said.contains("the same command goes on from here"), "{said}");
    assert_eq!(figures(&said), whole[..1]);
    assert!(here.join("kept/seed-1.safetensors").exists());
    let said = succeed(&mut bench(&["--run", "kept"]));
    assert!(said.contains("seed 0") && said.contains("done before"), "{said}");
    assert_eq!(figures(&said), whole);
}

/// Whether this test was started so, which the programs it starts inherit.
fn hang_ups_are_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[test]
fn a_second_ctrl_c_ends_at_once() {
    let folder = folder();
    let here = folder.path();
    succeed(&mut tiny(here, "whole", STEPS));
    let run = here.join("run");
    let running = start(&mut tiny(here, "run", STEPS), &run);
    running.signal("INT");
    running.signal("INT");
    let (status, said) = running.wait();
    assert_eq!(status.code(), Some(130), "{status}\n{said}");
    succeed(&mut resume(here, "run"));
    assert_same(&run, &here.join("whole"));
}

/// As `nohup` has it.
#[test]
fn a_signal_that_is_ignored_stays_ignored() {
    let folder = folder();
    let here = folder.path();
    succeed(&mut tiny(here, "whole", STEPS));
    let run = here.join("run");
    let trainer = tiny(here, "run", STEPS);
    let mut command = Command::new("sh");
    command.current_dir(here).args(["-c", r#"trap "" HUP; exec "$0" "$@""#]);
    command.arg(trainer.get_program()).args(trainer.get_args());
    let mut running = start(&mut command, &run);
    running.signal("HUP");
    assert!(!running.ended(), "it was too fast, or has ended by the signal");
    let (status, said) = running.wait();
    assert!(status.success() && !said.contains("--resume"), "{status}\n{said}");
    assert_same(&run, &here.join("whole"));
}
