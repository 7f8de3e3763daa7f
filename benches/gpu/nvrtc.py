"""nvrtc.py FOLDER: compiles the trainer's kernels with the libnvrtc in FOLDER, as launch.rs does, see nvrtc.sh.

For each architecture twice: to PTX with the trainer's own options, of which nvrtc must have nothing to say, and to machine
code, for the registers. In modules for types other than F64 only kernels that name `double` among their parameters or what
their threads share may compute in double precision: others got there by a literal or an overload that nobody wanted.
"""

import collections
import ctypes
import pathlib
import re
import sys

TRAINER = pathlib.Path(__file__).resolve().parents[2] / "trainer/src"
CUDA = TRAINER / "ops/cuda"
# Turing, Ampere, Hopper, Blackwell, and Blackwell for desks.
ARCHITECTURES = [75, 80, 90, 100, 120]
# What launch.rs has in common with this file.
DEFINITION = '"#define KILN_{}\\n{PRELUDE}\\n{}\\n{}"'
OPTIONS = 'vec![format!("--gpu-architecture=compute_{major}{minor}"), "--std=c++17".into()]'


def library(folder):
    # By itself the compiler would look for its own parts on LD_LIBRARY_PATH only.
    for parts in folder.rglob("libnvrtc-builtins.so.*"):
        ctypes.CDLL(str(parts), mode=ctypes.RTLD_GLOBAL)
    return ctypes.CDLL(str(next(folder.rglob("libnvrtc.so.*"))))


def compiled(nvrtc, source, name, options):
    """The code, `None` where it is refused, and what the compiler said."""
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    words = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    if nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), name.encode(), 0, None, None):
        sys.exit("nvrtc takes no program")
    refused = nvrtc.nvrtcCompileProgram(program, len(words), words)

    def text(what):
        getattr(nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
        memory = ctypes.create_string_buffer(size.value)
        getattr(nvrtc, f"nvrtcGet{what}")(program, memory)
        return memory.value.decode()

    found = None if refused else text("PTX"), text("ProgramLog").strip()
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return found


def bodies(ptx):
    """The instructions of each kernel by its name."""
    parts = re.split(r"\.entry (\w+)", ptx)
    # Functions that are not inlined may follow.
    return {name: part.split("\n}", 1)[0] for name, part in zip(parts[1::2], parts[2::2])}


def sources(launch):
    """The text of each module by its name: files of kernels, and for each optimiser and criterion its formula with the kernel
    around it."""
    modules = re.findall(r'^module!\(\w+, "(\w+)"\)', launch, re.MULTILINE)
    found = {f"{module}.cu": "\n" + (CUDA / f"kernels/{module}.cu").read_text() for module in modules}
    update = (CUDA / "kernels/update.cu").read_text()
    for path in sorted((TRAINER / "optim").glob("*.rs")):
        name = re.search(r'const NAME: &\'static str = "(\w+)";', path.read_text())
        rule = re.search(r'const KERNEL: &\'static str = r"(.*?)";', path.read_text(), re.DOTALL)
        if name and rule:
            found[f"{name[1]}.cu"] = f"{rule[1]}\n{update}"
    loss = (CUDA / "kernels/loss.cu").read_text()
    for path in sorted((TRAINER / "objective/criterion").glob("*.rs")):
        rule = re.search(r'const KERNEL: &str = r"(.*?)";', path.read_text(), re.DOTALL)
        if rule:
            found[f"{path.stem}.cu"] = f"{rule[1]}\n{loss}"
    return found


def main():
    nvrtc, mistakes = library(pathlib.Path(sys.argv[1])), []
    launch = (CUDA / "launch.rs").read_text()
    prelude = (CUDA / "kernels/prelude.cu").read_text()
    for text in (DEFINITION, OPTIONS):
        if text not in launch:
            mistakes.append(f"launch.rs compiles in another way than this script: it has no {text}")
    optimisers = re.search(r"^optimizers! \{(.*?)^\}", (TRAINER / "optim/mod.rs").read_text(), re.MULTILINE | re.DOTALL)
    modules = sources(launch)
    for name in re.findall(r"^ +(\w+): \w+,", optimisers[1], re.MULTILINE):
        if f"{name}.cu" not in modules:
            mistakes.append(f"optim/{name}.rs has no formula that this script finds")
    criteria = re.search(r"^criteria! \{(.*?)^\}", (TRAINER / "objective/criterion/mod.rs").read_text(), re.MULTILINE | re.DOTALL)
    for name in re.findall(r"^ +(\w+): \w+,", criteria[1], re.MULTILINE):
        # What compares outputs with each other is composed of candle's operators.
        text = (TRAINER / f"objective/criterion/{name}.rs").read_text()
        if f"{name}.cu" not in modules and "Criterion::Together(" not in text:
            mistakes.append(f"objective/criterion/{name}.rs has no functions that this script finds")
    types = sorted(set(re.findall(r"\bKILN_([A-Z]+[0-9]+)\b", prelude)))
    registers, doubles = collections.defaultdict(int), collections.defaultdict(int)
    kernels = []
    for name, text in modules.items():
        heads = re.findall(r"__global__ void (\w+)(\([^)]*\) \{\s*(?:__shared__[^;]*;)?)", text)
        wide = {kernel for kernel, head in heads if "double" in head}
        kernels += [(name, kernel) for kernel, _ in heads]
        for of in types:
            source = f"#define KILN_{of}\n{prelude}\n{text}"
            for architecture in ARCHITECTURES:
                label = f"{name}, {of}, {architecture / 10}"
                options = [f"--gpu-architecture=compute_{architecture}", "--std=c++17"]
                ptx, log = compiled(nvrtc, source, name, options)
                if log or ptx is None:
                    mistakes.append(f"{label}: {log or 'refused'}")
                if ptx is None:
                    continue
                for kernel, body in bodies(ptx).items():
                    count = len(re.findall(r"^\s*(?:@!?%\w+ )?\w[\w.]*\.f64\b", body, re.MULTILINE))
                    doubles[name, kernel, of] = max(doubles[name, kernel, of], count)
                    if count and of != "F64" and kernel not in wide:
                        mistakes.append(f"{label}: {kernel} has {count} instructions in double precision")
                options[0] = f"--gpu-architecture=sm_{architecture}"
                _, log = compiled(nvrtc, source, name, [*options, "--ptxas-options=-v"])
                reports = re.split(r"Compiling entry function '(\w+)'", log)
                for kernel, report in zip(reports[1::2], reports[2::2]):
                    used = re.search(r"Used (\d+) registers", report)
                    most = registers[name, kernel, of]
                    registers[name, kernel, of] = max(most, int(used[1]) if used else 0)
                    if re.search(r"[1-9]\d* bytes (stack frame|spill)", report):
                        mistakes.append(f"{label}: {kernel} spills registers: {' '.join(report.split())}")
    print("registers a thread, the most of any architecture, and instructions in double precision\n")
    print(f"{'':16}{'':20}" + "".join(f"{of:>12}" for of in types))
    for name, kernel in kernels:
        if not all(registers[name, kernel, of] for of in types):
            mistakes.append(f"{name}: nothing was said of {kernel}")
        cells = (f"{registers[name, kernel, of]}" + f" {doubles[name, kernel, of]:>4}" for of in types)
        print(f"{name:16}{kernel:20}" + "".join(f"{cell:>12}" for cell in cells))
    for mistake in mistakes:
        print(f"error: {mistake}", file=sys.stderr)
    sys.exit(bool(mistakes))


if __name__ == "__main__":
    main()
