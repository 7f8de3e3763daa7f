//! The log of a run, `stats.jsonl`: one JSON object a tick.

use super::{Hook, Scene, Tick};
use crate::error::{Error, Result};
use crate::files;
use crate::report::say;
use serde::Deserialize;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

/// A line that is longer is none that was written here.
const LONGEST: u64 = 1 << 20;

/// What is read of a line.
#[derive(Deserialize)]
struct Line {
    images: u64,
    #[serde(default)]
    partial: bool,
}

/// The log, opened for appending when there is something to write.
#[derive(Debug, Default)]
pub struct Log {
    path: PathBuf,
    /// Lines after this count of images are of a run that was killed after its last checkpoint.
    from: u64,
    file: Option<File>,
}

impl Log {
    /// The log of a run that has shown `images` images.
    fn new(path: PathBuf, images: u64) -> Self {
        Self { path, from: images, file: None }
    }

    fn write(&mut self, tick: &Tick) -> Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(open(&self.path, self.from)?),
        };
        let fail = |e| Error::io("write", &self.path)(e);
        let line = serde_json::to_string(tick).map_err(|e| fail(e.into()))? + "\n";
        let end = file.metadata().map_err(fail)?.len();
        file.write_all(line.as_bytes()).map_err(|e| {
            // Half a line would spoil the next one.
            let _ = file.set_len(end);
            fail(e)
        })
    }
}

impl Hook for Log {
    fn name(&self) -> &'static str {
        "the log"
    }

    fn begin(&mut self, scene: &Scene<'_>) -> Result<()> {
        *self = Self::new(scene.run.stats_path(), scene.state.clock.images);
        Ok(())
    }

    fn tick(&mut self, _: &Scene<'_>, tick: &mut Tick) -> Result<()> {
        self.write(tick)
    }

    fn stop(&mut self, tick: &Tick) -> Result<()> {
        self.write(tick)
    }
}

/// Takes what came after `images` images out of the log at `path`, if there is one: a run goes on another way from there.
///
/// # Errors
/// What the system says.
pub fn cut(path: &Path, images: u64) -> Result<()> {
    open(path, images).map(drop)
}

/// Opens the log for appending, without what came after `images` images. Damaged lines are told and set aside.
fn open(path: &Path, images: u64) -> Result<File> {
    if path.exists() {
        let log = files::open(path)?;
        let (mut damaged, aside) = (Vec::new(), path.with_extension("damaged.txt"));
        files::write_atomically_with(path, |kept| {
            let (take, damage) = (|line: &[u8]| kept.write_all(line), |line| damaged.push(line));
            keep(log, images, take, damage).map_err(Error::io("write", path))?;
            // Before the log is without them.
            let mut file = match damaged.is_empty() {
                true => return Ok(()),
                false => {
                    OpenOptions::new().create(true).append(true).open(&aside).map_err(Error::io("open", &aside))?
                }
            };
            file.write_all(&damaged.concat()).map_err(Error::io("write", &aside))
        })?;
        if !damaged.is_empty() {
            say!(
                "warning: {} lines of {} are damaged and not read any more; they are now in {}",
                damaged.len(),
                path.display(),
                aside.display()
            );
        }
    }
    OpenOptions::new().create(true).append(true).open(path).map_err(Error::io("open", path))
}

/// Images at the last full tick up to `images`, in the log at `path`; 0 where it has none, `images` where there is no log.
///
/// # Errors
/// As [`read`].
pub fn last(path: &Path, images: u64) -> Result<u64> {
    let mut last = if path.exists() { 0 } else { images };
    read(path, images, &mut |line| {
        last = serde_json::from_slice::<Line>(line).map_or(last, |line| line.images);
    })?;
    Ok(last)
}

/// Gives the whole lines of full ticks up to `images` to `line`, of the log at `path`, if there is one.
///
/// # Errors
/// What the system says; something that is no file.
pub fn read(path: &Path, images: u64, line: &mut dyn FnMut(&[u8])) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let take = |bytes: &[u8]| {
        line(bytes);
        Ok(())
    };
    keep(files::open(path)?, images, take, drop).map_err(Error::io("read", path))
}

