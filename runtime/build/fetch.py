"""Fetches the official ONNX Runtime library (CPU) from its wheel on the Python package index.

usage: fetch.py TARGET FOLDER

TARGET is <os>-<architecture> in Rust's words. The library comes to lie in FOLDER/<version>-<target>/, whose path is
printed; one that lies there already is taken if its hash is right. Nothing but the standard library and pip is needed.
"""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

VERSION = "1.32.0"
# Target: platform tag of the wheel (for CPython 3.12; the library inside does not depend on it), SHA-256 of the wheel,
# the library in it, SHA-256 of the library.
WHEELS = {
    "linux-x86_64": (
        "manylinux_2_28_x86_64",
        "99e1074c4b2197accd5073052a465361be17b89c093b8ffb6e6bd8f986c52df8",
        "onnxruntime/capi/libonnxruntime.so.1.32.0",
        "6c1585d1bbf45b0712ea4a21b705c5fcb4ba04ff2e30f1fbf81a49faf658638f",
    ),
    "linux-aarch64": (
        "manylinux_2_28_aarch64",
        "e36c187006e7a7c8b8d6d57f1a209dd63f52430dca6c282b177718ad6b841054",
        "onnxruntime/capi/libonnxruntime.so.1.32.0",
        "49852228a93995158b2a813d4df487d47a1b76b0eaa894507ef49e91b6d7954a",
    ),
    "macos-aarch64": (
        "macosx_14_0_arm64",
        "d52510bbbcc880c13b826f7d75cdf33ac5cf0bb864d960000fc29ce73f0cb83e",
        "onnxruntime/capi/libonnxruntime.1.32.0.dylib",
        "fa585fabbea65b823b9a8f7e27d46aee3989d1be7e36b528203d3a1fd613aae7",
    ),
    "windows-x86_64": (
        "win_amd64",
        "efe7456952c243a05a53d5b8732953625144642c2f3989094277f6217f0c0c40",
        "onnxruntime/capi/onnxruntime.dll",
        "443c0065fcdba17618ddef05050308f4b471893c5c7da0337d6957c9073ad8a7",
    ),
}


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def main(target, folder):
    if target not in WHEELS:
        sys.exit(f"no library is pinned for {target}, only for {', '.join(WHEELS)}")
    platform, wheel_hash, member, library_hash = WHEELS[target]
    library = pathlib.Path(folder) / f"{VERSION}-{target}" / pathlib.PurePosixPath(member).name
    if not (library.is_file() and sha256(library) == library_hash):
        library.parent.mkdir(parents=True, exist_ok=True)
        # A folder of its own for every process: builds of several profiles may run at once.
        with tempfile.TemporaryDirectory(dir=library.parent) as scratch:
            download(platform, scratch)
            (wheel,) = pathlib.Path(scratch).glob("*.whl")
            if sha256(wheel) != wheel_hash:
                sys.exit(f"{wheel.name} has another SHA-256 than the pinned one")
            unpacked = pathlib.Path(scratch) / library.name
            with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, open(unpacked, "wb") as copy:
                shutil.copyfileobj(source, copy)
            if sha256(unpacked) != library_hash:
                sys.exit(f"{member} has another SHA-256 than the pinned one")
            os.replace(unpacked, library)
    print(library)


def download(platform, folder):
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", "3.12", "--platform", platform]
    command += ["--dest", folder, f"onnxruntime=={VERSION}"]
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if run.returncode != 0:
        sys.exit(f"pip cannot download onnxruntime {VERSION}: {(run.stdout.strip().splitlines() or ['no word'])[-1]}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
