//! A file of the idx format, plain or gzipped: its header when it is opened, its elements when they are wanted.
//!
//! Four bytes `0 0 type rank`, the sizes as big-endian 32-bit integers, then the elements. Only unsigned bytes (type 8)
//! occur here.

use super::super::store::Store;
use crate::error::{Error, Result};
use crate::files;
use crate::report::Bar;
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use tempfile::{SpooledData, SpooledTempFile};

/// More elements than any file of this kind has.
const MAX_ELEMENTS: u64 = 1 << 40;
/// What a gzipped file holds is unpacked into memory up to so many bytes, else into a temporary file.
const IN_MEMORY: usize = 128 << 20;
/// Bytes that are unpacked together, and how many take long enough for a bar.
const PIECE: usize = 1 << 20;
const LONG: u64 = 4 << 30;

/// An idx file of unsigned bytes whose header has been read.
pub(in crate::data) struct IdxFile {
    pub path: PathBuf,
    pub sizes: Vec<usize>,
    body: Body,
}

enum Body {
    /// The elements lie in the file as they are, to its end.
    InPlace(File),
    /// What a decoder gives next.
    Packed(Box<dyn Read>),
}

impl IdxFile {
    /// Reads the header of the file at `path`, which must state `rank` sizes.
    ///
    /// # Errors
    /// A file that is not regular, no such idx file, and a plain one whose length is not what its header states.
    pub fn open(path: &Path, rank: u8) -> Result<Self> {
        let mut file = files::open(path)?;
        let mut magic = Vec::new();
        let begins = (&file).take(2).read_to_end(&mut magic).and_then(|_| file.rewind());
        begins.map_err(Error::io("read", path))?;
        if magic == [0x1f, 0x8b] {
            return Self::packed(path, file, rank);
        }
        let fail = |what: String| Error::Data { path: path.to_owned(), what };
        let sizes = header(&mut file, rank, "").map_err(fail)?;
        let (states, holds) = (elements(&sizes), file.metadata().map_err(Error::io("read", path))?.len());
        let holds = holds.saturating_sub(4 + 4 * u64::from(rank));
        if holds != states {
            return Err(fail(match holds < states {
                true => format!(
                    "is truncated: sizes {sizes:?} need {states} elements, it holds {holds}; get the file again"
                ),
                false => goes_on(&sizes),
            }));
        }
        Ok(Self { path: path.to_owned(), sizes, body: Body::InPlace(file) })
    }

    /// Reads the header of what is gzipped in `bytes`; `path` is for messages.
    ///
    /// # Errors
    /// No such idx file.
    pub fn packed(path: &Path, bytes: impl Read + 'static, rank: u8) -> Result<Self> {
        let mut bytes = MultiGzDecoder::new(bytes);
        let sizes = header(&mut bytes, rank, GZIPPED).map_err(|what| Error::Data { path: path.to_owned(), what })?;
        Ok(Self { path: path.to_owned(), sizes, body: Body::Packed(Box::new(bytes)) })
    }

    /// The elements.
    ///
    /// # Errors
    /// A gzipped file that is damaged, or does not hold as many elements as its header states, and no room to unpack it.
    pub fn into_store(self) -> Result<Store> {
        match self.body {
            Body::InPlace(file) => Ok(Store::File { file, path: self.path, start: 4 + 4 * self.sizes.len() as u64 }),
            Body::Packed(from) => unpack(from, &self.path, &self.sizes),
        }
    }
}

const GZIPPED: &str = "gzipped ";

fn damaged(e: &io::Error, kind: &str, part: &str) -> String {
    format!("the {kind}idx file ends or is damaged in its {part} ({e}); get the file again")
}

fn goes_on(sizes: &[usize]) -> String {
    format!("goes on after the {} elements that its sizes {sizes:?} state", elements(sizes))
}

/// The number of elements, which a header was checked to have.
fn elements(sizes: &[usize]) -> u64 {
    sizes.iter().map(|&size| size as u64).product()
}

fn header(file: &mut impl Read, rank: u8, kind: &str) -> std::result::Result<Vec<usize>, String> {
    let mut magic = [0; 4];
    file.read_exact(&mut magic).map_err(|e| damaged(&e, kind, "first 4 bytes"))?;
    if magic != [0, 0, 8, rank] {
        return Err(format!(
            "begins with {magic:02x?}, but an idx file of unsigned bytes with {rank} sizes begins with {:02x?}",
            [0, 0, 8, rank]
        ));
    }
    let mut sizes = Vec::new();
    for _ in 0..rank {
        let mut size = [0; 4];
        file.read_exact(&mut size).map_err(|e| damaged(&e, kind, "sizes"))?;
        sizes.push(u32::from_be_bytes(size) as usize);
    }
    let count = sizes.iter().try_fold(1u64, |product, &size| product.checked_mul(size as u64));
    match count {
        Some(..=MAX_ELEMENTS) => Ok(sizes),
        _ => Err(format!("states sizes {sizes:?}, more than {MAX_ELEMENTS} elements in all")),
    }
}

