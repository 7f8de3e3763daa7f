//! Files of labels: CSV with or without a header, JSON in three forms.

use serde_json::Value;

/// What the column or key of the file is called, and that of the label, best first.
const FILE: [&str; 12] = [
    "file",
    "filename",
    "file_name",
    "image",
    "path",
    "filepath",
    "file_path",
    "image_path",
    "image_name",
    "image_id",
    "img",
    "id",
];
const LABEL: [&str; 10] =
    ["label", "class", "category", "labels", "class_name", "classname", "classes", "target", "label_name", "class_id"];

/// A file, and what is said of it.
pub(super) type Row = (String, String);

/// What a file of labels holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// A label for each of these files.
    Rows(Vec<Row>),
    /// Nothing, and that is said in it.
    Null,
}

/// Reads the labels in `bytes`, a file that is called `name`.
///
/// # Errors
/// In words that follow its name, why it holds no labels.
pub(super) fn read(name: &str, bytes: &[u8]) -> Result<Table, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if name.to_lowercase().ends_with(".json") || matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'[')) {
        json(bytes)
    } else {
        csv(bytes).map(Table::Rows)
    }
}

fn csv(bytes: &[u8]) -> Result<Vec<Row>, String> {
    let header = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let count = |delimiter: u8| header.iter().filter(|&&byte| byte == delimiter).count();
    let delimiter = [b',', b';', b'\t'].into_iter().rev().max_by_key(|&delimiter| count(delimiter)).unwrap_or(b',');
    let mut reader = csv::ReaderBuilder::new();
    let reader = reader.delimiter(delimiter).has_headers(false).flexible(true).trim(csv::Trim::All);
    let mut columns = None;
    let mut rows = Vec::new();
    for record in reader.from_reader(bytes).byte_records() {
        let record = record.map_err(|e| format!("is no CSV ({e})"))?;
        let cell = |column: usize| record.get(column).map(|cell| String::from_utf8_lossy(cell).into_owned());
        let (file, label) = match columns {
            Some(columns) => columns,
            None => {
                let names: Vec<String> = (0..record.len()).filter_map(cell).map(|cell| cell.to_lowercase()).collect();
                let find = |known: &[&str]| known.iter().find_map(|known| names.iter().position(|name| name == known));
                match (find(&FILE), find(&LABEL)) {
                    (Some(file), Some(label)) => {
                        columns = Some((file, label));
                        continue;
                    }
                    // Two columns without a header.
                    (None, None) if record.len() == 2 => *columns.insert((0, 1)),
                    _ => {
                        return Err(format!(
                            "has the columns {}, a column `file` and one `label` are needed",
                            names.join(", ")
                        ));
                    }
                }
            }
        };
        match (cell(file), cell(label)) {
            (Some(file), _) if file.is_empty() => (),
            (Some(file), Some(label)) => rows.push((file, label)),
            _ => {
                let line = line_of(bytes, record.position().map_or(0, csv::Position::byte) as usize);
                return Err(format!("has {} columns in line {line}, not those of its header", record.len()));
            }
        }
    }
    Ok(rows.into_iter().filter(|(_, label)| !label.is_empty()).collect())
}

/// The line of the record that is read from a place on: lines that are empty come before it.
fn line_of(bytes: &[u8], from: usize) -> usize {
    let (before, rest) = bytes.split_at(from.min(bytes.len()));
    let empty = rest.iter().take_while(|byte| b"\r\n".contains(byte));
    1 + before.iter().chain(empty).filter(|&&byte| byte == b'\n').count()
}

fn json(bytes: &[u8]) -> Result<Table, String> {
    const FORMS: &str =
        "allowed are {\"file\": \"label\"}, [{\"file\": ..., \"label\": ...}] and {\"labels\": [[\"file\", label]]}";
    let form = || format!("holds no labels of a known form: {FORMS}");
    let value: Value = serde_json::from_slice(bytes).map_err(|e| format!("is no JSON ({e})"))?;
    let rows: Option<Vec<Option<Row>>> = match value {
        Value::Object(mut map) if matches!(map.get("labels"), Some(Value::Array(_) | Value::Null)) => {
            match map.remove("labels") {
                Some(Value::Array(pairs)) => pairs.into_iter().map(pair).collect(),
                _ => return Ok(Table::Null),
            }
        }
        Value::Object(map) => map.into_iter().map(|(file, label)| row(file, label)).collect(),
        Value::Array(records) => records.into_iter().map(record).collect(),
        _ => None,
    };
    rows.map(|rows| Table::Rows(rows.into_iter().flatten().collect())).ok_or_else(form)
}

