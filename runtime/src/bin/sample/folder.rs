//! A folder with a picture of each image, that a later run goes on with.
//!
//! What the pictures are of stands in a file beside them, by which a run knows those of its own job. Pictures appear whole, by
//! renaming, and are not synced one by one: after a crash of the whole machine some may be there and not whole, which the next
//! run finds out by decoding them.

use crate::picture;
use crate::unfinished::{Unfinished, words};
use runtime::ImageShape;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// The file that says what the pictures are of.
pub const JOB: &str = ".sample.txt";
/// How the names of unfinished pictures end.
const PART: &str = ".part";
/// Bytes of the file that says what the pictures are of, at most; more are none of ours.
const MOST: u64 = 1 << 20;

/// A folder with a picture of each image.
pub struct Folder<'a> {
    path: &'a Path,
    shape: ImageShape,
    color: png::ColorType,
    /// Held until the end: one program at a time writes here.
    _lock: File,
    /// What to remove if nothing comes of it: what was not there before.
    made: Made,
    had_pictures: bool,
    has_written: AtomicBool,
}

#[derive(PartialEq)]
enum Made {
    Nothing,
    Job,
    Folder,
}

/// A thread's memory to make pictures in.
pub struct Scratch {
    /// The thread's number: two of them may write the same picture.
    worker: usize,
    /// Height x width x channels.
    pixels: Vec<u8>,
    bytes: Vec<u8>,
}

impl Scratch {
    pub fn new(worker: usize) -> Self {
        Self { worker, pixels: Vec::new(), bytes: Vec::new() }
    }
}

impl<'a> Folder<'a> {
    /// The folder at `path`, made if it is not there, for the pictures of `job`, a few lines that say all that they depend on.
    pub fn open(path: &'a Path, shape: ImageShape, job: &str) -> Result<Self, String> {
        let color = picture::color(shape.channels)?;
        let name = path.display();
        let fail = |e: std::io::Error| format!("cannot use the folder {name}: {}", words(&e));
        let (was_there, had_job) = (path.is_dir(), path.join(JOB).exists());
        std::fs::create_dir_all(path).map_err(fail)?;
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).to_owned();
        let mut file = options.open(path.join(JOB)).map_err(fail)?;
        let is_locked = match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                return Err(format!(
                    "another `sample` writes into the folder {name}; wait for it, or choose another folder"
                ));
            }
            // Some file systems have no locks.
            Err(TryLockError::Error(_)) => false,
            Ok(()) => true,
        };
        let mut found = Vec::new();
        (&file).take(MOST).read_to_end(&mut found).map_err(fail)?;
        let mut has_pictures = false;
        for entry in std::fs::read_dir(path).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            // What a run that was killed has left: nobody else is here.
            if is_locked && is_part(&name) {
                std::fs::remove_file(entry.path()).map_err(fail)?;
            }
            has_pictures |= is_picture(&name);
        }
        if found != job.as_bytes() {
            let found = String::from_utf8_lossy(&found);
            if has_pictures || !job.starts_with(&*found) {
                let other = difference(&found, job);
                if !had_job {
                    let _ = std::fs::remove_file(path.join(JOB));
                }
                return Err(format!(
                    "the folder {name} has pictures of something else: {other}; choose another folder"
                ));
            }
            let rest = &job.as_bytes()[found.len()..];
            file.write_all(rest).and_then(|()| file.sync_all()).map_err(fail)?;
        }
        let made = match (was_there, had_job) {
            (false, _) => Made::Folder,
            (true, false) => Made::Job,
            (true, true) => Made::Nothing,
        };
        let (had_pictures, has_written) = (has_pictures, AtomicBool::new(false));
        Ok(Self { path, shape, color, _lock: file, made, had_pictures, has_written })
    }

    fn name(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number:06}.png"))
    }

    /// Whether the picture of this number is there, and whole.
    pub fn has(&self, number: u64) -> bool {
        self.had_pictures && picture::is_whole(&self.name(number), self.shape, self.color)
    }

    /// Writes the image, channels x height x width, under its number.
    pub fn write(&self, number: u64, image: &[u8], scratch: &mut Scratch) -> Result<(), Box<dyn std::error::Error>> {
        let ImageShape { channels, height, width } = self.shape;
        scratch.pixels.resize(image.len(), 0);
        for (channel, values) in image.chunks_exact(height * width).enumerate() {
            for (pixel, &value) in scratch.pixels.chunks_exact_mut(channels).zip(values) {
                pixel[channel] = value;
            }
        }
        let size = (u32::try_from(width)?, u32::try_from(height)?);
        picture::encode(size, self.color, png::Compression::Fast, &scratch.pixels, &mut scratch.bytes)?;
        let name = self.name(number);
        let temporary = self.path.join(format!(".{number:06}.png.{}{PART}", scratch.worker));
        let mut file = Unfinished::create_as(&name, temporary)?;
        file.write_at(0, &scratch.bytes)?;
        file.place()?;
        self.has_written.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Waits until all pictures are on the disk, whose numbers these are.
    pub fn sync(&self, numbers: impl Iterator<Item = u64>) -> Result<(), String> {
        let fail = |e: std::io::Error| format!("cannot write into the folder {}: {}", self.path.display(), words(&e));
        #[cfg(target_os = "linux")]
        {
            use std::ffi::c_int;
            use std::os::fd::AsRawFd;
            // SAFETY: of Linux.
            unsafe extern "C" {
                fn syncfs(file: c_int) -> c_int;
            }
            let _ = numbers;
            let folder = File::open(self.path).map_err(fail)?;
            // All of the disk at once, which costs less than thousands of files one by one.
            // SAFETY: the descriptor is open.
            match unsafe { syncfs(folder.as_raw_fd()) } {
                0 => Ok(()),
                _ => Err(fail(std::io::Error::last_os_error())),
            }
        }
        #[cfg(not(target_os = "linux"))]
        for number in numbers {
            let file = OpenOptions::new().write(true).open(self.name(number)).map_err(fail)?;
            file.sync_all().map_err(fail)?;
        }
        #[cfg(not(target_os = "linux"))]
        Ok(())
    }
}

impl Drop for Folder<'_> {
    fn drop(&mut self) {
        if self.had_pictures || self.has_written.load(Ordering::Relaxed) || self.made == Made::Nothing {
            return;
        }
        let _ = std::fs::remove_file(self.path.join(JOB));
        if self.made == Made::Folder {
            let _ = std::fs::remove_dir(self.path);
        }
    }
}

/// Whether a file's name is that of a picture.
fn is_picture(name: &str) -> bool {
    name.strip_suffix(".png")
        .is_some_and(|number| number.len() >= 6 && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether it is that of one that is not finished.
fn is_part(name: &str) -> bool {
    let picture =
        name.strip_prefix('.').and_then(|name| name.strip_suffix(PART)).and_then(|name| name.rsplit_once('.'));
    picture.is_some_and(|(name, worker)| is_picture(name) && worker.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The first line in which two jobs differ.
fn difference(found: &str, wanted: &str) -> String {
    if found.is_empty() {
        return format!("there is no {JOB} that says of what");
    }
    let (mut found, mut wanted) = (found.lines(), wanted.lines());
    loop {
        match (found.next(), wanted.next()) {
            (None, None) => break format!("{JOB} says so"),
            (there, here) if there == here => (),
            (there, here) => {
                let shown = |line: Option<&str>| match line {
                    Some(line) => format!("{:?}", line.chars().take(100).collect::<String>()),
                    None => "nothing".into(),
                };
                break format!("{JOB} has {}, asked for is {}", shown(there), shown(here));
            }
        }
    }
}
