//! The README's Python: a pack that it writes is learned from, figures that it reads are those of a run.

use std::fs;
use std::path::Path;
use tests::runs::TINY;
use tests::{folder, python, succeed, trainer};

/// The README's Python that contains `words`, after `before`.
fn script(folder: &Path, words: &str, before: &str) -> String {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(readme).expect("reads");
    let blocks = readme.split("```python\n").skip(1).filter_map(|after| after.split("```").next());
    let block = blocks.into_iter().find(|block| block.contains(words)).unwrap_or_else(|| panic!("no {words}"));
    let path = folder.join("script.py");
    fs::write(&path, format!("{before}{block}")).expect("writes");
    path.to_str().expect("a name").to_owned()
}

#[test]
fn a_pack_of_pythons_is_learned_from() {
    let folder = folder();
    let here = folder.path();
    let needs = "import sys\ntry:\n    import numpy, safetensors\nexcept ImportError as e:\n    print(f'skipped: {e}')\n    sys.exit(0)\n";
    let said = python(here, &script(here, "save_file", needs), &[]);
    if said.starts_with("skipped") {
        return println!("{said}");
    }
    let mut command = trainer(here);
    command.args(["--data", "birds.safetensors", "--recipe", "pictures-conditional", "--run", "run", "--steps", "1"]);
    let said = succeed(command.args(TINY));
    assert!(said.contains("birds (1000 images of 32x32)") && said.contains("of 2 classes"), "{said}");
}

/// A stand-in for Weights & Biases that takes what its `log` takes: numbers by their names, steps that do not fall.
const WANDB: &str = "\
import contextlib

class Run:
    last = -1

    def log(self, figures, step):
        assert isinstance(step, int) and step >= self.last, (step, self.last)
        assert 'generator_loss' in figures, figures
        self.last = step

@contextlib.contextmanager
def init(project):
    run = Run()
    yield run
    print('logged until', run.last)
";

#[test]
fn the_log_is_read_line_by_line() {
    let folder = folder();
    let here = folder.path();
    succeed(trainer(here).args(TINY).args(["--steps", "10"]));
    fs::write(here.join("wandb.py"), WANDB).expect("writes");
    let said = python(here, &script(here, "wandb.init", ""), &[]);
    assert!(said.starts_with("skipped") || said.trim() == "logged until 40", "{said}");
    println!("{said}");
}
