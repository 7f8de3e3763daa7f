//! A run's folder: one trainer at a time, and an order that does not hang on the clock.

use std::fs::{self, File};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tests::process::Running;
use tests::runs::{assert_same, checkpoints, export, resume, tiny};
use tests::{fail, folder, succeed};

const STEPS: u64 = 600;

#[test]
fn a_second_trainer_in_a_folder_is_refused() {
    let folder = folder();
    let here = folder.path();
    let run = here.join("run");
    succeed(&mut tiny(here, "whole", STEPS));

    let mut first = Running::start(&mut tiny(here, "run", STEPS));
    first.wait_until("two checkpoints", || checkpoints(&run).len() > 1);
    let said = fail(&mut resume(here, "run"), 1);
    assert!(said.contains("another trainer"), "{said}");
    assert!(!first.ended(), "the first was too fast for a second");
    let (status, said) = first.wait();
    assert!(status.success(), "{said}");
    assert_same(&run, &here.join("whole"));

    // A lock goes with whoever held it, however that ended.
    let mut killed = Running::start(&mut tiny(here, "killed", STEPS));
    killed.wait_until("two checkpoints", || checkpoints(&here.join("killed")).len() > 1);
    killed.kill();
    succeed(&mut resume(here, "killed"));
    assert_same(&here.join("killed"), &here.join("whole"));
}

#[test]
fn of_two_that_begin_at_once_one_does() {
    let folder = folder();
    let here = folder.path();
    succeed(&mut tiny(here, "whole", 100));
    for round in 0..5 {
        let run = format!("run {round}");
        let both = [(), ()].map(|()| Running::start(&mut tiny(here, &run, 100)));
        let ends = both.map(Running::wait);
        let good = ends.iter().filter(|(status, _)| status.success()).count();
        let refused = ends.iter().filter(|(status, said)| status.code() == Some(1) && said.contains(&run)).count();
        assert_eq!((good, refused), (1, 1), "{ends:?}");
        assert_same(&here.join(&run), &here.join("whole"));
    }
}

#[test]
fn the_order_of_a_run_is_by_count_and_not_by_time() {
    let folder = folder();
    let here = folder.path();
    succeed(&mut tiny(here, "whole", 60));
    for event_file in [false, true] {
        let name = format!("run with a future event file {event_file}");
        let run = here.join(&name);
        succeed(&mut tiny(here, &name, 30));
        // A clock that was ten years ahead and went back, so that the older checkpoint looks newer, too.
        let ahead = Duration::from_secs(10 * 365 * 24 * 3600);
        let future = SystemTime::now() + ahead;
        for entry in fs::read_dir(&run).expect("lists").flatten() {
            File::open(entry.path()).and_then(|file| file.set_modified(future)).expect("sets a time");
        }
        let all = checkpoints(&run);
        assert_eq!(all.len(), 2, "{all:?}");
        File::open(&all[1]).and_then(|file| file.set_modified(UNIX_EPOCH)).expect("sets a time");
        let seconds = future.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if event_file {
            fs::write(run.join(format!("events.out.tfevents.{seconds:010}.kiln.1.0")), b"").expect("writes");
        }

        let said = succeed(resume(here, &name).args(["--steps", "60"]));
        assert!(said.contains("going on at 120 images"), "{said}");
        assert_same(&run, &here.join("whole"));
        if event_file {
            let behind =
                |name: String| name.contains("tfevents") && name > format!("events.out.tfevents.{seconds:010}.l");
            let names = fs::read_dir(&run).expect("lists").flatten();
            let later = names.filter(|entry| behind(entry.file_name().to_string_lossy().into_owned())).count();
            assert_eq!(later, 1, "TensorBoard would not read what came after");
        }
        let file = format!("{event_file}.safetensors");
        succeed(export(tests::trainer(here).args(["--run", &name]), &file));
    }
}
