//! Pictures as a user has them: a folder becomes a pack.

use std::path::Path;
use std::process::Command;
use tests::{fail, folder, succeed};

/// A picture of 8 x 8 as the simplest of all formats has it.
fn picture(number: usize) -> Vec<u8> {
    let [low, high] = [number as u8, (number >> 8) as u8];
    [b"P6 8 8 255\n".to_vec(), [low, high, 7].repeat(64)].concat()
}

/// A folder with so many of them, in two folders.
fn pictures(root: &Path, count: usize) {
    for class in ["cat", "dog"] {
        std::fs::create_dir_all(root.join(class)).expect("makes");
    }
    for number in 0..count {
        let class = ["cat", "dog"][number % 2];
        std::fs::write(root.join(format!("{class}/{number:04}")), picture(number)).expect("writes");
    }
}

/// `trainer pack` with a cache folder of its own.
fn pack(folder: &Path) -> Command {
    let mut command = tests::trainer(folder);
    command.env("KILN_CACHE", folder.join("cache")).arg("pack");
    command
}

#[test]
fn a_folder_becomes_a_pack_and_is_not_decoded_again() {
    let folder = folder();
    let here = folder.path();
    pictures(&here.join("animals"), 20);
    let said = succeed(pack(here).args(["animals", "a.safetensors"]));
    for words in [
        "20 pictures, all of 8x8",
        "2 classes by folder: cat 10, dog 10",
        "kept for the next run",
        "20 images of 2 classes",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let again = succeed(pack(here).args(["animals", "b.safetensors"]));
    assert_eq!(said.replace("a.safetensors", "b.safetensors"), again);
    assert_eq!(tests::read(here.join("a.safetensors")), tests::read(here.join("b.safetensors")));
    // A pack of a pack is the same but for where it comes from.
    let said = succeed(pack(here).args(["a.safetensors", "c.safetensors", "--size", "4", "--channels", "1"]));
    assert!(said.contains("4 x 4 x 1: 20 images of 2 classes"), "{said}");

    let said =
        succeed(pack(here).args(["animals", "d.safetensors", "--size", "12x6", "--fit", "pad", "--labels", "none"]));
    assert!(said.contains("padded") && said.contains("6 x 12 x 3: 20 images without labels"), "{said}");
}

#[test]
fn what_is_broken_is_named_with_the_flag_that_goes_on() {
    let folder = folder();
    let here = folder.path();
    pictures(&here.join("animals"), 20);
    std::fs::write(here.join("animals/cat/empty.jpg"), b"").expect("writes");
    let said = fail(pack(here).args(["animals", "a.safetensors"]), 1);
    assert!(said.contains("cat/empty.jpg is empty") && said.contains("--on-bad-file skip"), "{said}");
    assert!(!here.join("a.safetensors").exists());
    let said = succeed(pack(here).args(["animals", "a.safetensors", "--on-bad-file", "skip"]));
    assert!(said.contains("20 images of 2 classes"), "{said}");
}

/// 500 files with room for 64 open ones, and one thread.
#[cfg(unix)]
#[test]
fn few_files_are_open_at_once() {
    let folder = folder();
    let here = folder.path();
    pictures(&here.join("animals"), 500);
    let mut command = pack(here);
    command.args(["animals", "a.safetensors"]);
    let mut shell = Command::new("sh");
    shell.current_dir(here).env("KILN_CACHE", here.join("cache")).args(["-c", "ulimit -n 64 && exec \"$@\"", "sh"]);
    shell.arg(command.get_program()).args(command.get_args());
    let said = succeed(&mut shell);
    assert!(said.contains("500 images"), "{said}");
    // One thread, for which everything that waits waits forever.
    succeed(pack(here).env("RAYON_NUM_THREADS", "1").args(["animals", "b.safetensors", "--fit", "stretch"]));
}

/// Two runs at once: one makes the pack, and both have it.
#[test]
fn of_two_runs_one_waits_for_the_other() {
    let folder = folder();
    let here = folder.path();
    pictures(&here.join("animals"), 2000);
    let start = |name: &str| tests::process::Running::start(pack(here).args(["animals", name]));
    let ends = [start("a.safetensors"), start("b.safetensors")].map(|run| run.wait());
    assert!(ends.iter().all(|(status, _)| status.success()), "{ends:?}");
    assert_eq!(tests::read(here.join("a.safetensors")), tests::read(here.join("b.safetensors")));
}
