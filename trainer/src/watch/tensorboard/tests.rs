//! Event files, read by a reader that shares nothing with the writer: its own checksum, its own protobuf.

use super::*;

/// A field of a message, as the wire has it.
#[derive(Debug, PartialEq)]
enum Field<'a> {
    Varint(u64),
    Double(f64),
    Float(f32),
    Bytes(&'a [u8]),
}

/// CRC-32C a bit at a time, from its polynomial.
fn masked(data: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in data {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    let crc = !crc;
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The records of a file up to the first that is cut.
fn records(mut file: &[u8]) -> Vec<&[u8]> {
    let mut all = Vec::new();
    let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
    while let Some((length, rest)) = file.split_at_checked(8) {
        let count = u64::from_le_bytes(length.try_into().expect("eight bytes")) as usize;
        let Some(record) = rest.get(..4 + count + 4) else { break };
        assert_eq!(number(&record[..4]), masked(length), "the checksum of a length");
        let data = &record[4..4 + count];
        assert_eq!(number(&record[4 + count..]), masked(data), "the checksum of an event");
        all.push(data);
        file = &rest[record.len()..];
    }
    all
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let end = bytes.iter().position(|byte| byte & 0x80 == 0).expect("a number ends");
    let (number, rest) = bytes.split_at(end + 1);
    *bytes = rest;
    number.iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f))
}

/// The fields of a message with their numbers.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let mut take = |count: usize| bytes.split_off(..count).expect("as long as it says");
        let field = match key & 7 {
            0 => Field::Varint(varint(&mut bytes)),
            1 => Field::Double(f64::from_le_bytes(take(8).try_into().expect("eight bytes"))),
            5 => Field::Float(f32::from_le_bytes(take(4).try_into().expect("four bytes"))),
            2 => {
                let count = varint(&mut bytes) as usize;
                Field::Bytes(bytes.split_off(..count).expect("as long as it says"))
            }
            other => panic!("wire type {other}"),
        };
        all.push((key >> 3, field));
    }
    all
}

/// The one field of this number.
fn field(message: &[u8], number: u64) -> Option<Field<'_>> {
    let mut found = fields(message).into_iter().filter(|(n, _)| *n == number);
    let field = found.next().map(|(_, field)| field);
    assert!(found.next().is_none(), "field {number} is there twice");
    field
}

/// The message inside, along a path of numbers.
fn inside<'a>(message: &'a [u8], path: &[u64]) -> &'a [u8] {
    path.iter().fold(message, |message, &number| match field(message, number) {
        Some(Field::Bytes(inside)) => inside,
        other => panic!("field {number} is {other:?}"),
    })
}

fn step(event: &[u8]) -> u64 {
    match field(event, 2) {
        Some(Field::Varint(step)) => step,
        None => 0,
        other => panic!("a step is {other:?}"),
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).expect("reads")
}

#[test]
fn figures_pictures_and_texts_are_read_back() -> Result<()> {
    let folder = folder();
    let mut writer = Writer::create(folder.path(), 0)?;
    let figures = [("loss", 0.), ("r1/penalty", -1.5), ("nan", f64::NAN), ("inf", f64::NEG_INFINITY), ("big", 1e300)];
    writer.scalars(300, figures.into_iter())?;
    writer.image(1 << 40, "fakes", b"\x89PNG", (130, 70), 3)?;
    writer.text(u64::MAX, "recipe", "    a = 1\n    b = \"ü\"")?;

    // Nothing waits in a buffer: the writer is still there.
    let file = read(&writer.path);
    let events = records(&file);
    assert_eq!(events.len(), 5);
    for event in &events {
        let Some(Field::Double(time)) = field(event, 1) else { panic!("no time") };
        assert!((time - now()).abs() < 60., "{time}");
    }
    assert_eq!(inside(events[0], &[3]), b"brain.Event:2");
    assert_eq!((step(events[1]), field(inside(events[1], &[7]), 1)), (1, Some(Field::Varint(1))));

    assert_eq!(step(events[2]), 300);
    let values = fields(inside(events[2], &[5]));
    assert_eq!(values.len(), figures.len());
    for ((number, value), (tag, figure)) in values.iter().zip(figures) {
        let (1, Field::Bytes(value)) = (number, value) else { panic!("{value:?}") };
        assert_eq!(inside(value, &[1]), tag.as_bytes());
        // Zero, too, is written.
        let Some(Field::Float(read)) = field(value, 2) else { panic!("{tag} has no value") };
        assert_eq!(read.to_bits(), (figure as f32).to_bits(), "{tag}");
    }

    assert_eq!(step(events[3]), 1 << 40);
    let value = inside(events[3], &[5, 1]);
    assert_eq!(inside(value, &[1]), b"fakes");
    let number = |value: u64| Some(Field::Varint(value));
    let image = inside(value, &[4]);
    assert_eq!([1, 2, 3].map(|n| field(image, n)), [number(70), number(130), number(3)]);
    assert_eq!(inside(image, &[4]), b"\x89PNG");

    assert_eq!(step(events[4]), i64::MAX as u64);
    let value = inside(events[4], &[5, 1]);
    assert_eq!(inside(value, &[9, 1, 1]), b"text");
    assert_eq!(field(inside(value, &[8]), 1), number(7));
    assert_eq!(inside(value, &[8, 2]), b"", "the shape of one string");
    assert_eq!(inside(value, &[8, 8]), "    a = 1\n    b = \"ü\"".as_bytes());
    Ok(())
}

