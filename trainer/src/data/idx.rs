//! The idx format of the MNIST files, plain or gzipped.
//!
//! Four bytes `0 0 type rank`, the sizes as big-endian 32-bit integers, then the elements. Only unsigned bytes (type 8)
//! occur here.

use crate::error::{Error, Result};
use flate2::read::GzDecoder;
use std::io::Read;
use std::path::Path;

/// More elements than any file of this kind has: sizes in a hostile header must not drive allocations.
const MAX_ELEMENTS: usize = 1 << 30;

/// An idx file of unsigned bytes.
#[derive(Debug, PartialEq)]
pub(super) struct Idx {
    pub sizes: Vec<usize>,
    pub elements: Vec<u8>,
}

/// Reads the bytes of a file with `rank` sizes; `path` is for messages only.
pub(super) fn parse(bytes: &[u8], rank: u8, path: &Path) -> Result<Idx> {
    let fail = |what: String| Error::Data { path: path.to_owned(), what };
    if bytes.starts_with(&[0x1f, 0x8b]) {
        read(GzDecoder::new(bytes), rank, true).map_err(fail)
    } else {
        read(bytes, rank, false).map_err(fail)
    }
}

fn read(mut file: impl Read, rank: u8, compressed: bool) -> std::result::Result<Idx, String> {
    let damaged = |e: std::io::Error, what: &str| {
        let of = if compressed { "gzipped " } else { "" };
        format!("the {of}idx file ends or is damaged in its {what} ({e}); get the file again")
    };
    let mut magic = [0; 4];
    file.read_exact(&mut magic).map_err(|e| damaged(e, "first 4 bytes"))?;
    if magic != [0, 0, 8, rank] {
        return Err(format!(
            "begins with {magic:02x?}, but an idx file of unsigned bytes with {rank} sizes begins with {:02x?}",
            [0, 0, 8, rank]
        ));
    }
    let mut sizes = Vec::new();
    for _ in 0..rank {
        let mut size = [0; 4];
        file.read_exact(&mut size).map_err(|e| damaged(e, "sizes"))?;
        sizes.push(u32::from_be_bytes(size) as usize);
    }
    let count = sizes
        .iter()
        .try_fold(1usize, |product, &size| product.checked_mul(size))
        .filter(|&n| n <= MAX_ELEMENTS)
        .ok_or_else(|| format!("states sizes {sizes:?}, more than {MAX_ELEMENTS} elements in all"))?;
    let mut elements = Vec::new();
    file.by_ref().take(count as u64).read_to_end(&mut elements).map_err(|e| damaged(e, "elements"))?;
    if elements.len() < count {
        return Err(format!("is truncated: sizes {sizes:?} need {count} elements, it holds {}", elements.len()));
    }
    // Reading on also makes the decoder compare its checksum.
    let rest = file.read(&mut [0; 1]).map_err(|e| damaged(e, "end"))?;
    if rest > 0 {
        return Err(format!("goes on after the {count} elements that its sizes {sizes:?} state"));
    }
    Ok(Idx { sizes, elements })
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn error(bytes: &[u8], rank: u8) -> String {
        parse(bytes, rank, Path::new("some-file")).expect_err("must be refused").to_string()
    }

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).expect("writes");
        encoder.finish().expect("writes")
    }

    const GOOD: &[u8] = &[0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6];

    #[test]
    fn plain_and_gzipped_files_read_alike() -> Result<()> {
        let expected = Idx { sizes: vec![2, 3], elements: vec![1, 2, 3, 4, 5, 6] };
        assert_eq!(parse(GOOD, 2, Path::new("x"))?, expected);
        assert_eq!(parse(&gz(GOOD), 2, Path::new("x"))?, expected);
        Ok(())
    }

    #[test]
    fn damaged_files_are_errors_that_name_the_file() {
        assert!(error(b"", 2).contains("some-file"));
        assert!(error(b"PNG", 2).contains("first 4 bytes"));
        assert!(error(GOOD, 3).contains("begins with"));
        assert!(error(&GOOD[..9], 2).contains("sizes"));
        assert!(error(&GOOD[..17], 2).contains("truncated"));
        assert!(error(&[GOOD, &[7]].concat(), 2).contains("goes on"));
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
    }
}
