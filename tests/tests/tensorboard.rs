//! TensorBoard's own readers on the event files of a run that was killed and resumed. Skipped, with the reason, where
//! Python lacks them.

use std::fs;
use std::path::Path;
use tests::{folder, python, read};
use trainer::report::{Log, Tick};
use trainer::watch::tensorboard::Writer;

/// Figures that do not fit `f32`, and what is no number.
const ODD: [f64; 6] = [0., -1.5, 1e300, 1e-300, f64::INFINITY, f64::NAN];

/// Logs a session of a run in both forms.
fn session(run: &Path, after: u64, ticks: impl Iterator<Item = u64>, png: &[u8]) {
    let mut log = Log::open(&run.join("stats.jsonl"), after).expect("opens");
    let mut writer = Writer::create(run, after).expect("creates");
    for images in ticks {
        let mut tick = Tick::default();
        (tick.images, tick.images_per_second) = (images, 1e6 / 3.);
        tick.set("generator_loss".to_owned(), 1. / images as f64);
        tick.set("odd".to_owned(), ODD[images as usize / 100 % ODD.len()]);
        log.write(&tick).expect("writes");
        let others = [
            ("images_per_second", tick.images_per_second),
            ("data_wait_seconds", tick.data_wait_seconds),
            ("grid_seconds", tick.grid_seconds),
        ];
        writer.scalars(images, tick.figures().chain(others)).expect("writes");
        writer.image(images, "fakes", png, size(png), 1).expect("writes");
        if images == 100 {
            let recipe = fs::read_to_string(run.join("recipe.toml")).expect("reads");
            let code: String = recipe.lines().flat_map(|line| ["    ", line, "\n"]).collect();
            writer.text(images, "recipe", &code).expect("writes");
        }
    }
}

/// Width and height of a PNG.
fn size(png: &[u8]) -> (u32, u32) {
    let side = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().expect("four bytes"));
    (side(16), side(20))
}

#[test]
fn tensorboard_reads_a_run_that_was_killed_and_resumed() {
    let folder = folder();
    let here = folder.path();
    fs::write(here.join("recipe.toml"), "name = \"digits\"\n\n[data]\nfolder = \"bücher\"\n").expect("writes");
    let png = read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/digits/samples.png"));

    // Killed in the middle of a record, 400 images after its last checkpoint at 1,000; resumed.
    session(here, 0, (1..=14).map(|tick| tick * 100), &png);
    let files = fs::read_dir(here).expect("lists").map(|entry| entry.expect("lists").path());
    let events = files.filter(|path| path.to_string_lossy().contains("tfevents")).collect::<Vec<_>>();
    let [events] = &events[..] else { panic!("{events:?}") };
    let whole = read(events);
    fs::write(events, &whole[..whole.len() - 5]).expect("writes");
    session(here, 1000, (11..=25).map(|tick| tick * 100), &png);

    let (width, height) = size(&png);
    let image = format!("fakes={width}x{height}");
    println!("{}", python(here, "check_tensorboard.py", &[".", "--image", &image, "--text", "recipe=recipe.toml"]));
}
