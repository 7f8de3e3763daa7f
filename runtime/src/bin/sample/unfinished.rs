//! Files that appear whole or not at all.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file under a temporary name beside its own, removed unless it is finished.
pub struct Unfinished<'a> {
    path: &'a Path,
    temporary: PathBuf,
    file: Option<BufWriter<File>>,
}

impl<'a> Unfinished<'a> {
    pub fn create(path: &'a Path) -> Result<Self, String> {
        let name = path.file_name().ok_or_else(|| format!("{} is no name of a file", path.display()))?;
        let temporary = path.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
        let file =
            File::create(&temporary).map_err(|e| format!("cannot create a file beside {}: {e}", path.display()))?;
        Ok(Self { path, temporary, file: Some(BufWriter::new(file)) })
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        let path = self.path.display();
        let file = self.file.as_mut().ok_or_else(|| format!("{path} is finished"))?;
        file.write_all(bytes).map_err(|e| format!("cannot write {path}: {e}"))
    }

    pub fn finish(mut self) -> Result<String, String> {
        let path = self.path.display().to_string();
        let text = |e: std::io::Error| format!("cannot write {path}: {e}");
        if let Some(file) = self.file.take() {
            file.into_inner().map_err(|e| text(e.into_error()))?.sync_all().map_err(text)?;
        }
        std::fs::rename(&self.temporary, self.path).map_err(text)?;
        Ok(path)
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        // After `finish` there is nothing under this name.
        let _ = std::fs::remove_file(&self.temporary);
    }
}
