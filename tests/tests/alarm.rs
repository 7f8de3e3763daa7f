//! Games that go wrong are told in words, and stop where that is asked for.

use std::path::Path;
use tests::runs::{COLLAPSE, TICK, checkpoints, log, resume, tiny};
use tests::{fail, folder, python, read, succeed, trainer};

#[test]
fn a_collapse_is_told_once_and_stands_in_the_log() {
    let folder = folder();
    let here = folder.path();
    let said = succeed(tiny(here, "run", 200).args(COLLAPSE));
    assert_eq!(said.matches("nearly the same image").count(), 1, "{said}");
    assert!(said.contains("alarm at") && said.contains("diversity 0.") && said.contains("r1"), "{said}");
    let log = log(&here.join("run"));
    let alarmed = log.iter().filter(|line| line["alarm_collapse"].as_f64() == Some(1.)).count();
    assert!(alarmed > 1 && alarmed < log.len(), "{alarmed} of {}", log.len());
}

#[test]
fn a_run_stops_at_an_alarm_where_it_is_asked_to_and_can_go_on() {
    let folder = folder();
    let here = folder.path();
    let said = fail(tiny(here, "run", 200).args(COLLAPSE).args(["--on-alarm", "stop"]), 1);
    assert!(said.contains("nearly the same image") && said.contains("--resume"), "{said}");
    let last = log(&here.join("run")).pop().expect("a line");
    assert!(last["images"].as_u64() < Some(800), "{last}");
    // It is told again only if it is better first.
    let said = succeed(resume(here, "run").args(["--on-alarm", "warn"]));
    assert!(!said.contains("nearly the same image"), "{said}");
}

/// What was only told is acted upon where that is asked for later.
#[test]
fn a_trouble_that_lasts_is_met_by_what_is_asked_for_when_a_run_goes_on() {
    let folder = folder();
    let here = folder.path();
    fail(tiny(here, "run", 200).args(COLLAPSE).args(["--on-alarm", "stop"]), 1);
    let said = succeed(resume(here, "run").args(["--on-alarm", "rollback"]));
    assert!(said.contains("nearly the same image") && said.contains("rolled back to"), "{said}");
}

/// Remedies race, the evidence is written down, and the run ends with a generator that makes different images.
#[test]
fn a_run_that_is_to_heal_ends_well() {
    let folder = folder();
    let here = folder.path();
    let said = succeed(tiny(here, "run", 300).args(COLLAPSE).args(["--on-alarm", "heal"]));
    assert!(said.contains("healing: going on with"), "{said}");
    let run = here.join("run");
    let evidence = String::from_utf8(read(run.join("healing.jsonl"))).expect("text");
    let races: Vec<serde_json::Value> =
        evidence.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let (race, entries) = (&races[0], races[0]["entries"].as_array().expect("entries"));
    assert!(race["trouble"] == "collapse" && entries.len() >= 2, "{race}");
    let distance = |entry: &serde_json::Value| entry["distance"].as_f64();
    let winner = entries.iter().find(|entry| entry["remedy"] == race["winner"]).expect("the winner");
    assert!(entries.iter().filter_map(distance).all(|other| Some(other) >= distance(winner)), "{race}");
    assert!(String::from_utf8(read(run.join("changes.jsonl"))).expect("text").contains("optimizer"));
    // What was logged of the way that was given up is aside, and no part of the log.
    let from = if winner["remedy"].as_str().is_some_and(|name| name.contains("beginning")) {
        Some(0)
    } else {
        race["from"].as_u64()
    };
    let given_up = |line: &serde_json::Value| {
        line["images"].as_u64() > from && line["images"].as_u64() <= winner["images"].as_u64()
    };
    assert!(!log(&run).iter().any(given_up), "{race}");
    let aside = std::fs::read_dir(&run).expect("lists").flatten().map(|entry| entry.file_name());
    assert!(aside.into_iter().any(|name| name.to_string_lossy().starts_with("stats-before-")));
    let last = log(&run).pop().expect("a line");
    assert!(last["images"].as_u64() == Some(1200) && last["diversity"].as_f64() > Some(5.), "{last}");
    // It is a run like others: it can be made longer.
    succeed(resume(here, "run").args(["--steps", "310"]));
    // TensorBoard shows the way that was taken, and nothing of the one that was given up.
    println!("{}", python(here, "check_tensorboard.py", &["run"]));
}

#[test]
fn a_run_that_rolls_back_halves_its_rates() {
    let folder = folder();
    let here = folder.path();
    let said = succeed(tiny(here, "run", 200).args(COLLAPSE).args(["--on-alarm", "rollback"]));
    assert!(said.contains("rolled back to") && said.contains("with half the rates"), "{said}");
    let recipe = String::from_utf8(read(here.join("run/recipe.toml"))).expect("text");
    assert!(recipe.contains("lr = 0.5") || recipe.contains("lr = 0.25") || recipe.contains("lr = 0.125"), "{recipe}");
}

