//! The frame around each event of a file: its length and its bytes, both with a checksum, as TFRecord has it.

/// Appends the record of `data`: length as a little-endian `u64`, its checksum, `data`, its checksum.
pub fn append(file: &mut Vec<u8>, data: &[u8]) {
    let length = (data.len() as u64).to_le_bytes();
    file.extend(length);
    file.extend(masked_crc(&length).to_le_bytes());
    file.extend(data);
    file.extend(masked_crc(data).to_le_bytes());
}

/// CRC-32C (Castagnoli), rotated and shifted as TFRecord does, so that a checksum of data with checksums inside still tells
/// something.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720, B.4, and the check value that catalogues of checksums list.
    #[test]
    fn checksums_are_castagnolis() {
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        let crc = 0xe306_9283_u32;
        assert_eq!(masked_crc(b"123456789"), crc.rotate_right(15).wrapping_add(0xa282_ead8));
    }

    /// Every file of TensorFlow's begins with these bytes: the length of its first event.
    #[test]
    fn a_record_begins_as_tensorflow_writes_it() {
        let mut file = vec![9];
        append(&mut file, &[7; 24]);
        assert_eq!(file.len(), 1 + 8 + 4 + 24 + 4);
        assert_eq!(&file[1..13], b"\x18\0\0\0\0\0\0\0\xa3\x7fK\"");
        assert_eq!(file[13..37], [7; 24]);
        assert_eq!(file[37..], masked_crc(&[7; 24]).to_le_bytes());
    }
}
