//! TensorBoard's own readers on the event files of a run that was killed and resumed. Skipped, with the reason, where
//! Python lacks them.

use std::fs;
use tests::process::Running;
use tests::runs::{resume, tiny};
use tests::{folder, python, read, succeed};

#[test]
fn tensorboard_reads_a_run_that_was_killed_and_resumed() {
    let folder = folder();
    let here = folder.path();
    let run = here.join("run");
    let mut running = Running::start(&mut tiny(here, "run", 4000));
    running
        .wait_until("some ticks", || fs::read_to_string(run.join("stats.jsonl")).is_ok_and(|s| s.lines().count() > 9));
    running.kill();

    // Killed in the middle of a record.
    let files = fs::read_dir(&run).expect("lists").map(|entry| entry.expect("lists").path());
    let events = files.filter(|path| path.to_string_lossy().contains("tfevents")).collect::<Vec<_>>();
    let [events] = &events[..] else { panic!("{events:?}") };
    let whole = read(events);
    fs::write(events, &whole[..whole.len() - 5]).expect("writes");
    // To a moment after all that it has logged.
    let steps = read(run.join("stats.jsonl")).split(|&byte| byte == b'\n').count() * 5 + 100;
    succeed(resume(here, "run").args(["--steps", &steps.to_string()]));

    let png = read(run.join("reals.png"));
    let side = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().expect("four bytes"));
    let size = format!("{}x{}", side(16), side(20));
    let arguments = [
        "run",
        "--image",
        &format!("fakes={size}"),
        "--image",
        &format!("reals={size}"),
        "--text",
        "recipe=run/recipe.toml",
    ];
    println!("{}", python(here, "check_tensorboard.py", &arguments));
}
