//! Sampling makes no allocation on Rust's heap.

use half::f16;
use runtime::{Generator, Options, Pixel};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

static CALLS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn sample<T: Pixel>(generator: &mut Generator, index: u64, out: &mut [T]) {
    if let Err(e) = generator.sample(11, index, out) {
        panic!("{e}");
    }
}

// The only test of this file: another one would allocate beside it.
#[test]
fn sampling_allocates_nothing() {
    for model in ["dcgan-f16.onnx", "dcgan-f32.onnx"] {
        let path = format!("{}/tests/fixtures/{model}", env!("CARGO_MANIFEST_DIR"));
        let mut generator = Generator::open(path, &Options::default()).unwrap_or_else(|e| panic!("{e}"));
        let len = generator.info().image.len();
        let (mut bytes, mut halves, mut singles) =
            (vec![0u8; 64 * len], vec![f16::ZERO; 64 * len], vec![0f32; 64 * len]);
        for batch in [1, 5, 64] {
            generator.warm_up(batch).unwrap_or_else(|e| panic!("{e}"));
        }
        let before = CALLS.load(Ordering::Relaxed);
        for index in 0..50 {
            for batch in [1, 64, 5] {
                sample(&mut generator, index, &mut bytes[..batch * len]);
                sample(&mut generator, index, &mut halves[..batch * len]);
                sample(&mut generator, index, &mut singles[..batch * len]);
            }
        }
        assert_eq!(CALLS.load(Ordering::Relaxed) - before, 0, "{model}");
        // The counter counts.
        drop(std::hint::black_box(vec![0u8; 100]));
        assert!(CALLS.load(Ordering::Relaxed) > before);
    }
}
