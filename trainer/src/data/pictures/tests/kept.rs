//! What was made is kept, and made again where it has to be.

use super::*;

#[test]
fn what_was_made_is_read_again_and_said_again() {
    let place = Folder::new();
    for n in 0..6 {
        place.put(&format!("{}/{n}.png", n % 2), &some(n));
        place.put(&format!("{}/{n} again.png", n % 2), &some(n));
    }
    place.put("0/notes.txt", b"notes");
    let first = place.open();
    let [pack] = &place.kept("safetensors")[..] else { panic!("one pack") };
    let written = pack.metadata().and_then(|found| found.modified()).expect("a time");
    let second = place.open();
    assert_eq!((first.said, &first.log), (second.said.clone(), &second.log));
    assert_eq!((first.data, pixels(&second)), (second.data.clone(), pixels(&place.open())));
    assert_eq!(first.splits.train.labels(), second.splits.train.labels());
    // As a run that goes on asks for it.
    assert_eq!(pixels(&place.open_as(&second.data).expect("opens")), pixels(&second));
    assert_eq!(pack.metadata().and_then(|found| found.modified()).expect("a time"), written);
    assert_eq!(place.kept("safetensors").len(), 1);
    all(&second.said, &["kept for the next run", "may be removed at any time", &pack.display().to_string()]);

    // Other bytes under the same name, length and time are noticed, as are other options.
    let plain = |blue: u8| [b"P6 8 8 255\n".to_vec(), [9, 9, blue].repeat(64)].concat();
    let path = place.root().join("0/0.png");
    std::fs::write(&path, plain(1)).expect("writes");
    assert_eq!(pixels(&place.open())[192..][..3], [9, 9, 1]);
    let time = path.metadata().and_then(|found| found.modified()).expect("a time");
    std::fs::write(&path, plain(2)).expect("writes");
    std::fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(time)).expect("sets");
    assert_eq!(pixels(&place.open())[192..][..3], [9, 9, 2]);
    assert_eq!(place.kept("safetensors").len(), 3);
    place.open_as(&recipe::Data { fit: Fit::Pad, ..place.data() }).expect("opens");
    assert_eq!(place.kept("safetensors").len(), 4);
}

#[test]
fn what_was_kept_and_is_damaged_is_made_again() {
    let place = Folder::new();
    for n in 0..6 {
        place.put(&format!("train/{}/{n}.png", n % 2), &some(n));
        place.put(&format!("test/{}/{n}.png", n % 2), &some(50 + n));
    }
    let first = place.open();
    let (pack, note) = (place.kept("safetensors").remove(0), place.kept("json").remove(0));
    let (whole, whole_note) = (std::fs::read(&pack).expect("reads"), std::fs::read(&note).expect("reads"));
    let start = 8 + u64::from_le_bytes(whole[..8].try_into().expect("8 bytes")) as usize;
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    for (what, pack_bytes, note_bytes) in [
        ("cut", whole[..whole.len() - 9].to_vec(), whole_note.clone()),
        ("empty", Vec::new(), whole_note.clone()),
        ("its header", flipped(20), whole_note.clone()),
        ("a label", flipped(start), whole_note.clone()),
        ("a training image", flipped(start + 12 * 4 + 5), whole_note.clone()),
        ("a test image", flipped(whole.len() - 5), whole_note.clone()),
        ("the note", whole.clone(), whole_note[1..].to_vec()),
    ] {
        std::fs::write(&pack, pack_bytes).expect("writes");
        std::fs::write(&note, note_bytes).expect("writes");
        let again = place.open();
        all(&again.said, &["what was kept before is damaged"]);
        assert_eq!(pixels(&again), pixels(&first), "{what}");
        assert_eq!(std::fs::read(&pack).expect("reads"), whole, "{what}");
        assert_eq!(place.open().said, first.said, "{what}");
    }
    std::fs::remove_file(&note).expect("removes");
    all(&place.open().said, &["what was kept before is damaged"]);
}

