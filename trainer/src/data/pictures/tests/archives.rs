//! Zip archives.

use super::*;

/// A zip archive of these entries.
fn zip(entries: &[(&str, &[u8])], method: zip::CompressionMethod) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(method);
    for (name, bytes) in entries {
        writer.start_file(*name, options).expect("begins");
        writer.write_all(bytes).expect("writes");
    }
    writer.finish().expect("writes").into_inner()
}

/// StyleGAN's own archives are read as they are.
#[test]
fn an_archive_reads_as_its_folder_does() {
    let pictures: Vec<Vec<u8>> = (0..4).map(some).collect();
    let names = ["00000/img00000000.png", "00000/img00000001.png", "00001/img00000002.png", "00001/img00000003.png"];
    let labelled =
        br#"{"labels": [["00000/img00000000.png", 6], ["00000/img00000001.png", 10], ["00001/img00000002.png", 6],
                        ["00001/img00000003.png", 9]]}"#;
    for method in [zip::CompressionMethod::Stored, zip::CompressionMethod::Deflated] {
        let mut entries: Vec<(&str, &[u8])> =
            names.iter().zip(&pictures).map(|(name, bytes)| (*name, &bytes[..])).collect();
        entries.reverse();
        let place = Folder::new();
        let open = |entries: &[(&str, &[u8])]| {
            place.put("set.zip", &zip(entries, method));
            place.open_as(&recipe::Data::at(&place.root().join("set.zip"))).unwrap_or_else(|e| panic!("{e}"))
        };
        let opened = open(&entries);
        assert_eq!((shape(&opened), opened.splits.train.name()), ((4, 8, 8, 3), "set"));
        assert_eq!(pixels(&opened).chunks(192).map(|picture| picture[2]).collect::<Vec<u8>>(), [0, 1, 2, 3]);
        assert_eq!(opened.splits.train.labels(), None);
        all(&opened.said, &["taken as parts of the whole"]);
        entries.push(("dataset.json", labelled));
        let opened = open(&entries);
        assert_eq!(labels(&opened.splits.train).expect("labels"), ["6", "10", "6", "9"]);
        assert_eq!(opened.splits.train.labels().expect("labels").values, [0, 2, 0, 1]);
        entries.pop();
        entries.push(("dataset.json", br#"{"labels": null}"#));
        assert_eq!(open(&entries).splits.train.labels(), None);
    }
}

#[test]
fn hostile_archives_harm_nothing() {
    let place = Folder::new();
    let data = recipe::Data::at(&place.root().join("set.zip"));
    let (one, two) = (some(1), some(2));
    let names =
        ["../../out.png", "/etc/out.png", "a/../../out.png", "in/1.png", "./2.png", "__MACOSX/._1.png", ".x.png"];
    let entries: Vec<(&str, &[u8])> =
        names.iter().map(|name| (*name, if *name == "in/1.png" { &one[..] } else { &two })).collect();
    place.put("set.zip", &zip(&entries, zip::CompressionMethod::Stored));
    let opened = place.open_as(&data).expect("opens");
    assert_eq!(shape(&opened).0, 2);
    all(&opened.said, &["3 files", "leads out of the archive"]);
    assert!(!place.0.path().join("out.png").exists());

    // Every folder of a long name would be looked into.
    let long = format!("{}x.png", "a/".repeat(10_000));
    place.put("set.zip", &zip(&[("1.png", &one), (&long, &two)], zip::CompressionMethod::Stored));
    let opened = place.open_as(&data).expect("opens");
    assert_eq!(shape(&opened).0, 1);
    all(&opened.said, &["has a name of 20005 bytes, allowed are 4096"]);

    // A megabyte of zeros that a file of labels is packed into must not become gigabytes.
    let zeros = [b"[0".to_vec(), b",0".repeat(4 << 20), b"]".to_vec()].concat();
    place.put("set.zip", &zip(&[("1.png", &one), ("labels.json", &zeros)], zip::CompressionMethod::Deflated));
    all(&[place.error(&data)], &["labels.json", "more than the 4194304 bytes that are allowed for 1 pictures"]);

    // An entry that is marked as encrypted, in both of its headers.
    let mut bytes = zip(&[("a.png", &one), ("b.png", &two)], zip::CompressionMethod::Stored);
    let central = bytes.windows(4).rposition(|window| window == b"PK\x01\x02").expect("a directory");
    let local = bytes.windows(4).rposition(|window| window == b"PK\x03\x04").expect("an entry");
    bytes[central + 8] |= 1;
    bytes[local + 6] |= 1;
    place.put("set.zip", &bytes);
    all(&[place.error(&data)], &["b.png is encrypted"]);

    // Damaged data, more than is stated, a directory that is cut off, two entries in one place.
    let whole = zip(&[("a.png", &one), ("b.png", &vec![7; 1 << 16])], zip::CompressionMethod::Deflated);
    let mut damaged = whole.clone();
    damaged[60] ^= 0x55;
    place.put("set.zip", &damaged);
    all(&[place.error(&data)], &["a.png"]);
    place.put("set.zip", &whole[..whole.len() - 30]);
    all(&[place.error(&data)], &["no whole zip archive"]);
    let mut bomb = zip(&[("a.png", &one), ("b.png", &one), ("c.png", &one)], zip::CompressionMethod::Stored);
    for at in (0..bomb.len() - 4).filter(|&at| bomb[at..].starts_with(b"PK\x01\x02")).collect::<Vec<_>>() {
        let long = (one.len() as u32 * 3).to_le_bytes();
        bomb[at + 20..][..4].copy_from_slice(&long);
        bomb[at + 24..][..4].copy_from_slice(&long);
    }
    place.put("set.zip", &bomb);
    let error = place.error(&data);
    assert!(error.contains("bomb") || error.contains("no whole zip archive"), "{error}");
}