/// `["00000/img00000000.png", 6]`, as StyleGAN's tool writes it.
fn pair(pair: Value) -> Option<Option<Row>> {
    match pair {
        Value::Array(mut pair) if pair.len() == 2 => match (pair.remove(0), pair.remove(0)) {
            (Value::String(file), label) => row(file, label),
            _ => None,
        },
        _ => None,
    }
}

/// `{"file": "a.png", "label": "cat"}`.
fn record(record: Value) -> Option<Option<Row>> {
    let Value::Object(mut map) = record else { return None };
    let mut take = |known: &[&str]| known.iter().find_map(|known| map.remove(*known));
    match (take(&FILE), take(&LABEL)) {
        (Some(Value::String(file)), Some(label)) => row(file, label),
        (Some(Value::String(_)), None) => Some(None),
        _ => None,
    }
}

/// A file with its label; nothing where that is null; `None` where it is no label.
fn row(file: String, label: Value) -> Option<Option<Row>> {
    let label = match label {
        Value::String(label) => label.trim().to_owned(),
        Value::Number(label) => label.to_string(),
        Value::Bool(label) => label.to_string(),
        Value::Null => return Some(None),
        _ => return None,
    };
    Some((!label.is_empty()).then_some((file, label)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(name: &str, text: &str) -> Vec<Row> {
        match read(name, text.as_bytes()).expect(text) {
            Table::Rows(rows) => rows,
            Table::Null => panic!("null: {text}"),
        }
    }

    fn two() -> Vec<Row> {
        [("a.png", "cat"), ("b, c.png", "7")].map(|(file, label)| (file.to_owned(), label.to_owned())).to_vec()
    }

    #[test]
    fn tables_are_read_whatever_separates_their_columns_and_whatever_these_are_called() {
        for text in [
            "file,label\na.png,cat\n\"b, c.png\",7\n",
            "\u{feff}label;FileName\r\ncat;a.png\r\n7;b, c.png\r\n",
            "n\tclass\timage\n1\tcat\ta.png\n2\t7\tb, c.png",
            "a.png,cat\n\"b, c.png\", 7\n",
            "file,label\n\na.png,cat\n,\n\"b, c.png\",7\nd.png,\n",
        ] {
            assert_eq!(rows("labels.csv", text), two(), "{text:?}");
        }
    }

    #[test]
    fn json_is_read_in_three_forms() {
        for text in [
            r#"{"a.png": "cat", "b, c.png": 7, "d.png": null}"#,
            r#"[{"file": "a.png", "label": "cat"}, {"image": "b, c.png", "class": 7, "width": 64}, {"file": "d.png"}]"#,
            r#"{"labels": [["a.png", "cat"], ["b, c.png", 7], ["d.png", null]]}"#,
        ] {
            assert_eq!(rows("labels.json", text), two(), "{text}");
        }
        assert_eq!(read("dataset.json", br#"{"labels": null}"#), Ok(Table::Null));
    }

    #[test]
    fn what_holds_no_labels_is_told() {
        for (name, text, words) in [
            ("labels.csv", "file,text\na.png,a cat", "columns file, text"),
            ("labels.csv", "file,label\na.png,cat\nb.png", "1 columns in line 3"),
            ("labels.csv", "file,label\n\n\na.png", "1 columns in line 4"),
            ("labels.json", "{", "no JSON"),
            ("labels.json", "7", "known form"),
            ("labels.json", r#"{"images": [1, 2], "annotations": []}"#, "known form"),
            ("labels.json", r#"{"labels": [["a.png", [0.5, 0.1]]]}"#, "known form"),
            ("labels.json", r#"[{"file": "a.png", "label": {}}]"#, "known form"),
        ] {
            let error = read(name, text.as_bytes()).expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
