"""Whether releases of ONNX Runtime draw the same images: each one's library, from its wheel, under the program `sample`.

    python3 benches/peers/wheels.py [--versions 1.24.4,1.32.0] [--python 1.15.1,1.32.0] [--model models/digits/gen.onnx]

Prints two tables: the libraries under `sample`, and Python's packages, back to what this Python can have, as anybody would use
the file without Kiln. Wheels are fetched through pip and kept in target/wheels; what cannot be had is skipped with the reason.
"""

import argparse
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile

import common

ROOT = common.FOLDER.parents[1]
# The last of each minor release that is accepted.
VERSIONS = ["1.24.4", "1.25.1", "1.26.0", "1.27.0", "1.28.0", "1.29.0", "1.30.0", "1.31.1", "1.32.0"]
PYTHON = ["1.15.1", "1.16.3", "1.17.3", "1.18.1", "1.19.2", "1.20.1", "1.21.1", "1.22.1", "1.23.2", "1.24.4", "1.32.0"]
# Sixteen images of latents that are the same everywhere, 0 to 255.
IN_PYTHON = """
import numpy, onnxruntime, sys
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
z = session.get_inputs()[0]
element = {"tensor(float16)": "float16", "tensor(float)": "float32"}[z.type]
latents = numpy.sin(numpy.arange(16 * z.shape[1]) * 0.7).reshape(16, -1).astype(element)
images = session.run(["image"], {"z": latents})[0].astype("float32")
sys.stdout.buffer.write(((images.clip(-1, 1) + 1) * 127.5).round().astype("uint8").tobytes())
"""
LIBRARIES = ("libonnxruntime.so", "libonnxruntime.1", "onnxruntime.dll")


def library(version, cache):
    """The library's path and None, or None and why there is none. For this system; the wheel's Python does not matter."""
    folder = cache / version
    if not any(folder.glob("*.whl")):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", "3.12"]
        command += ["--timeout", "20", "--retries", "1", "--dest", str(folder), f"onnxruntime=={version}"]
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if run.returncode:
            return None, (run.stdout.strip().splitlines() or ["pip failed without a word"])[-1]
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if pathlib.PurePosixPath(name).name.startswith(LIBRARIES):
                return pathlib.Path(archive.extract(name, folder)), None
    return None, f"{wheel.name} has no library"


def build():
    command = ["cargo", "build", "--release", "-p", "kiln-gan-runtime", "--bin", "sample", "--message-format", "json"]
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    lines = [json.loads(line) for line in built.stdout.splitlines() if line.startswith("{")]
    return next(line["executable"] for line in reversed(lines) if line.get("executable"))


def draw(program, path, args, options):
    """The images' bytes, or why there are none."""
    with tempfile.TemporaryDirectory() as folder:
        raw = pathlib.Path(folder) / "images"
        command = [program, str(args.model), "--seed", "7", "--count", str(args.count), "--raw", str(raw), *options]
        environment = os.environ | {"ORT_DYLIB_PATH": str(path)}
        run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        return raw.read_bytes() if run.returncode == 0 else " ".join(run.stderr.split())


def in_python(version, cache, model):
    """The images that Python's package of this version draws, or why there are none."""
    folder = cache / f"python-{version}"
    if not (folder / "onnxruntime").is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--timeout", "20"]
        # Packages of old want the numpy of their time.
        command += ["--target", str(folder), f"onnxruntime=={version}", "numpy<2"]
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if run.returncode:
            return (run.stdout.strip().splitlines() or ["pip failed without a word"])[-1]
    # Else ONNX Runtime writes into the user's cache folder and sends what it sees.
    environment = os.environ | {"PYTHONPATH": str(folder), "ORT_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-c", IN_PYTHON, str(model)]
    run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return run.stdout if run.returncode == 0 else " ".join(run.stderr.decode().split())[-300:]


def cell(images, reference):
    if isinstance(images, str):
        return images.replace("|", "/")
    name = hashlib.sha256(images).hexdigest()[:12]
    if images == reference:
        return name
    apart = [abs(a - b) for a, b in zip(images, reference)]
    return f"{name}, {sum(map(bool, apart))} of {len(apart)} bytes others, by {max(apart)} at most"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", type=common.names, default=VERSIONS, help="releases, the last one compared with")
    parser.add_argument("--python", type=common.names, default=PYTHON, help="Python's packages, the last one compared with")
    parser.add_argument("--model", type=pathlib.Path, default=ROOT / "models/digits/gen.onnx", help="the generator")
    parser.add_argument("--count", type=int, default=256, help="images (256)")
    args = parser.parse_args()
    cache = ROOT / "target/wheels"
    found = {version: library(version, cache) for version in args.versions}
    for version, (_, why) in found.items():
        if why:
            print(f"skipped {version}: {why}")
    there = {version: path for version, (path, _) in found.items() if path}
    if not there:
        return
    program = build()
    modes = {"images": [], "one by one": ["--batch", "1"], "fast start": ["--fast-start"]}
    rows = {version: {m: draw(program, path, args, o) for m, o in modes.items()} for version, path in there.items()}
    reference = rows[list(rows)[-1]]
    print(f"\n{args.count} images of {args.model.name}, {common.machine()}\n")
    print("| ONNX Runtime | " + " | ".join(modes) + " |\n| --- |" + " --- |" * len(modes))
    for version, images in rows.items():
        print(f"| {version} | " + " | ".join(cell(images[m], reference[m]) for m in modes) + " |")
    drawn = {version: in_python(version, cache, args.model) for version in args.python}
    print("\n| Python's onnxruntime | images |\n| --- | --- |")
    for version, images in drawn.items():
        print(f"| {version} | {cell(images, drawn[args.python[-1]])} |")


if __name__ == "__main__":
    main()