/// A game that goes well first: rates that grow.
const LATER: [&str; 6] = [
    "--set",
    "optimizer.generator.lr={shape=\"exponential\",from=1e-3,to=1.0,kimg=0.4}",
    "--set",
    "optimizer.generator.beta1=0.9",
    "--set",
    "optimizer.discriminator.lr=1e-9",
];

/// The way back does not lead to the beginning, though few checkpoints are kept and there are several a tick.
#[test]
fn a_run_turns_back_to_a_checkpoint_from_before_the_trouble() {
    let folder = folder();
    let here = folder.path();
    let said = succeed(tiny(here, "run", 300).args(LATER).args(["--on-alarm", "rollback", "--set", "training.keep=1"]));
    let number = |text: &str| -> u64 {
        let rest = said.split(text).nth(1).unwrap_or_else(|| panic!("no {text:?} in {said}"));
        rest.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{said}"))
    };
    let (told, back) = (number("alarm at "), number("rolled back to "));
    assert!(back > 0 && back + TICK <= told && told <= back + 4 * TICK, "told at {told}, back to {back}");
    println!("{}", python(here, "check_tensorboard.py", &["run"]));
    let changes = String::from_utf8(read(here.join("run/changes.jsonl"))).expect("text");
    assert!(changes.starts_with(&format!("{{\"images\":{back},")), "{changes}");
}

/// An alarm at the last tick is one, too: nothing is exported that somebody wanted to look at first.
#[test]
fn a_run_stops_at_an_alarm_at_its_end() {
    let folder = folder();
    let here = folder.path();
    let run = |name: &str, steps: u64| {
        let mut run = tiny(here, name, steps);
        run.args(COLLAPSE).args(["--on-alarm", "stop"]);
        run
    };
    fail(&mut run("first", 200), 1);
    let at = log(&here.join("first")).last().and_then(|line| line["images"].as_u64()).expect("a tick");
    let said = fail(run("second", at / 4).args(["--export", "gen.safetensors"]), 1);
    assert!(said.contains("--resume") && !here.join("gen.safetensors").exists(), "{said}");
    assert!(checkpoints(&here.join("second")).iter().any(|path| path.to_string_lossy().contains(&at.to_string())));
}

/// What was learned is exported as it was learned.
#[test]
fn an_export_does_not_tell_of_another_recipe() {
    let folder = folder();
    let here = folder.path();
    succeed(&mut tiny(here, "run", 4));
    for (change, key) in
        [(["--steps", "8"], "training.kimg"), (["--set", "optimizer.generator.lr=0.1"], "optimizer.generator.lr")]
    {
        let export = ["--run", "run", "--export", "gen.safetensors", "--force"];
        let said = fail(trainer(here).args(export).args(change), 1);
        assert!(said.contains(key) && said.contains("--resume"), "{said}");
    }
}

#[test]
fn a_discriminator_that_has_won_is_told() {
    let folder = folder();
    let mut run = tiny(folder.path(), "run", 400);
    run.args(["--set", "optimizer.generator.lr=1e-9", "--set", "optimizer.discriminator.lr=5e-3"]);
    let said = succeed(&mut run);
    assert!(said.contains("the discriminator knows all images") && said.contains("real_sign"), "{said}");
}

#[test]
fn the_guide_to_objectives_is_printed() {
    let said = succeed(trainer(folder().path()).arg("objectives"));
    for words in ["`relativistic-pairing`", "`wgan-gp`", "`instance_noise`", "What the numbers in the log should do"] {
        assert!(said.contains(words), "{words}");
    }
}

/// The images at the tick at which a run that collapses is told so.
fn images_at_the_alarm(here: &Path) -> u64 {
    fail(tiny(here, "found", 200).args(COLLAPSE).args(["--on-alarm", "stop"]), 1);
    log(&here.join("found")).pop().expect("a line")["images"].as_u64().expect("a number")
}

/// Also where the alarm comes at the last tick of all.
#[test]
fn after_three_turns_alarms_are_told_and_the_end_is_kept() {
    let folder = folder();
    let here = folder.path();
    let at = images_at_the_alarm(here);
    succeed(tiny(here, "run", 1).args(COLLAPSE).args(["--on-alarm", "rollback"]));
    std::fs::write(here.join("run/healing.jsonl"), "{\"winner\":\"x\"}\n".repeat(3)).expect("writes");
    let said = succeed(resume(here, "run").args(["--steps", &(at / 4).to_string()]));
    assert!(said.contains("from now on they are only told") && said.contains("nearly the same image"), "{said}");
    let last = checkpoints(&here.join("run")).pop().expect("a checkpoint");
    assert!(last.ends_with(format!("checkpoint-{at:09}.safetensors")), "{last:?}");
}

/// A race takes what is left of a run but its last step: a run that was healed ends with a line in its log.
#[test]
fn a_run_that_is_healed_at_its_end_has_an_end() {
    let folder = folder();
    let here = folder.path();
    let at = images_at_the_alarm(here);
    let said = succeed(tiny(here, "run", at / 4).args(COLLAPSE).args(["--on-alarm", "heal"]));
    assert!(said.contains("healing: going on with"), "{said}");
    assert_eq!(log(&here.join("run")).pop().expect("a line")["images"].as_u64(), Some(at));
}