/// Unpacks as many elements as `sizes` state, and no more, whatever the archive at `path` holds.
fn unpack(mut from: Box<dyn Read>, path: &Path, sizes: &[usize]) -> Result<Store> {
    let fail = |what: String| Error::Data { path: path.to_owned(), what };
    let broken = |e: io::Error, part: &str| fail(damaged(&e, GZIPPED, part));
    let full = "make a temporary file (its folder can be set with TMPDIR) of what is unpacked from";
    let count = elements(sizes);
    let mut to = SpooledTempFile::new(IN_MEMORY);
    if count > IN_MEMORY as u64 {
        to.roll().map_err(Error::io(full, path))?;
    }
    let mut bar = (count > LONG).then(|| Bar::new(0, count));
    let (mut piece, mut done) = (vec![0; PIECE], 0);
    while done < count {
        let room = (count - done).min(PIECE as u64) as usize;
        let got = match from.read(&mut piece[..room]) {
            Ok(0) => {
                return Err(fail(format!("is truncated: sizes {sizes:?} need {count} elements, it holds {done}")));
            }
            Ok(got) => got,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(broken(e, "elements")),
        };
        to.write_all(&piece[..got]).map_err(Error::io(full, path))?;
        done += got as u64;
        if let Some(bar) = &mut bar {
            bar.update(done, || format!("unpacking  {:.1} of {:.1} GB", done as f64 / 1e9, count as f64 / 1e9));
        }
    }
    if let Some(bar) = bar {
        bar.end();
    }
    // Reading on also makes the decoder compare its checksum, and look for another member.
    if from.read(&mut [0; 1]).map_err(|e| broken(e, "end"))? > 0 {
        return Err(fail(goes_on(sizes)));
    }
    Ok(match to.into_inner() {
        SpooledData::InMemory(bytes) => Store::Memory(bytes.into_inner()),
        SpooledData::OnDisk(file) => Store::File { file, path: path.to_owned(), start: 0 },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};

    /// The sizes and elements of a file of these bytes.
    fn read(bytes: &[u8], rank: u8) -> Result<(Vec<usize>, Vec<u8>)> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("some-file");
        std::fs::write(&path, bytes).expect("writes");
        let file = IdxFile::open(&path, rank)?;
        let (sizes, mut found) = (file.sizes.clone(), vec![0; elements(&file.sizes) as usize]);
        file.into_store()?.read(0, &mut found)?;
        Ok((sizes, found))
    }

    fn error(bytes: &[u8], rank: u8) -> String {
        read(bytes, rank).expect_err("must be refused").to_string()
    }

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).expect("writes");
        encoder.finish().expect("writes")
    }

    const GOOD: &[u8] = &[0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6];

    #[test]
    fn plain_and_gzipped_files_read_alike_in_one_member_or_several() -> Result<()> {
        let expected = (vec![2, 3], vec![1, 2, 3, 4, 5, 6]);
        assert_eq!(read(GOOD, 2)?, expected);
        assert_eq!(read(&gz(GOOD), 2)?, expected);
        assert_eq!(read(&[gz(&GOOD[..7]), gz(&GOOD[7..15]), gz(&[]), gz(&GOOD[15..])].concat(), 2)?, expected);
        Ok(())
    }

    #[test]
    fn damaged_files_are_errors_that_name_the_file() {
        for bytes in [GOOD.to_owned(), gz(GOOD)] {
            assert!(error(&bytes, 3).contains("some-file") && error(&bytes, 3).contains("begins with"));
        }
        assert!(error(b"", 2).contains("first 4 bytes") && error(b"PNG", 2).contains("first 4 bytes"));
        for (bytes, expected) in
            [(&GOOD[..9], "sizes"), (&GOOD[..17], "truncated"), (&[GOOD, &[7]].concat(), "goes on")]
        {
            assert!(error(bytes, 2).contains(expected) && error(&gz(bytes), 2).contains(expected), "{expected}");
        }
        let lying = [0, 0, 8, 2, 255, 255, 255, 255, 255, 255, 255, 255];
        assert!(error(&lying, 2).contains("more than"));
    }

    #[test]
    fn damaged_compression_is_an_error() {
        let whole = gz(GOOD);
        assert!(error(&whole[..whole.len() - 9], 2).contains("gzipped"));
        let mut flipped = whole.clone();
        let checksum = flipped.len() - 6;
        flipped[checksum] ^= 1;
        assert!(error(&flipped, 2).contains("end"), "a wrong checksum");
        assert!(error(&[&whole[..], b"garbage"].concat(), 2).contains("end"), "no member");
        assert!(error(&[whole, gz(&[7])].concat(), 2).contains("goes on"), "another member");
    }

    /// Much that little unpacks to lies in a temporary file, and what is more than stated is not unpacked.
    #[test]
    fn an_archive_of_much_is_unpacked_outside_of_memory_and_no_further_than_stated() {
        let header = |count: u32| [&[0, 0, 8, 1], &count.to_be_bytes()[..]].concat();
        let open = |count: u32, holds: u64| {
            // Packed while it is read.
            let bytes = io::Cursor::new(header(count)).chain(io::repeat(0).take(holds));
            let packed = flate2::read::GzEncoder::new(bytes, Compression::fast());
            IdxFile::packed(Path::new("bomb"), packed, 1).expect("a header").into_store()
        };
        let large = IN_MEMORY as u32 + 1;
        let store = open(large, u64::from(large)).expect("unpacks");
        assert!(matches!(store, Store::File { .. }));
        let error = open(1000, 1 << 50).expect_err("goes on").to_string();
        assert!(error.contains("goes on"), "{error}");
    }
}