#[test]
fn a_session_begins_behind_all_before_it() -> Result<()> {
    let folder = folder();
    let here = folder.path();
    let first = Writer::create(here, 0)?;
    // Two in one second; the clock an hour, then centuries ahead; a file of other software's.
    let mut names = vec![first.path.file_name().expect("a name").to_owned()];
    let ahead = now() as u64 + 3600;
    for other in [String::new(), format!("{PREFIX}{ahead}.host.1.0.v2"), format!("{PREFIX}9999999990.kiln.1.0")] {
        if !other.is_empty() {
            std::fs::write(here.join(&other), b"").expect("writes");
        }
        let writer = Writer::create(here, 1000)?;
        let name = writer.path.file_name().expect("a name").to_owned();
        assert!(*name.to_string_lossy() > *other, "{name:?}");
        assert!(names.iter().all(|before| *before < name), "{name:?} is not behind {names:?}");
        assert_eq!(step(records(&read(&writer.path))[1]), 1001, "what comes after step 1000 is dropped, not step 1000");
        names.push(name);
    }
    let name = names[0].to_string_lossy().into_owned();
    let parts: Vec<&str> = name.split('.').collect();
    let process = std::process::id().to_string();
    assert_eq!([&parts[..3], &parts[4..]].concat(), ["events", "out", "tfevents", "kiln", &process, "0"], "{name}");
    assert!(parts[3].len() == 10 && parts[3].parse::<u64>().is_ok_and(|s| s.abs_diff(now() as u64) < 60), "{name}");
    Ok(())
}

#[test]
fn a_clock_before_1970_and_names_behind_all_others() {
    let folder = folder();
    let here = folder.path();
    let process = std::process::id();
    assert_eq!(next_name(here, -1e9).expect("a name"), format!("{PREFIX}0000000000.kiln.{process}.0"));
    assert_eq!(next_name(here, 1.7e9).expect("a name"), format!("{PREFIX}1700000000.kiln.{process}.0"));
    for last in [format!("{PREFIX}9999999999.kiln.1.0"), format!("{PREFIX}{}0", u64::MAX), "z.tfevents".into()] {
        let path = here.join(&last);
        std::fs::write(&path, b"").expect("writes");
        let error = next_name(here, 1.7e9).expect_err("no name is behind that").to_string();
        assert!(error.contains(&last) && error.contains("remove it"), "{error}");
        std::fs::remove_file(&path).expect("removes");
    }
    let error = next_name(&here.join("nothing"), 0.).expect_err("no folder").to_string();
    assert!(error.contains("nothing"), "{error}");
}

/// A disk that takes half a record: nothing of it is taken back, and the other half comes first.
#[test]
fn a_record_that_was_cut_is_finished_before_the_next() -> Result<()> {
    let folder = folder();
    let mut writer = Writer::create(folder.path(), 0)?;
    let path = writer.path.clone();
    writer.text(1, "a", "whole")?;
    let (before, mut half) = (read(&path), Vec::new());
    record::append(&mut half, b"\x10\x02");
    writer.file.write_all(&half[..5]).expect("writes");
    writer.unwritten = half[5..].to_vec();
    assert_eq!(records(&read(&path)).len(), 3);

    // A disk that takes nothing: what is given meanwhile is lost and said so, with the file.
    let file = std::mem::replace(&mut writer.file, File::open(&path).expect("opens"));
    for _ in 0..3 {
        let error = writer.text(3, "b", "lost").expect_err("cannot be written").to_string();
        assert!(error.contains(&*path.to_string_lossy()), "{error}");
        assert_eq!(writer.unwritten, half[5..], "what waits grows");
    }
    writer.file = file;
    writer.text(4, "c", "next")?;
    let file = read(&path);
    assert!(file.starts_with(&before));
    assert_eq!(records(&file).iter().map(|event| step(event)).collect::<Vec<_>>(), [0, 1, 1, 2, 4]);
    Ok(())
}
