//! The program `sample`, writing a folder of pictures.

use runtime::{Generator, Options, Request, Tour};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let model = fixture("dcgan-f16.onnx");
    let arguments = arguments.iter().map(|a| if *a == "MODEL" { model.as_str() } else { a });
    let mut command = Command::new(env!("CARGO_BIN_EXE_sample"));
    command.current_dir(folder).args(arguments);
    command
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

fn succeeds(folder: &Path, arguments: &[&str]) -> String {
    let output = command(folder, arguments).output().expect("starts");
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    said(&output)
}

fn fails(folder: &Path, arguments: &[&str], code: i32, words: &str) {
    let output = command(folder, arguments).output().expect("starts");
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", said(&output));
    assert!(said(&output).contains(words), "{arguments:?}: {} lacks {words:?}", said(&output));
}

/// The pixels of every picture, all of which are whole, by their names.
fn pictures(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("lists") {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).expect("lists");
        let name = name.into_string().expect("UTF-8");
        if name == ".sample.txt" {
            continue;
        }
        assert!(name.ends_with(".png") && !name.starts_with('.'), "{name} is left");
        all.insert(name, pixels(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())));
    }
    all
}

fn pixels(path: &Path) -> Result<Vec<u8>, png::DecodingError> {
    let file = std::io::BufReader::new(std::fs::File::open(path).expect("opens"));
    let mut reader = png::Decoder::new(file).read_info()?;
    let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
    reader.next_frame(&mut pixels)?;
    reader.finish()?;
    Ok(pixels)
}

/// What the crate draws, with the channels of a pixel side by side.
fn expected(request: &Request<'_>, n: usize) -> Vec<Vec<u8>> {
    let mut generator = Generator::open(fixture("dcgan-f16.onnx"), &Options::default()).expect("opens");
    let mut out = vec![0u8; n * 3 * 20 * 12];
    generator.draw(request, &mut out).expect("draws");
    let image = |image: &[u8]| (0..720).map(|i| image[i % 3 * 240 + i / 3]).collect();
    out.chunks_exact(720).map(image).collect()
}

#[test]
fn seeds_are_drawn_one_by_one_and_walked_through() {
    let folder = tempfile::tempdir().expect("a folder");
    let seeds = [9, 1, 5, 6];
    succeeds(folder.path(), &["MODEL", "--seeds", "9,1,5..7", "--out", "a", "--batch", "3"]);
    let (found, each) = (pictures(&folder.path().join("a")), expected(&Request::seeds(&seeds), 4));
    assert_eq!(found.len(), 4);
    for (seed, expected) in seeds.iter().zip(&each) {
        assert!(found[&format!("{seed:06}.png")] == *expected, "named by its seed {seed}");
    }
    // More of them, some of which are there.
    let words = succeeds(folder.path(), &["MODEL", "--seeds", "4..8", "--out", "a"]);
    assert!(words.contains("4 images of seeds 4..8 in a (2 of them there already"), "{words}");
    assert_eq!(pictures(&folder.path().join("a")).len(), 6);
    // The same one several times, by several threads.
    succeeds(folder.path(), &["MODEL", "--seeds", "3,3,3,3,3,3", "--out", "a", "--threads", "3", "--batch", "1"]);
    assert_eq!(pictures(&folder.path().join("a")).len(), 7);

    for (options, tour, n) in [
        (&["--seeds", "9,1,5..7", "--walk", "3"][..], Tour::seeds(&seeds, 3), 10),
        (&["--seeds", "9,1,5..7", "--walk", "3", "--loop"], Tour::seeds(&seeds, 3).closed(), 12),
    ] {
        let out = format!("walk{n}");
        succeeds(folder.path(), &[&["MODEL", "--out", &out, "--threads", "2"], options].concat());
        let frames: Vec<_> = pictures(&folder.path().join(out)).into_values().collect();
        assert!(frames == expected(&Request::tour(tour), n), "{options:?}");
    }
    for (options, code, words) in [
        (&["--seeds", "1,x"][..], 2, "\"x\" is no seed and no range"),
        (&["--seeds", "1", "--seed", "2"], 2, "--seed"),
        (&["--seeds", "1,2", "--loop"], 2, "--walk"),
        (&["--walk", "3", "--loop"], 2, "--seeds"),
        (&["--seeds", "1,2", "--count", "3"], 1, "--count is 3, and there are 2 seeds"),
        (&["--seeds", "1", "--walk", "3"], 1, "--walk goes through 1 seeds, allowed are 2 to"),
        (&["--seeds", "1,2", "--walk", "3", "--count", "5"], 1, "the walk has frames 0 to 3, and ends before"),
        (&["--seeds", "1,2", "--walk", "3", "--first-index", "4"], 1, "the walk has frames 0 to 3, and ends before"),
        (&["--truncation", "0"], 1, "truncation"),
        (&["--threads", "0"], 2, "--threads"),
        (&["--threads", "2000", "--count", "1"], 2, "1..=1024"),
    ] {
        fails(folder.path(), &[&["MODEL", "--out", "none/of/it"], options].concat(), code, words);
    }
    assert!(!folder.path().join("none/of/it").exists(), "nothing is left where nothing came of it");
}

