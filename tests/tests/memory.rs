//! Memory that a run holds: the same after thousands of steps, and little beside the size of the data.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tests::process::Running;
use tests::runs::{TINY, tiny};
use tests::{folder, trainer};

const MEGABYTE: u64 = 1_000_000;

/// Resident bytes while a command runs to its good end, every few milliseconds.
fn residents(command: &mut Command) -> Vec<u64> {
    let (mut running, mut all) = (Running::start(command), Vec::new());
    while !running.ended() {
        all.extend(running.resident());
        std::thread::sleep(Duration::from_millis(5));
    }
    let (status, said) = running.wait();
    assert!(status.success(), "{command:?}: {said}");
    assert!(all.len() > 20, "{command:?} was too fast to be watched");
    all
}

fn highest(residents: &[u64]) -> u64 {
    residents.iter().copied().max().unwrap_or(0)
}

#[test]
fn memory_is_flat_over_five_thousand_steps_with_grids() {
    let folder = folder();
    // A grid every ten steps.
    let mut command = tiny(folder.path(), "run", 5000);
    let all = residents(command.args(["--set", "training.tick_kimg=0.04", "--set", "training.checkpoint_kimg=1"]));
    let third = all.len() / 3;
    let [before, after] = [&all[third..2 * third], &all[2 * third..]].map(highest);
    println!("{} MB in the second third, {} MB in the last", before / MEGABYTE, after / MEGABYTE);
    assert!(after <= before + before / 10, "{before} bytes in the second third, {after} in the last");
}

#[test]
fn data_is_not_held_in_memory() {
    let [small, large] = [1, 300].map(peak);
    println!("{} MB with 1 MB of data, {} MB with 300 MB", small / MEGABYTE, large / MEGABYTE);
    assert!(large < small + 250 * MEGABYTE, "{large} bytes with 300 MB of data, {small} with 1 MB");
}

#[test]
#[ignore = "reads 8 GB"]
fn data_larger_than_memory_is_not_held_in_memory() {
    let peak = peak(8000);
    println!("{} MB with 8 GB of data", peak / MEGABYTE);
    assert!(peak < 600 * MEGABYTE, "{peak} bytes with 8 GB of data");
}

/// The most memory of a run that reads so much data once for its hash, and then images anywhere in it.
fn peak(megabytes: u64) -> u64 {
    let folder = folder();
    let here = folder.path();
    sparse_pack(&here.join("pack.safetensors"), megabytes * MEGABYTE / 784);
    let run = ["--data", "pack.safetensors", "--run", "run", "--steps", "300", "--batch", "64"];
    let quiet = ["--set", "training.tick_kimg=1", "--set", "training.checkpoint_kimg=1000"];
    highest(&residents(trainer(here).args(TINY).args(quiet).args(run)))
}

/// A pack of `images` black images, which takes no room on the disk.
fn sparse_pack(path: &Path, images: u64) {
    let bytes = images * 784;
    let mut header =
        format!(r#"{{"images":{{"dtype":"U8","shape":[{images},28,28,1],"data_offsets":[0,{bytes}]}}}}"#).into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut file = File::create(path).expect("creates");
    file.write_all(&(header.len() as u64).to_le_bytes()).and_then(|()| file.write_all(&header)).expect("writes");
    file.set_len(8 + header.len() as u64 + bytes).expect("has a length");
}