/// Gives the whole lines of full ticks up to `images` to `take`; damaged ones, of which no more than their beginning, to
/// `damaged`. The last one, cut short by a kill, is neither.
fn keep(
    log: File,
    images: u64,
    mut take: impl FnMut(&[u8]) -> std::io::Result<()>,
    mut damaged: impl FnMut(Vec<u8>),
) -> std::io::Result<()> {
    let mut log = BufReader::new(log);
    let mut line = Vec::new();
    loop {
        line.clear();
        log.by_ref().take(LONGEST).read_until(b'\n', &mut line)?;
        match serde_json::from_slice::<Line>(&line) {
            Ok(tick) if line.ends_with(b"\n") => {
                if tick.images <= images && !tick.partial {
                    take(&line)?;
                }
            }
            _ if !line.ends_with(b"\n") && (line.len() as u64) < LONGEST => return Ok(()),
            _ => {
                // The rest of a line that is too long.
                while !line.ends_with(b"\n") {
                    let rest = log.fill_buf()?;
                    let Some(end) = rest.iter().position(|&byte| byte == b'\n').or(rest.len().checked_sub(1)) else {
                        break;
                    };
                    line.truncate(1000);
                    line.push(rest[end]);
                    log.consume(end + 1);
                }
                damaged(line.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(images: u64) -> Tick {
        let mut tick = Tick::default();
        tick.images = images;
        tick
    }

    fn images(path: &Path) -> Vec<u64> {
        let text = std::fs::read_to_string(path).expect("reads");
        text.lines().map(|l| serde_json::from_str::<Line>(l).expect("a tick").images).collect()
    }

    #[test]
    fn reopening_drops_what_came_after_the_checkpoint() -> Result<()> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("stats.jsonl");
        let mut log = Log::new(path.clone(), 0);
        for images in [10, 20, 30] {
            log.write(&at(images))?;
        }
        let mut stopped = at(15);
        stopped.partial = true;
        log.write(&stopped)?;
        // A line cut short by a kill.
        log.file.expect("open").write_all(b"{\"images\":4").expect("writes");
        Log::new(path.clone(), 20).write(&at(31))?;
        assert_eq!(images(&path), [10, 20, 31]);
        assert_eq!((last(&path, 30)?, last(&path, 40)?), (20, 31));
        assert_eq!(last(&folder.path().join("nothing"), 30)?, 30);
        std::fs::write(&path, "").expect("writes");
        assert_eq!(last(&path, 30)?, 0, "a run that begins anew has an empty one");
        assert_eq!(std::fs::read_dir(folder.path()).expect("lists").count(), 1, "nothing was damaged");
        Ok(())
    }

    #[test]
    fn damaged_lines_are_set_aside_and_stop_nothing() -> Result<()> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("stats.jsonl");
        let long = "x".repeat(3 << 20);
        let lines: [&[u8]; 5] = [b"{\"images\":1}", b"{\"images\":\xff2}", long.as_bytes(), b"null", b"{\"images\":5}"];
        std::fs::write(&path, lines.map(|line| [line, b"\n"].concat()).concat()).expect("writes");
        Log::new(path.clone(), 100).write(&at(6))?;
        assert_eq!(images(&path), [1, 5, 6]);
        let aside = std::fs::read(folder.path().join("stats.damaged.txt")).expect("set aside");
        assert!(aside.starts_with(b"{\"images\":\xff2}\nxxx") && aside.ends_with(b"null\n") && aside.len() < 3000);

        // What is damaged later comes after it; where it cannot be kept, it stays where it is.
        let append = |line: &[u8]| OpenOptions::new().append(true).open(&path).expect("opens").write_all(line);
        append(b"later\n").expect("writes");
        Log::new(path.clone(), 100).write(&at(7))?;
        assert_eq!(
            std::fs::read(folder.path().join("stats.damaged.txt")).expect("reads"),
            [&aside, &b"later\n"[..]].concat()
        );
        std::fs::remove_file(folder.path().join("stats.damaged.txt")).expect("removes");
        std::fs::create_dir(folder.path().join("stats.damaged.txt")).expect("makes");
        append(b"last\n").expect("writes");
        let before = std::fs::read(&path).expect("reads");
        assert!(
            Log::new(path.clone(), 100).write(&at(8)).expect_err("fails").to_string().contains("stats.damaged.txt")
        );
        assert_eq!(std::fs::read(&path).expect("reads"), before);
        Ok(())
    }

    /// A log that is no file must not be read to its end, which may not come.
    #[test]
    #[cfg(unix)]
    fn what_is_no_file_is_not_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("stats.jsonl");
        std::os::unix::fs::symlink("/dev/zero", &path).expect("links");
        let error = Log::new(path, 100).write(&Tick::default()).expect_err("refused").to_string();
        assert!(error.contains("stats.jsonl") && error.contains("a regular file is needed"), "{error}");
    }
}