#[test]
fn any_threads_give_the_same_everywhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let draw = |threads: &str, batch: &str| {
        let to = ["--grid", "a.png", "--raw", "a.raw", "--out", "a"];
        let of = ["MODEL", "--count", "50", "--threads", threads, "--batch", batch];
        succeeds(folder.path(), &[&of[..], &to].concat());
        let read = |name: &str| std::fs::read(folder.path().join(name)).expect("reads");
        let found = (read("a.png"), read("a.raw"), pictures(&folder.path().join("a")));
        std::fs::remove_dir_all(folder.path().join("a")).expect("removes");
        found
    };
    let one = draw("1", "64");
    assert_eq!((one.1.len(), one.2.len()), (50 * 720, 50));
    for (threads, batch) in [("2", "7"), ("5", "1"), ("64", "64")] {
        assert!(draw(threads, batch) == one, "{threads} threads, {batch} a call");
    }
}

#[test]
fn a_run_goes_on_with_what_is_missing_or_not_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a");
    let at = |number: usize| path.join(format!("{number:06}.png"));
    succeeds(folder.path(), &["MODEL", "--seed", "7", "--count", "20", "--out", "a"]);
    let whole = pictures(&path);
    let bytes = |number: usize| std::fs::read(at(number)).expect("reads");
    // Missing, empty, cut off, changed, all zeros, of another size, and another thing.
    std::fs::remove_file(at(1)).expect("removes");
    let cut = bytes(4).len() - 9;
    let mut changed = bytes(5);
    changed[cut / 2] ^= 4;
    let other = fixture("sprites-f16.onnx");
    succeeds(folder.path(), &[&other, "--count", "1", "--out", "b"]);
    for (number, content) in [
        (3, Vec::new()),
        (4, bytes(4)[..cut].to_vec()),
        (5, changed),
        (6, vec![0; 500]),
        (7, std::fs::read(folder.path().join("b/000000.png")).expect("reads")),
        (8, b"no picture".to_vec()),
    ] {
        std::fs::write(at(number), content).expect("writes");
    }
    // What a run that was killed leaves.
    std::fs::write(path.join(".000009.png.1.part"), "half").expect("writes");
    let times = |number: usize| std::fs::metadata(at(number)).and_then(|meta| meta.modified()).expect("a time");
    let kept = [0, 2, 9, 19];
    let before = kept.map(times);
    let words = succeeds(folder.path(), &["MODEL", "--seed", "7", "--count", "25", "--out", "a", "--batch", "4"]);
    assert!(words.contains("25 images of seed 7 in a (13 of them there already"), "{words}");
    let after = pictures(&path);
    assert_eq!((after.len(), kept.map(times)), (25, before), "what was whole was not touched");
    assert!(whole.iter().all(|(name, pixels)| after[name] == *pixels));
    assert!(after.into_values().eq(expected(&Request::seed(7), 25)));
    // Whatever else is written has all of them, of which the folder lacks one.
    std::fs::remove_file(at(3)).expect("removes");
    succeeds(folder.path(), &["MODEL", "--seed", "7", "--count", "25", "--out", "a", "--raw", "a.raw"]);
    succeeds(folder.path(), &["MODEL", "--seed", "7", "--count", "25", "--raw", "b.raw"]);
    let raw = |name: &str| std::fs::read(folder.path().join(name)).expect("reads");
    assert!(raw("a.raw").len() == 25 * 720 && raw("a.raw") == raw("b.raw"));
    assert_eq!(pictures(&path).len(), 25);
}

/// What they are of is told in whole, however long a list of seeds is.
#[test]
fn a_long_tour_is_gone_on_with() {
    let folder = tempfile::tempdir().expect("a folder");
    let seeds = (0..20_000).map(|i| (10_000 + 2 * i).to_string()).collect::<Vec<_>>().join(",");
    let tour = ["MODEL", "--seeds", &seeds, "--walk", "1", "--count", "3", "--out", "a"];
    succeeds(folder.path(), &tour);
    let said = succeeds(folder.path(), &tour);
    assert!(said.contains("3 of them there already"), "{said}");
}

