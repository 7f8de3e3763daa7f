//! Disks that are full or read-only: told in words, and no reason to lose a run.
#![cfg(target_os = "linux")]
#![allow(clippy::print_stdout, reason = "a test says what it came to")]

use std::path::{Path, PathBuf};
use tests::disk::Disk;
use tests::process::Running;
use tests::runs::{assert_same, assert_tidy, checkpoints, export, log, resume, tiny};
use tests::{folder, read, succeed, trainer};

const STEPS: u64 = 20;
/// Room for all that a run leaves.
const ROOMY: u64 = 64_000;

/// A whole run, and what it exports, to compare with.
struct Whole {
    folder: tempfile::TempDir,
}

impl Whole {
    fn new() -> Self {
        let folder = folder();
        succeed(export(&mut tiny(folder.path(), "whole", STEPS), "whole.safetensors"));
        Self { folder }
    }

    fn run(&self) -> PathBuf {
        self.folder.path().join("whole")
    }

    fn exported(&self) -> Vec<u8> {
        read(self.folder.path().join("whole.safetensors"))
    }
}

#[test]
fn full_disks_lose_no_run() {
    let whole = Whole::new();
    // From no room for a recipe to room for nearly all.
    for kilobytes in [4, 100, 400, 800] {
        full(kilobytes, &whole);
    }
}

#[test]
#[ignore = "takes a minute"]
fn disks_that_are_full_anywhere_lose_no_run() {
    let whole = Whole::new();
    for kilobytes in (100..=3000).step_by(100) {
        full(kilobytes, &whole);
    }
}

fn full(kilobytes: u64, whole: &Whole) {
    let Some(mut disk) = Disk::new(kilobytes) else { return };
    let (here, inside) = (whole.folder.path(), disk.mount().join("run"));
    let outside = disk.path().join("run");
    let exported = here.join(format!("full {kilobytes}.safetensors"));

    let (code, said) = end(&disk, export(&mut tiny(here, &inside, STEPS), &exported));
    let place = format!("a disk of {kilobytes} kB: code {code:?}\n{said}");
    println!("{kilobytes} kB: code {code:?}, {} checkpoints", checkpoints(&outside).len());
    let begun = outside.join("recipe.toml").exists();
    let complete = begun && last(&outside) == last(&whole.run());
    if !complete || code != Some(0) {
        assert!(said.contains("No space left") && said.contains(&*inside.to_string_lossy()), "{place}");
    }
    // What was begun is trained to its end, and goes to another disk.
    if begun {
        assert!(exported.exists(), "nothing is exported from {place}");
        assert!(read(&exported) == whole.exported(), "another generator from {place}");
    } else {
        assert_eq!(code, Some(1), "{place}");
    }
    // What is there is whole.
    for checkpoint in checkpoints(&outside) {
        let copy = tempfile::tempdir_in(here).expect("a folder");
        for path in [&outside.join("recipe.toml"), &checkpoint] {
            std::fs::copy(path, copy.path().join(path.file_name().unwrap_or_default())).expect("copies");
        }
        succeed(export(trainer(here).arg("--run").arg(copy.path()), copy.path().join("gen.safetensors")));
    }

    // With room again it goes on, and nothing shows but the lines and grids that were lost.
    disk.remount(&format!("size={ROOMY}k"));
    let mut again = if begun { resume(here, &inside) } else { tiny(here, &inside, STEPS) };
    let (code, said) = end(&disk, export(&mut again, &exported));
    assert_eq!(code, Some(0), "with room again after {place}, then\n{said}");
    assert!(read(&exported) == whole.exported(), "another generator with room again after {place}");
    assert_tidy(&outside);
    if begun {
        assert!(last(&outside) == last(&whole.run()), "another state with room again after {place}");
        let all = log(&whole.run());
        assert!(log(&outside).iter().all(|line| all.contains(line)), "another log with room again after {place}");
    } else {
        assert_same(&outside, &whole.run());
    }
}

#[test]
fn read_only_folders_are_read() {
    let Some(mut disk) = Disk::new(ROOMY) else { return };
    let whole = Whole::new();
    let here = whole.folder.path();
    let (inside, outside) = (disk.mount().join("run"), disk.path().join("run"));
    assert_eq!(end(&disk, &mut tiny(here, &inside, STEPS)).0, Some(0));
    disk.remount("ro");

    let exported = here.join("read only.safetensors");
    let mut command = trainer(here);
    let (code, said) = end(&disk, export(command.arg("--run").arg(&inside), &exported));
    assert!(code == Some(0) && !said.contains("error:"), "{code:?}: {said}");
    assert!(read(&exported) == whole.exported(), "another generator from a read-only folder");

    let new = disk.mount().join("new");
    let mut longer = resume(here, &inside);
    longer.args(["--steps", "40"]);
    for (mut command, folder) in [(tiny(here, &new, STEPS), &new), (longer, &inside)] {
        let (code, said) = end(&disk, &mut command);
        assert!(code == Some(1) && said.contains("Read-only") && said.contains(&*folder.to_string_lossy()), "{said}");
        assert!(!said.contains("training digits") && !said.contains("panicked"), "{said}");
    }
    assert_same(&outside, &whole.run());
}

/// How a command ends where the disk is seen, and what it says: never by a panic or a signal.
fn end(disk: &Disk, command: &mut std::process::Command) -> (Option<i32>, String) {
    let (status, said) = Running::start(&mut disk.enter(command)).wait();
    assert!(matches!(status.code(), Some(0 | 1)) && !said.contains("panicked"), "{command:?}: {status}\n{said}");
    (status.code(), said)
}

/// Name and content of the last checkpoint.
fn last(run: &Path) -> Option<(PathBuf, Vec<u8>)> {
    let path = checkpoints(run).pop()?;
    Some((path.file_name()?.into(), read(&path)))
}
