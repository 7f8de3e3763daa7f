//! The second reading: every picture is decoded and brought to its size, into a temporary file of equal slots, which then
//! becomes the images [N, H, W, C] in place.
//!
//! What is in memory does not depend on how many pictures there are, but for a few bytes each, nor on how large they are
//! together: see [`Source::read`].

use super::geometry::{self, Content};
use super::progress::Progress;
use super::source::{Content as File, Fault, Source};
use super::survey::Item;
use crate::data::picture::{self, Picture};
use crate::data::store::{Store, read_at, write_at};
use crate::error::{Error, Result};
use crate::recipe::{self, Size};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Bytes of memory that decoding takes for a pixel at most: four values of 16 bits, then four of 8.
const A_PIXEL: u64 = 12;
/// Bytes of slots that are looked at together.
const PIECE: usize = 16 << 20;

/// A temporary file of pictures, a slot each.
#[derive(Debug)]
pub(in crate::data) struct Slots {
    file: std::fs::File,
    /// The folder that it is in; it has no name there.
    path: PathBuf,
    /// Pixels of a picture.
    pixels: usize,
    /// Channels of its pixels: 4, unless they are known from the beginning.
    channels: usize,
}

/// What is in the slots.
#[derive(Debug, Default)]
pub struct Decoded {
    /// `[N]`: whether a picture is in its slot.
    pub good: Vec<bool>,
    /// Those that are not.
    pub broken: Vec<Fault>,
    /// What those that are need of channels.
    pub content: Content,
}

impl Slots {
    /// A new file in `folder`, else in the system's one for temporary files.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(folder: Option<&Path>, size: Size, data: &recipe::Data) -> Result<Self> {
        let path = folder.map_or_else(std::env::temp_dir, Path::to_owned);
        let file = tempfile::tempfile_in(&path).map_err(Error::io("make a temporary file in", &path))?;
        Ok(Self { file, path, pixels: size.width * size.height, channels: data.channels.unwrap_or(4) })
    }

    fn slot(&self) -> usize {
        self.pixels * self.channels
    }

    /// Puts pixels [H, W, 4] into slot `number`.
    ///
    /// # Errors
    /// What the system says.
    pub fn put(&self, number: usize, rgba: &[u8], background: [u8; 3]) -> Result<()> {
        let at = number as u64 * self.slot() as u64;
        let failed = Error::io("write pictures to a temporary file in", &self.path);
        let mut narrow = Vec::new();
        let bytes = if self.channels == 4 {
            rgba
        } else {
            geometry::narrow(rgba, self.channels, background, &mut narrow);
            &narrow
        };
        write_at(&self.file, bytes, at).map_err(failed)
    }

    /// Moves the good ones of the slots together, with `channels` channels. Nothing moves to where something is still to be
    /// read, as what is written is never more than what was read.
    ///
    /// # Errors
    /// What the system says.
    pub fn finish(self, good: &[bool], channels: usize, background: [u8; 3]) -> Result<Images> {
        if self.channels == channels && good.iter().all(|&good| good) {
            return Ok(Images(self));
        }
        let slot = self.slot();
        // The last ones may be missing.
        let failed = Error::io("write pictures to a temporary file in", &self.path);
        self.file.set_len(good.len() as u64 * slot as u64).map_err(failed)?;
        let together = (PIECE / slot).max(1);
        let (mut piece, mut end) = (vec![0; together.min(good.len()) * slot], 0);
        for (number, good) in good.chunks(together).enumerate() {
            let piece = &mut piece[..good.len() * slot];
            let failed = || Error::io("read pictures from a temporary file in", &self.path);
            read_at(&self.file, piece, (number * together) as u64 * slot as u64).map_err(failed())?;
            let moved: Vec<Vec<u8>> = piece
                .par_chunks_exact(slot)
                .zip(good)
                .filter(|(_, good)| **good)
                .map(|(pixels, _)| {
                    let mut to = Vec::with_capacity(self.pixels * channels);
                    if self.channels == channels {
                        to.extend_from_slice(pixels);
                    } else {
                        geometry::narrow(pixels, channels, background, &mut to);
                    }
                    to
                })
                .collect();
            let moved = moved.concat();
            let failed = Error::io("write pictures to a temporary file in", &self.path);
            write_at(&self.file, &moved, end).map_err(failed)?;
            end += moved.len() as u64;
        }
        self.file.set_len(end).map_err(Error::io("write pictures to a temporary file in", &self.path))?;
        Ok(Images(Self { channels, ..self }))
    }
}

