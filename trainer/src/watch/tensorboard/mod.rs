//! Event files, which TensorBoard reads while the run goes on: figures, pictures and texts by the count of images shown.
//!
//! A file a session: a run that was killed leaves a file whose last record may be cut and which may tell of steps after the
//! last checkpoint. The next session's file begins with an event that has TensorBoard drop those, and has a name that sorts
//! behind all others in the folder whatever the clock says, since TensorBoard reads files in the order of their names and
//! never goes back.

mod proto;
mod record;
#[cfg(test)]
mod tests;

use crate::error::{Error, Result};
use prost::Message;
use proto::{Content, Event, Image, Metadata, Plugin, SessionLog, Summary, Tensor, Value, What};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// How the names of event files begin.
const PREFIX: &str = "events.out.tfevents.";

/// An event file that grows. Every call writes whole records at once, so that a reader sees all of it soon.
///
/// A call that fails, as on a full disk, ends no file: what is left of its records is written by the next call that can,
/// and calls between are lost.
#[derive(Debug)]
pub struct Writer {
    file: File,
    path: PathBuf,
    /// What the disk has not taken yet of the records last given.
    unwritten: Vec<u8>,
}

impl Writer {
    /// A new file in `folder`, for a session that goes on after `step`: what earlier sessions logged of later steps is
    /// dropped by TensorBoard.
    ///
    /// # Errors
    /// What the system says; a file in the folder that is read after whatever this one could be called.
    pub fn create(folder: &Path, step: u64) -> Result<Self> {
        let path = folder.join(next_name(folder, now())?);
        let file = OpenOptions::new().append(true).create_new(true).open(&path).map_err(Error::io("create", &path))?;
        let mut writer = Self { file, path, unwritten: Vec::new() };
        // TensorBoard drops the step of this event and those after it.
        let first = [
            event(0, What::FileVersion(proto::FILE_VERSION.into())),
            event(step.saturating_add(1), What::SessionLog(SessionLog { status: proto::START })),
        ];
        if let Err(error) = writer.write(&first) {
            let _ = std::fs::remove_file(&writer.path);
            return Err(error);
        }
        Ok(writer)
    }

    /// Logs figures under their tags, rounded to `f32`; what is no finite number is written as it is.
    ///
    /// # Errors
    /// What the system says, with the file.
    pub fn scalars<'a>(&mut self, step: u64, figures: impl Iterator<Item = (&'a str, f64)>) -> Result<()> {
        self.summary(step, figures.map(|(tag, value)| plain(tag, Content::Scalar(value as f32))).collect())
    }

    /// Logs a picture, a PNG file of this size with 1 (grey) to 4 (RGBA) channels.
    ///
    /// # Errors
    /// What the system says, with the file.
    pub fn image(&mut self, step: u64, tag: &str, png: &[u8], (width, height): (u32, u32), channels: u8) -> Result<()> {
        let side = |pixels: u32| i32::try_from(pixels).unwrap_or(i32::MAX);
        let (height, width, colorspace) = (side(height), side(width), channels.into());
        let image = Image { height, width, colorspace, encoded: png.to_vec() };
        self.summary(step, vec![plain(tag, Content::Image(image))])
    }

    /// Logs a text, which TensorBoard shows as Markdown.
    ///
    /// # Errors
    /// What the system says, with the file.
    pub fn text(&mut self, step: u64, tag: &str, text: &str) -> Result<()> {
        let tensor =
            Tensor { dtype: proto::STRING, shape: Some(proto::Shape {}), strings: vec![text.as_bytes().to_vec()] };
        let metadata = Metadata { plugin: Some(Plugin { name: "text".into() }), data_class: proto::TENSOR };
        let value = Value { metadata: Some(metadata), ..plain(tag, Content::Tensor(tensor)) };
        self.summary(step, vec![value])
    }

    fn summary(&mut self, step: u64, values: Vec<Value>) -> Result<()> {
        self.write(&[event(step, What::Summary(Summary { values }))])
    }

    /// Readers may have seen the first half of a record that the disk did not take as a whole, so it is never taken back:
    /// the other half comes before anything else.
    fn write(&mut self, events: &[Event]) -> Result<()> {
        self.flush()?;
        for event in events {
            record::append(&mut self.unwritten, &event.encode_to_vec());
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<()> {
        let fail = |source| Error::io("write", &self.path)(source);
        while !self.unwritten.is_empty() {
            match self.file.write(&self.unwritten) {
                Ok(0) => return Err(fail(ErrorKind::WriteZero.into())),
                Ok(count) => drop(self.unwritten.drain(..count)),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(fail(e)),
            }
        }
        Ok(())
    }
}

fn event(step: u64, what: What) -> Event {
    Event { wall_time: now(), step: i64::try_from(step).unwrap_or(i64::MAX), what: Some(what) }
}

fn plain(tag: &str, content: Content) -> Value {
    Value { tag: tag.to_owned(), metadata: None, content: Some(content) }
}

/// Seconds since 1970, negative before.
fn now() -> f64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_secs_f64(),
        Err(before) => -before.duration().as_secs_f64(),
    }
}

/// A name that sorts behind those of all event files in `folder`, in the form that TensorBoard's own writer gives:
/// seconds, host, process, number.
fn next_name(folder: &Path, now: f64) -> Result<String> {
    let mut last = String::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let name = entry.map_err(Error::io("list", folder))?.file_name().to_string_lossy().into_owned();
        // What TensorBoard takes for an event file.
        if name.contains("tfevents") {
            last = last.max(name);
        }
    }
    let seconds = last.strip_prefix(PREFIX).and_then(|rest| rest.split('.').next()?.parse::<u64>().ok());
    let seconds = (now as u64).max(seconds.map_or(0, |seconds| seconds.saturating_add(1)));
    let name = format!("{PREFIX}{seconds:010}.kiln.{}.0", std::process::id());
    if name <= last {
        let what =
            "sorts behind every name that a new event file could have, so TensorBoard would not read that: remove it";
        return Err(Error::Run { path: folder.join(last), what: what.into() });
    }
    Ok(name)
}
