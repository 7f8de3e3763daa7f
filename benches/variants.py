"""What comparisons of variants of the recipe `digits` share: options, a training on one thread, a measurement."""

import argparse
import functools
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys


def arguments(doc, known, folder, **numbers):
    """The options of a comparison of the variants `known`, and numbers with their defaults as more of them; `names` are the
    variants that were asked for."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainer", default="target/release/trainer", help="the program")
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[1, 2, 3])
    parser.add_argument("--only", metavar="NAME;NAME", help="these variants (all)")
    parser.add_argument("--jobs", type=int, default=2, help="how many are trained at once, a thread each (2)")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path(folder), help=f"of the figures ({folder})")
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"({default})")
    args = parser.parse_args()
    args.names = args.only.split(";") if args.only else list(known)
    for name in args.names:
        if name not in known:
            sys.exit(f"there is no {name!r}; there are: {'; '.join(known)}")
    if not pathlib.Path(args.trainer).is_file():
        sys.exit(f"{args.trainer} is not there: cargo build --release -p trainer")
    args.folder.mkdir(parents=True, exist_ok=True)
    return args


def stem(folder, *parts):
    """Where the files of a run are, without what its names end in."""
    return folder / "-".join(re.sub(r"[^a-z0-9.]+", "-", str(part).lower()).strip("-") for part in parts)


@functools.cache
def hash_of(program):
    return hashlib.sha256(pathlib.Path(program).read_bytes()).hexdigest()


def depends_on(program, *settings):
    """A short name of a program and settings: figures of others are not taken for theirs."""
    return hashlib.sha256(json.dumps([hash_of(program), settings]).encode()).hexdigest()[:8]


def save(path, value):
    """Writes JSON, whole or not at all."""
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps(value, indent=1))
    os.replace(new, path)


def train(program, settings, kimg, *options, log):
    """Trains `digits` with the settings on one thread; whether that ended well."""
    command = [program, "--recipe", "digits", "--threads", "1", "--kimg", str(kimg), *options]
    for setting in settings:
        command += ["--set", setting]
    with open(log, "w") as file:
        return subprocess.run(command, stdout=file, stderr=subprocess.STDOUT).returncode == 0


def last_line(log):
    return log.read_text().strip().splitlines()[-1]


def evaluate(program, model):
    """What `trainer evaluate` says of a generator; None where it refuses it."""
    found = subprocess.run([program, "evaluate", model, "--json"], capture_output=True, text=True)
    return json.loads(found.stdout) if found.returncode == 0 else None