/// A temporary file of images [N, H, W, C].
#[derive(Debug)]
pub(in crate::data) struct Images(Slots);

impl Images {
    /// Those from number `first` on.
    ///
    /// # Errors
    /// What the system says.
    pub fn store(&self, first: usize) -> Result<Store> {
        let Slots { file, path, .. } = &self.0;
        let file = file.try_clone().map_err(Error::io("read pictures from a temporary file in", path))?;
        Ok(Store::File { file, path: path.clone(), start: first as u64 * self.0.slot() as u64 })
    }
}

/// Decodes `items` into slots, in their order.
///
/// # Errors
/// Slots that cannot be written. Pictures that cannot be decoded are in what is returned.
pub fn decode(
    source: &Source,
    items: &[&Item],
    size: Size,
    data: &recipe::Data,
    slots: &Slots,
    progress: &Progress,
) -> Result<Decoded> {
    enum Outcome {
        Good { coloured: bool, transparent: bool },
        Broken(String),
    }
    let one = |(number, item): (usize, &&Item)| {
        progress.one(|| match fitted(source, item, size, data) {
            Ok((rgba, transparent)) => {
                slots.put(number, &rgba, data.background.0)?;
                Ok(Outcome::Good { coloured: geometry::is_coloured(&rgba), transparent })
            }
            Err(why) => Ok(Outcome::Broken(why)),
        })
    };
    let outcomes: Vec<Outcome> = items.par_iter().enumerate().map(one).collect::<Result<_>>()?;
    let mut decoded = Decoded::default();
    for (item, outcome) in items.iter().zip(outcomes) {
        decoded.good.push(matches!(outcome, Outcome::Good { .. }));
        match outcome {
            Outcome::Good { coloured, transparent } => {
                decoded.content.all += 1;
                decoded.content.coloured += usize::from(coloured);
                decoded.content.transparent += usize::from(transparent);
            }
            Outcome::Broken(why) => decoded.broken.push(Fault { name: item.entry.name.clone(), why }),
        }
    }
    Ok(decoded)
}

/// A picture in its size, and whether something in it is not opaque, before anything was padded.
fn fitted(
    source: &Source,
    item: &Item,
    size: Size,
    data: &recipe::Data,
) -> std::result::Result<(Vec<u8>, bool), String> {
    let needs = u64::from(item.bytes) + A_PIXEL * u64::from(item.width) * u64::from(item.height);
    let File::Whole(bytes, _held) = source.read(&item.entry, |_, _| Some(needs))? else {
        return Err("cannot be read".into());
    };
    // What is made of the pictures is kept under the hash of what was seen before.
    if <[u8; 32]>::from(Sha256::digest(&bytes)) != item.hash {
        return Err("has changed while it was read: try again when it is whole".into());
    }
    fit(picture::decode(&bytes)?, size, data)
}

/// A picture in its size, and whether something in it is not opaque.
///
/// # Errors
/// In words, those of the resizer.
pub(in crate::data) fn fit(
    picture: Picture,
    size: Size,
    data: &recipe::Data,
) -> std::result::Result<(Vec<u8>, bool), String> {
    let transparent = geometry::is_transparent(&picture.pixels);
    Ok((picture::fit(picture, size.width, size.height, data.fit, None)?, transparent))
}
