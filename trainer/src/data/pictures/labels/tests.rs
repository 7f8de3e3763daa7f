use super::super::tests::{Folder, some};
use crate::data::open_with;
use crate::recipe::{Data, Labelled};

fn found(place: &Folder, wanted: Option<Labelled>) -> (Option<Vec<String>>, String) {
    let opened = open_with(&Data { labels: wanted, ..Data::at(&place.root()) }, None).unwrap_or_else(|e| panic!("{e}"));
    let labels = opened.splits.train.labels().map(|labels| {
        let names = labels.names.as_ref().expect("names");
        labels.values.iter().map(|&value| names[value as usize].clone()).collect()
    });
    (labels, opened.said.join("\n"))
}

fn pictures(names: &[&str]) -> Folder {
    let place = Folder::new();
    for (name, number) in names.iter().zip(0..) {
        place.put(name, &some(number));
    }
    place
}

fn names(names: &[&str]) -> Option<Vec<String>> {
    Some(names.iter().map(|name| (*name).to_owned()).collect())
}

#[test]
fn a_file_beside_the_pictures_says_what_they_are() {
    for (name, text) in [
        ("labels.csv", "file,label\na.png,cat\nin/b.png,dog\n"),
        // By file name alone, without ending, with the path of another system.
        ("metadata.csv", "id;class\na;cat\nb;dog\n"),
        ("labels.json", r#"{"./a.png": "cat", "in\\b.png": "dog"}"#),
        ("dataset.json", r#"{"labels": [["a.png", "cat"], ["in/b.png", "dog"]]}"#),
    ] {
        let place = pictures(&["a.png", "in/b.png"]);
        place.put(name, text.as_bytes());
        let (labels, said) = found(&place, None);
        assert_eq!(labels, names(&["cat", "dog"]), "{name}");
        assert!(
            said.contains(&format!("2 classes by {name}: cat 1, dog 1")) && !said.contains("passed over"),
            "{said}"
        );
        let (labels, said) = found(&place, Some(Labelled::None));
        assert!(labels.is_none() && said.contains("passed over"), "{said}");
    }
}

#[test]
fn a_file_may_lie_with_the_pictures_further_down_or_anywhere_if_it_is_named() {
    let place = pictures(&["train/x/1.png", "train/x/2.png", "test/x/1.png"]);
    place
        .put("train/labels.csv", b"file,label\nx/1.png,b\nx/2.png,a\n")
        .put("test/labels.csv", b"file,label\nx/1.png,c\n");
    let (labels, said) = found(&place, None);
    assert_eq!(labels, names(&["b", "a"]));
    assert!(said.contains("3 classes by test/labels.csv, train/labels.csv: a 1, b 1, c 1"), "{said}");

    let place = pictures(&["cat/1.png", "dog/2.png"]);
    let elsewhere = pictures(&[]);
    elsewhere.put("table.tsv", b"file\tlabel\n1.png\tx\n2.png\ty\n9.png\tz\n");
    let (labels, said) = found(&place, Some(Labelled::File(elsewhere.root().join("table.tsv"))));
    assert_eq!(labels, names(&["x", "y"]));
    assert!(said.contains("1 labels in") && said.contains("of no picture: 9.png"), "{said}");
    assert_eq!(found(&place, None).0, names(&["cat", "dog"]));
}

#[test]
fn labels_that_do_not_fit_are_told() {
    let place = pictures(&["a.png", "b.png", "x/b.png"]);
    for (text, words) in [
        ("file,label\na.png,cat\n", &["no label for 2 of 3 pictures: b.png, x/b.png", "data.labels to none"][..]),
        ("file,label\na.png,cat\na.png,dog\n", &["two labels for a.png, cat and dog"]),
        ("file,label\nq.png,cat\n", &["none of the pictures", "q.png", "a.png"]),
        ("file,label\na.png,cat\nx/b.png,dog\nb,dog\n", &["no label for 1 of 3 pictures: b.png"]),
        ("file,text\na.png,cat\n", &["columns file, text", "data.labels to none"]),
    ] {
        place.put("labels.csv", text.as_bytes());
        let error = place.error(&Data::at(&place.root()));
        assert!(words.iter().all(|words| error.contains(words)) && error.contains("labels.csv"), "{text}: {error}");
    }
    let missing = Data { labels: Some(Labelled::File("nothing.csv".into())), ..Data::at(&place.root()) };
    assert!(place.error(&missing).contains("nothing.csv"));
}

/// The label of a picture that is missing is not another's of the same file name.
#[test]
fn folders_in_a_file_of_labels_count_where_they_are_known() {
    let place = pictures(&["a/2.png", "b/1.png"]);
    place.put("labels.csv", b"file,label\na/1.png,cat\na/2.png,cat\n");
    let error = place.error(&Data::at(&place.root()));
    assert!(error.contains("no label for 1 of 2 pictures: b/1.png"), "{error}");

    let place = pictures(&["train/1.png"]);
    place.put("labels.csv", b"file,label\ntrain/1.png,cat\ntest/1.png,dog\n");
    let (labels, said) = found(&place, None);
    assert_eq!(labels, names(&["cat"]));
    assert!(said.contains("1 labels in labels.csv are of no picture: test/1.png"), "{said}");

    // Of a file whose folders are all of another place, file names say it.
    let place = pictures(&["1.png", "in/2.png"]);
    place.put("labels.csv", b"file,label\n/home/x/1.png,cat\n/home/x/2.png,dog\n");
    assert_eq!(found(&place, None).0, names(&["cat", "dog"]));
}

/// Files of these names hold captions, boxes and more.
#[test]
fn files_of_something_else_are_not_used_and_that_is_said() {
    let place = pictures(&["cat/1.png", "dog/2.png"]);
    place.put("metadata.csv", b"file_name,text\n1.png,a cat\n").put("dataset.json", b"{\"images\": []}");
    let (labels, said) = found(&place, None);
    assert_eq!(labels, names(&["cat", "dog"]));
    assert!(said.contains("metadata.csv has the columns file_name, text") && said.contains("1 notes more"), "{said}");
}