#[test]
fn of_two_that_need_the_same_one_makes_it() {
    let place = Folder::new();
    (0..200).for_each(|n| {
        place.put(&format!("{n}.png"), &some(n));
    });
    let opened = place.open();
    let made = std::sync::atomic::AtomicUsize::new(0);
    let elsewhere = place.cache().join("other");
    let one = || {
        let kept = cached::kept(Some(&elsewhere), "key", "source", |_| {
            made.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            std::thread::sleep(std::time::Duration::from_millis(200));
            let splits = place.open().splits;
            let size = opened.data.size.expect("a size");
            Ok(Prepared { splits, size, channels: 3, said: vec!["made".into()], log: String::new() })
        });
        kept.expect("opens").said
    };
    let both =
        std::thread::scope(|scope| [(), ()].map(|()| scope.spawn(one)).map(|thread| thread.join().expect("ends")));
    assert_eq!(made.into_inner(), 1);
    assert_eq!(both[0], both[1]);
}

#[test]
fn where_nothing_can_be_kept_pictures_are_read_all_the_same() {
    let place = Folder::new();
    (0..4).for_each(|n| {
        place.put(&format!("{n}.png"), &some(n));
    });
    let opened = open_with(&place.data(), None).expect("opens");
    assert_eq!(pixels(&opened), pixels(&place.open()));
    all(&opened.said, &["there is no cache folder"]);
    place.put("no folder", b"");
    let opened = open_with(&place.data(), Some(&place.root().join("no folder"))).expect("opens");
    all(&opened.said, &["not kept for the next run", "no folder"]);
    assert_eq!(shape(&opened).0, 4);
    // A folder that is there, and in which nothing can be made.
    #[cfg(target_os = "linux")]
    {
        let cache = place.0.path().join("another cache");
        std::fs::create_dir(&cache).expect("makes");
        std::os::unix::fs::symlink("/proc/self", cache.join("packs")).expect("links");
        let fixed = recipe::Data { size: opened.data.size, ..place.data() };
        let elsewhere = open_with(&fixed, Some(&cache)).expect("opens");
        all(&elsewhere.said, &["not kept for the next run", "packs", "$KILN_CACHE"]);
        assert_eq!(pixels(&elsewhere), pixels(&opened));
    }
}

/// A folder with idx files stays what it is; images of other data come to sizes and channels, too.
#[test]
fn packs_and_idx_files_come_to_the_size_that_is_asked_for() {
    let place = Folder::new();
    let images: Vec<u8> = (0..2 * 16).collect();
    let header = [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 4];
    place.put("train-images-idx3-ubyte", &[&header[..], &images].concat());
    place.put("train-labels-idx1-ubyte", &[0, 0, 8, 1, 0, 0, 0, 2, 1, 0]);
    place.put("picture.png", &some(1));
    let opened = place.open();
    assert_eq!((shape(&opened), opened.said.len(), opened.data.size), ((2, 4, 4, 1), 0, None));
    let data = recipe::Data { size: "8x4".parse().ok(), fit: Fit::Pad, channels: Some(3), ..place.data() };
    let converted = place.open_as(&data).expect("opens");
    assert_eq!(shape(&converted), (2, 8, 4, 3));
    all(&converted.said, &["images of 4x4 with 1 channels come to 8x4 with 3", "padded"]);
    let row: Vec<u8> = pixels(&converted)[..24].iter().step_by(3).copied().collect();
    assert_eq!(row, [255, 255, 0, 1, 2, 3, 255, 255]);
    assert_eq!(converted.splits.train.labels(), opened.splits.train.labels());
    // A pack of it, and what it has already is not converted.
    let pack = place.root().join("pack.safetensors");
    crate::data::pack::write(&converted.splits, "x", &pack).expect("writes");
    let same = place.open_as(&recipe::Data { channels: Some(3), ..recipe::Data::at(&pack) }).expect("opens");
    assert!(same.said.is_empty() && same.splits.train.sha256().is_ok());
    let grey = place.open_as(&recipe::Data { channels: Some(1), ..recipe::Data::at(&pack) }).expect("opens");
    assert_eq!(pixels(&grey)[..8], [255, 255, 0, 1, 2, 3, 255, 255]);
}
