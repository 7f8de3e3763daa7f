"""A folder of pictures becomes one array: `trainer pack` beside Pillow with two processes.

    python benches/peers/pictures.py target/release/trainer [--count 10000] [--size 64] [--rounds 5]

Needs Pillow and NumPy. Both read every file, decode it to RGB and write all pixels to one file; the trainer also compares
all files by a hash, looks for colours and transparency, and keeps a second copy for the next run. The fastest of the rounds
is what each of them takes, in turn, with files in the system's cache. Processes are started within the time of both.
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np
from PIL import Image


def make(folder: pathlib.Path, count: int, size: int) -> None:
    """Smooth colours with grain, which compress as photographs do."""
    random = np.random.default_rng(0)
    folder.mkdir()
    for number in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (4, 4, 3), np.uint8)).resize((size, size), Image.BICUBIC)
        grain = random.integers(-4, 5, (size, size, 3))
        pixels = np.clip(np.asarray(coarse, int) + grain, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:06}.png")


def decode(paths: list[str]) -> np.ndarray:
    return np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])


def pillow(folder: pathlib.Path, out: pathlib.Path) -> None:
    paths = sorted(str(path) for path in folder.iterdir())
    pieces = [paths[at : at + 250] for at in range(0, len(paths), 250)]
    with multiprocessing.Pool(2) as pool:
        np.save(out, np.concatenate(pool.map(decode, pieces)))


def timed(call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("trainer")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        here = pathlib.Path(scratch)
        make(here / "pictures", args.count, args.size)
        out, array, cache = here / "out.safetensors", here / "out.npy", here / "cache"
        environment = os.environ | {"KILN_CACHE": str(cache)}

        def trainer() -> None:
            command = [os.path.abspath(args.trainer), "pack", str(here / "pictures"), str(out), "--channels", "3"]
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        times: dict[str, list[float]] = {"pillow": [], "trainer": [], "trainer, kept": []}
        for _ in range(args.rounds):
            times["pillow"].append(timed(lambda: pillow(here / "pictures", array)))
            shutil.rmtree(cache, ignore_errors=True)
            times["trainer"].append(timed(trainer))
            times["trainer, kept"].append(timed(trainer))
        found = np.load(array)
        with out.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
            if list(found.shape) != header["images"]["shape"] or file.read() != found.tobytes():
                sys.exit("both do not have the same pixels")
    for name, seconds in times.items():
        print(f"{name:<16} {min(seconds):.2f} s  {args.count / min(seconds):.0f} pictures/s")


if __name__ == "__main__":
    main()
