//! The first generators of a process, opened by many threads at once. Alone in its file, as the first ones are what counts.

use runtime::{Generator, Options};
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn the_first_generators_of_a_process_are_opened_at_once() {
    const THREADS: usize = 2;
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/dcgan-f32.onnx");
    // What follows must meet, not the loading.
    runtime::engine_info().expect("a library");
    let ready = AtomicUsize::new(0);
    let open = || {
        ready.fetch_add(1, Ordering::SeqCst);
        // Threads that are woken are not at it together.
        while ready.load(Ordering::SeqCst) < THREADS {
            std::hint::spin_loop();
        }
        let mut generator = Generator::open(model, &Options::default()).unwrap_or_else(|e| panic!("{e}"));
        let mut image = vec![0u8; generator.info().image.len()];
        generator.sample(7, 0, &mut image).expect("draws");
        image
    };
    let images: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(open)).collect();
        threads.into_iter().map(|thread| thread.join().expect("opens")).collect()
    });
    assert!(images.iter().all(|image| *image == images[0]));
}
