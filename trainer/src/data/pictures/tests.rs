use super::*;
use crate::data::{Opened, open_with};
use crate::recipe::{BadFiles, Colour, Fit, Labelled};
use std::io::{Cursor, Write};
use std::path::PathBuf;

mod archives;
mod kept;

/// A folder of pictures, and a cache folder beside it.
pub(super) struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("a folder"));
        std::fs::create_dir(place.root()).expect("makes");
        place
    }

    pub fn root(&self) -> PathBuf {
        self.0.path().join("some pictures")
    }

    fn cache(&self) -> PathBuf {
        self.0.path().join("cache")
    }

    pub fn put(&self, name: &str, bytes: &[u8]) -> &Self {
        let path = self.root().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("makes");
        std::fs::write(path, bytes).expect("writes");
        self
    }

    fn data(&self) -> recipe::Data {
        recipe::Data::at(&self.root())
    }

    fn open(&self) -> Opened {
        self.open_as(&self.data()).unwrap_or_else(|e| panic!("{e}"))
    }

    fn open_as(&self, data: &recipe::Data) -> Result<Opened> {
        open_with(data, Some(&self.cache()))
    }

    pub fn error(&self, data: &recipe::Data) -> String {
        self.open_as(data).expect_err("must be refused").to_string()
    }

    /// Files of this ending in the cache.
    fn kept(&self, ending: &str) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.cache().join("packs")).expect("lists").flatten().map(|entry| entry.path());
        let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|e| e == ending)).collect();
        files.sort();
        files
    }
}

/// A PNG of these pixels, of as many channels as a pixel has.
pub(super) fn png<const C: usize>(width: u32, height: u32, pixel: impl Fn(u32, u32) -> [u8; C]) -> Vec<u8> {
    let pixels: Vec<u8> =
        (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).flat_map(|(x, y)| pixel(x, y)).collect();
    let colour = [
        image::ExtendedColorType::L8,
        image::ExtendedColorType::La8,
        image::ExtendedColorType::Rgb8,
        image::ExtendedColorType::Rgba8,
    ][C - 1];
    let mut bytes = Vec::new();
    let encoder = image::codecs::png::PngEncoder::new(&mut bytes);
    image::ImageEncoder::write_image(encoder, &pixels, width, height, colour).expect("encodes");
    bytes
}

/// One of many pictures that all differ.
pub(super) fn some(number: u32) -> Vec<u8> {
    png(8, 8, |x, y| [(x * 30) as u8, (y * 30) as u8, number as u8])
}

/// All pixels of all training images.
fn pixels(opened: &Opened) -> Vec<u8> {
    let train = &opened.splits.train;
    let mut pixels = vec![0; train.len() * train.shape().len()];
    train.read(0, &mut pixels).expect("reads");
    pixels
}

fn shape(opened: &Opened) -> (usize, usize, usize, usize) {
    let shape = opened.splits.train.shape();
    (opened.splits.train.len(), shape.width, shape.height, shape.channels)
}

fn all(lines: &[String], words: &[&str]) {
    let text = lines.join("\n");
    words.iter().for_each(|words| assert!(text.contains(words), "{words:?} is not in\n{text}"));
}

/// The labels of a split, by name.
fn labels(data: &Dataset) -> Option<Vec<String>> {
    let Labels { values, classes, names } = data.labels()?;
    let names = names.as_ref().expect("names");
    assert_eq!(names.len(), *classes);
    Some(values.iter().map(|&value| names[value as usize].clone()).collect())
}

/// Other forms among RGB pictures are converted; the rule is printed.
#[test]
fn grey_and_transparent_pictures_among_coloured_ones_are_converted() {
    let place = Folder::new();
    (0..40).for_each(|n| {
        place.put(&format!("{n:02}.png"), &some(n));
    });
    place.put("40.png", &png(8, 8, |x, _| [x as u8]));
    place.put("41.png", &png(8, 8, |x, _| [200, 0, 0, if x < 4 { 255 } else { 0 }]));
    let opened = place.open();
    assert_eq!(shape(&opened), (42, 8, 8, 3));
    let pixels = pixels(&opened);
    assert_eq!(pixels[40 * 192..][..9], [0, 0, 0, 1, 1, 1, 2, 2, 2]);
    assert_eq!(pixels[41 * 192..][9..15], [200, 0, 0, 255, 255, 255]);
    all(
        &opened.said,
        &["42 pictures, all of 8x8", "size 8x8, their own (--size)", "channels 3", "41 of 42", "#ffffff"],
    );
    assert_eq!(opened.data.size.map(|size| size.to_string()).as_deref(), Some("8x8"));
    assert_eq!(opened.data.channels, Some(3));
    assert!(opened.said.len() <= 10);
}