#[test]
fn pictures_of_something_else_are_never_mixed() {
    let folder = tempfile::tempdir().expect("a folder");
    let base = ["MODEL", "--count", "3", "--out", "a"];
    succeeds(folder.path(), &[&base[..], &["--seed", "7"]].concat());
    let before = pictures(&folder.path().join("a"));
    for (options, words) in [
        (&["--seed", "8"][..], ".sample.txt has \"latents    seed 7\", asked for is \"latents    seed 8\"; choose"),
        (&["--seed", "7", "--truncation", "0.5"], ".sample.txt has nothing, asked for is \"truncation 0.5\""),
        (&["--seeds", "1..4"], "asked for is \"latents    index 0 of the seed that is the number\""),
        (&["--seed", "7", "--walk", "3"], "asked for is \"latents    seed 7, a walk of 3 steps\""),
        (&["--seed", "7", "--fast-start"], ".sample.txt has nothing, asked for is \"start      fast\""),
    ] {
        fails(folder.path(), &[&base[..], options].concat(), 1, words);
    }
    let other = fixture("dcgan-f32.onnx");
    fails(folder.path(), &[&other, "--seed", "7", "--out", "a"], 1, ".sample.txt has \"generator ");
    let weights = fixture("pair.safetensors");
    succeeds(folder.path(), &[&other, "--count", "1", "--out", "c", "--weights", &weights]);
    fails(folder.path(), &[&other, "--count", "1", "--out", "c"], 1, ".sample.txt has \"weights ");
    assert!(pictures(&folder.path().join("a")) == before);
    // Of an unknown job, or one of whose description a part is there.
    let job = folder.path().join("a/.sample.txt");
    let text = std::fs::read(&job).expect("reads");
    std::fs::write(&job, &text[..20]).expect("writes");
    fails(folder.path(), &[&base[..], &["--seed", "7"]].concat(), 1, "pictures of something else");
    std::fs::remove_file(&job).expect("removes");
    fails(folder.path(), &[&base[..], &["--seed", "7"]].concat(), 1, "there is no .sample.txt that says of what");
    assert!(!job.exists(), "nothing is put into a folder that is not ours");
    assert!(pictures(&folder.path().join("a")) == before);
    // Where there are no pictures yet, a part of it is a run that was killed early.
    std::fs::create_dir(folder.path().join("b")).expect("makes");
    std::fs::write(folder.path().join("b/.sample.txt"), &text[..20]).expect("writes");
    std::fs::write(folder.path().join("b/mine.txt"), "mine").expect("writes");
    succeeds(folder.path(), &["MODEL", "--count", "3", "--seed", "7", "--out", "b"]);
    assert_eq!(std::fs::read(folder.path().join("b/.sample.txt")).expect("reads"), text);
    // Two do not write at once.
    let held = std::fs::File::open(folder.path().join("b/.sample.txt")).expect("opens");
    held.lock().expect("locks");
    fails(folder.path(), &["MODEL", "--count", "3", "--seed", "7", "--out", "b"], 1, "another `sample` writes into");
}

/// A run that takes long, when it has made some pictures, the first among them: of several threads any may be ahead.
fn begun(folder: &Path) -> (Child, PathBuf) {
    let (path, began) = (folder.join("a"), Instant::now());
    let entries = || std::fs::read_dir(&path).map_or(0, Iterator::count);
    let before = entries();
    let mut command = command(folder, &["MODEL", "--seed", "7", "--count", "1000000", "--out", "a"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    while entries() < before + 30 || !path.join("000000.png").exists() {
        assert!(began.elapsed() < Duration::from_secs(60), "no pictures");
        std::thread::sleep(Duration::from_millis(2));
    }
    (child, path)
}

#[test]
fn a_run_that_is_killed_leaves_whole_pictures_and_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    for _ in 0..3 {
        let (mut child, path) = begun(folder.path());
        child.kill().expect("kills");
        child.wait().expect("ends");
        for entry in std::fs::read_dir(path).expect("lists") {
            let name = entry.expect("lists").path();
            if name.extension().is_some_and(|extension| extension == "png") {
                pixels(&name).unwrap_or_else(|e| panic!("{}: {e}", name.display()));
            }
        }
    }
    let words = succeeds(folder.path(), &["MODEL", "--seed", "7", "--count", "40", "--out", "a"]);
    assert!(words.contains("there already"), "{words}");
    let all = pictures(&folder.path().join("a"));
    assert!(all.into_values().take(40).eq(expected(&Request::seed(7), 40)));
}

#[test]
#[cfg(unix)]
fn a_run_that_is_stopped_says_so_and_leaves_nothing_half_done() {
    for signal in ["INT", "TERM"] {
        let folder = tempfile::tempdir().expect("a folder");
        let (child, path) = begun(folder.path());
        let kill = Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()).status();
        assert!(kill.expect("starts").success());
        let output = child.wait_with_output().expect("ends");
        let words = said(&output);
        assert_eq!(output.status.code(), Some(130), "{words}");
        assert!(
            words.contains("stopped: ") && words.contains(" of 1000000 pictures are in a; the same command"),
            "{words}"
        );
        let counted: usize = words.split(' ').nth(1).and_then(|count| count.parse().ok()).expect("a number");
        assert_eq!(pictures(&path).len(), counted);
    }
}
