"""Fetches the official ONNX Runtime library (CPU) and its licences from its wheel on the Python package index.

usage: fetch.py VERSION PLATFORM WHEEL_SHA256 MEMBER LIBRARY_SHA256 LIBRARY

LIBRARY is where the wheel's MEMBER comes to lie, licences beside it. Nothing but the standard library and pip is needed.
Exit code 1: it could not be had, for instance without a network. Exit code 3: something else was had than what is pinned.
"""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile

# Seconds that pip may take, and that it may wait for an answer: a build must not hang with the network.
PATIENCE = 120
ANSWER = 20
LICENCES = ["onnxruntime/LICENSE", "onnxruntime/ThirdPartyNotices.txt"]
ANOTHER = 3


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def check(path, expected, what):
    found = sha256(path)
    if found != expected:
        print(f"{what} has the SHA-256 {found}, pinned is {expected}", file=sys.stderr)
        sys.exit(ANOTHER)


def make_folder(folder):
    """Makes the folder and those above it, writable by nobody else whatever the umask says: the program looks at that."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(mode=0o755, exist_ok=True)


def unpack(archive, member, path):
    """The file as the archive has it, with its time: one of now would have cargo take the build for outdated."""
    with archive.open(member) as source, open(path, "wb") as copy:
        shutil.copyfileobj(source, copy)
    then = time.mktime((*archive.getinfo(member).date_time, 0, 0, -1))
    os.utime(path, (then, then))
    path.chmod(0o644)


def download(version, platform, folder):
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", "3.12", "--platform", platform]
    command += ["--timeout", str(ANSWER), "--retries", "1", "--dest", folder, f"onnxruntime=={version}"]
    try:
        run = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        sys.exit(f"pip has not downloaded onnxruntime {version} within {PATIENCE} s")
    if run.returncode != 0:
        last = (run.stdout.strip().splitlines() or ["no word"])[-1]
        sys.exit(f"pip cannot download onnxruntime {version} (is there a network?): {last}")


def main(version, platform, wheel_hash, member, library_hash, library):
    library = pathlib.Path(library)
    make_folder(library.parent)
    # A folder of its own for every process: several builds may run at once.
    with tempfile.TemporaryDirectory(dir=library.parent) as scratch:
        download(version, platform, scratch)
        (wheel,) = pathlib.Path(scratch).glob("*.whl")
        check(wheel, wheel_hash, wheel.name)
        unpacked = pathlib.Path(scratch) / "unpacked"
        with zipfile.ZipFile(wheel) as archive:
            for licence in LICENCES:
                unpack(archive, licence, unpacked)
                os.replace(unpacked, library.with_name(pathlib.PurePosixPath(licence).name))
            unpack(archive, member, unpacked)
            check(unpacked, library_hash, member)
            os.replace(unpacked, library)


if __name__ == "__main__":
    if len(sys.argv) != 7:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except OSError as error:
        sys.exit(str(error))