/// Colours under alpha 0 are never seen, whether alpha is learned or laid on the background.
#[test]
fn colours_under_transparent_pixels_are_never_seen() {
    let place = Folder::new();
    (0..4).for_each(|n| {
        place.put(&format!("{n}.png"), &png(8, 8, move |x, _| [250, 1, n, if x % 2 == 0 { 0 } else { 255 }]));
    });
    let opened = place.open();
    assert_eq!(shape(&opened), (4, 8, 8, 4));
    assert_eq!(pixels(&opened)[..8], [0, 0, 0, 0, 250, 1, 0, 255]);
    let data = recipe::Data { channels: Some(3), background: Colour([9, 8, 7]), ..place.data() };
    let laid = place.open_as(&data).expect("opens");
    assert_eq!(pixels(&laid)[..6], [9, 8, 7, 250, 1, 0]);
    all(&laid.said, &["#090807"]);
    let place = Folder::new();
    (0..3).for_each(|n| {
        place.put(&format!("{n}.png"), &png(8, 8, move |x, _| [n, (x * 30) as u8]));
    });
    let opened = place.open();
    assert_eq!((shape(&opened), pixels(&opened)[..4].to_vec()), ((3, 8, 8, 2), vec![0, 0, 0, 30]));
}

/// Whatever is broken is found before anything is learned, and named together.
#[test]
fn broken_files_are_named_together_and_left_out_only_if_few_or_asked_for() {
    let place = Folder::new();
    (0..20).for_each(|n| {
        place.put(&format!("good/{n}.png"), &some(n));
    });
    let whole = some(99);
    place.put("broken/cut.png", &whole[..whole.len() / 2]);
    place.put("broken/empty.png", b"");
    place.put("broken/page.JPG", b"<!DOCTYPE html><html>");
    place.put("broken/pointer.png", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 100\n");
    // A bomb, refused by its header.
    let mut bomb = whole.clone();
    bomb[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    place.put("broken/vast.png", &bomb);
    let error = place.error(&place.data());
    all(
        &[error],
        &[
            "some pictures",
            "5 of 25 pictures",
            "cut.png",
            "empty.png is empty",
            "page.JPG is a web page",
            "Git LFS",
            "vast.png",
            "--on-bad-file skip",
        ],
    );
    let skip = recipe::Data { bad_files: Some(BadFiles::Skip), ..place.data() };
    let opened = place.open_as(&skip).expect("goes on");
    assert_eq!(shape(&opened).0, 20);
    all(&opened.said, &["left out, as broken: 5 files", "..."]);
    all(&[opened.log], &["broken: broken/empty.png is empty", "broken: broken/vast.png"]);

    // One of a hundred.
    let place = Folder::new();
    (0..99).for_each(|n| {
        place.put(&format!("{n}.png"), &some(n));
    });
    place.put("cut.png", &whole[..whole.len() - 30]);
    assert_eq!(shape(&place.open()).0, 99);
    let fail = recipe::Data { bad_files: Some(BadFiles::Fail), ..place.data() };
    all(&[place.error(&fail)], &["1 of 100", "cut.png"]);
    place.put("98.png", &whole[..whole.len() - 30]);
    all(&[place.error(&place.data())], &["2 of 100", "98.png", "cut.png"]);
    (0..20).for_each(|n| {
        place.put(&format!("{n}.png"), &whole[..50]);
    });
    all(&[place.error(&place.data())], &["22 of 100", "and 12 more"]);
}

/// A picture that cannot be decoded says nothing of the size.
#[test]
fn what_a_broken_picture_states_decides_nothing() {
    let place = Folder::new();
    (0..8).for_each(|n| {
        place.put(&format!("{n}.png"), &png(12, 12, move |x, y| [x as u8, y as u8, n]));
    });
    let large = png(9, 5, |x, y| [x as u8, y as u8, 7]);
    place.put("cut.png", &large[..large.len() - 30]);
    let opened = place.open_as(&recipe::Data { bad_files: Some(BadFiles::Skip), ..place.data() }).expect("goes on");
    assert_eq!(shape(&opened), (8, 12, 12, 3));
}

/// Content decides, litter is passed over without a word, the rest with.
#[test]
fn pictures_are_told_by_their_content_and_litter_is_ignored() {
    let place = Folder::new();
    for (n, name) in ["a.jpg", "b.JPG", "c", "d.txt", "e.tar.gz"].iter().enumerate() {
        place.put(name, &some(n as u32));
    }
    for litter in [".DS_Store", "._a.png", "__MACOSX/a.png", ".hidden/a.png", "Thumbs.db", "desktop.ini"] {
        place.put(litter, &some(200));
    }
    let opened = place.open();
    assert_eq!(shape(&opened).0, 5);
    assert!(!opened.said.join("\n").contains("passed over"), "{:?}", opened.said);
    place
        .put("notes.txt", b"notes")
        .put("more.txt", b"notes")
        .put("x.mp4", b"\0\0\0\x18ftypisom")
        .put("README", b"notes");
    let opened = place.open();
    all(&opened.said, &["4 files, 2 .txt, 1 .mp4, 1 without ending", "frames of a video"]);
    all(&[opened.log], &["no picture: notes.txt"]);
}

#[test]
fn where_there_is_no_picture_it_is_said_what_there_is() {
    let place = Folder::new();
    all(&[place.error(&place.data())], &["holds no files", "train-images-idx3-ubyte.gz"]);
    for n in 0..10 {
        place.put(&format!("{n}.txt"), b"text");
    }
    place.put("a.heic", b"\0\0\0\x18ftypheic").put("b.HEIC", b"\0\0\0\x18ftypheic");
    all(&[place.error(&place.data())], &["12 files, none", "10 .txt, 2 .heic", "convert"]);
    let place = Folder::new();
    place.put("all.zip", b"PK");
    all(&[place.error(&place.data())], &["1 .zip", "archive or a pack itself"]);
    let place = Folder::new();
    place.put("a.png", b"");
    all(&[place.error(&place.data())], &["a.png is empty"]);
}

/// Links are followed, but not around.
#[cfg(unix)]
#[test]
fn any_name_works_and_links_are_followed_but_not_around() {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    let place = Folder::new();
    place.put("ü — 漢/Ä.png", &some(1)).put("plain.png", &some(2));
    let name = std::ffi::OsStr::from_bytes(b"\xff\xfe.png");
    std::fs::write(place.root().join(name), some(3)).expect("writes");
    let elsewhere = Folder::new();
    elsewhere.put("a/4.png", &some(4)).put("5.png", &some(5));
    symlink(elsewhere.root().join("a"), place.root().join("linked")).expect("links");
    symlink(elsewhere.root().join("5.png"), place.root().join("five")).expect("links");
    symlink(place.root(), place.root().join("ü — 漢/around")).expect("links");
    let pipe = std::process::Command::new("mkfifo").arg(place.root().join("pipe")).status().expect("mkfifo runs");
    assert!(pipe.success());
    let opened = place.open();
    assert_eq!(shape(&opened).0, 5);
    all(&opened.said, &["2 files", "around is a link to a folder that it lies in", "pipe is a pipe"]);
    // Their order is that of their names: five, linked, plain, ü, and what is no UTF-8.
    let blue: Vec<u8> = pixels(&opened).chunks(192).map(|picture| picture[2]).collect();
    assert_eq!(blue, [5, 4, 2, 1, 3]);
    // A link that leads nowhere is a picture that cannot be read.
    symlink("nowhere", place.root().join("lost.png")).expect("links");
    all(&[place.error(&place.data())], &["1 of 6", "lost.png cannot be read"]);
}

#[test]
fn pictures_come_to_the_size_that_is_asked_for() {
    let place = Folder::new();
    (0..3).for_each(|n| {
        place.put(&format!("{n}.png"), &png(96, 64, move |x, y| [x as u8, y as u8, n]));
    });
    let opened = place.open();
    assert_eq!(shape(&opened), (3, 96, 64, 3));
    for (size, fit, words) in [
        ("48x32", Fit::Crop, "pictures are scaled to it"),
        ("32", Fit::Crop, "cropped from the middle (--fit pad or stretch)"),
        ("50", Fit::Pad, "padded with the background (--fit crop or stretch)"),
        ("17x40", Fit::Stretch, "stretched (--fit crop or pad)"),
    ] {
        let size: Size = size.parse().expect("a size");
        let opened = place.open_as(&recipe::Data { size: Some(size), fit, ..place.data() }).expect("opens");
        assert_eq!(shape(&opened), (3, size.width, size.height, 3));
        all(&opened.said, &[words, "as asked for (--size)"]);
    }
    // Beside a padded picture lies the background; that is no reason to learn alpha.
    let size = Some("96x96".parse().expect("a size"));
    let padded = recipe::Data { size, fit: Fit::Pad, background: Colour([1, 2, 3]), ..place.data() };
    let opened = place.open_as(&padded).expect("opens");
    assert_eq!((shape(&opened).3, pixels(&opened)[..3].to_vec()), (3, vec![1, 2, 3]));
}

#[test]
fn a_few_pictures_are_enough() {
    for count in [1, 5, 17] {
        let place = Folder::new();
        (0..count).for_each(|n| {
            place.put(&format!("{n}.png"), &some(n));
        });
        let opened = place.open();
        assert_eq!(shape(&opened), (count as usize, 8, 8, 3));
        all(&opened.said, &[if count == 1 { "1 picture, all of 8x8" } else { "pictures, all of 8x8" }]);
    }
    let place = Folder::new();
    place.put("one.dat", &some(1));
    let opened = place.open_as(&recipe::Data::at(&place.root().join("one.dat"))).expect("opens");
    assert_eq!((shape(&opened).0, opened.splits.train.name()), (1, "one"));
}

#[test]
fn copies_are_told() {
    let place = Folder::new();
    for (name, number) in [("a", 1), ("b", 2), ("c", 1), ("d", 3), ("e", 1), ("f", 2)] {
        place.put(name, &some(number));
    }
    let opened = place.open();
    all(&opened.said, &["3 pictures are copies of others, byte by byte: a = c, b = f"]);
    all(&[opened.log], &["copies: a = c = e\n", "copies: b = f\n"]);
}

#[test]
fn folders_are_classes_and_split_into_training_and_test_pictures() {
    let place = Folder::new();
    for name in ["10/a", "10/b", "9/a", "9/deep/b"] {
        place.put(&format!("all/{name}"), &some(name.len() as u32));
    }
    let opened = place.open();
    assert_eq!(labels(&opened.splits.train).expect("labels"), ["10", "10", "9", "9"]);
    // Numbers keep their order.
    assert_eq!(opened.splits.train.labels().expect("labels").values, [1, 1, 0, 0]);
    all(&opened.said, &["2 classes by folder: 9 2, 10 2"]);
    let none = recipe::Data { labels: Some(Labelled::None), ..place.data() };
    assert_eq!(place.open_as(&none).expect("opens").splits.train.labels(), None);
    place.put("all/loose", &some(77));
    let opened = place.open();
    assert_eq!(opened.splits.train.labels(), None);
    all(&opened.said, &["folders are not taken as classes: all/loose lies in no folder"]);
    let folders = recipe::Data { labels: Some(Labelled::Folders), ..place.data() };
    all(&[place.error(&folders)], &["data.labels is folders", "all/loose"]);

    let place = Folder::new();
    for (n, name) in ["train/cat/1", "train/dog/2", "train/dog/3", "val/dog/4"].iter().enumerate() {
        place.put(name, &some(n as u32));
    }
    let opened = place.open();
    let test = opened.splits.test.as_ref().expect("test pictures");
    assert_eq!((opened.splits.train.len(), test.len()), (3, 1));
    assert_eq!(labels(&opened.splits.train).expect("labels"), ["cat", "dog", "dog"]);
    assert_eq!(labels(test).expect("labels"), ["dog"]);
    let mut last = vec![0; 192];
    test.read(0, &mut last).expect("reads");
    assert_eq!(last[2], 3);
    all(&opened.said, &["3 pictures to learn from and 1 for tests"]);
    // As some competitions have it.
    std::fs::rename(place.root().join("val/dog/4"), place.root().join("val/4")).expect("moves");
    let opened = place.open();
    assert_eq!(labels(&opened.splits.train).expect("labels"), ["cat", "dog", "dog"]);
    assert_eq!(opened.splits.test.as_ref().and_then(labels), None);
    all(&opened.said, &["test pictures have no labels"]);
}

#[test]
fn the_order_and_the_bytes_do_not_depend_on_the_file_system() {
    let (forth, back) = (Folder::new(), Folder::new());
    for n in 0..30 {
        forth.put(&format!("{}/{n}.png", n % 3), &some(n));
        back.put(&format!("{}/{}.png", (29 - n) % 3, 29 - n), &some(29 - n));
    }
    let (forth, back) = (forth.open(), back.open());
    assert_eq!(forth.splits.train.sha256().expect("reads"), back.splits.train.sha256().expect("reads"));
    assert_eq!(forth.splits.train.labels(), back.splits.train.labels());
}
