//! Memory stays where it is after opening.
#![cfg(target_os = "linux")]

mod common;

use common::{draw, open};
use runtime::{Options, Request};

/// Bytes of the process in memory.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("reads");
    let pages: usize = statm.split(' ').nth(1).and_then(|n| n.parse().ok()).expect("a number of pages");
    // The page size of every system that has been seen to run this; a larger one makes the test stricter, not weaker.
    pages * 4096
}

// The only test of this file: another one would use memory beside it.
#[test]
fn memory_stays_flat() {
    let mut generators =
        ["trivial.onnx", "dcgan-f16.onnx", "dcgan-f32.onnx"].map(|model| open(model, &Options::default()));
    let mut sample = |calls: u64| {
        for generator in &mut generators {
            for index in 0..calls {
                let batch = [1, 2, 16, 64][index as usize % 4];
                draw::<u8>(generator, &Request::seed(index), batch);
            }
        }
    };
    sample(200);
    let before = resident();
    sample(4000);
    let grown = resident().saturating_sub(before);
    assert!(grown < 1 << 20, "{} KB more after 12,000 calls", grown / 1024);
    // The measure measures.
    let held = vec![1u8; 8 << 20];
    assert!(resident() > before + (4 << 20), "{}", held.len());
}
