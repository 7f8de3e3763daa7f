"""What the comparisons share: our programs, the circumstances of a measurement, and the page that it is put on."""

import json
import os
import pathlib
import platform
import subprocess
import sys

FOLDER = pathlib.Path(__file__).resolve().parent
RESULTS = FOLDER.parent / "RESULTS.md"
# What Python says of a package that is not installed.
MISSING = "No module named"


def build(*names):
    """The paths of these programs of the crate `benches`, built."""
    command = ["cargo", "build", "--release", "-p", "benches", "--message-format", "json"]
    command += [word for name in names for word in ("--bin", name)]
    built = subprocess.run(command, cwd=FOLDER, stdout=subprocess.PIPE, text=True, check=True)
    lines = [json.loads(line) for line in built.stdout.splitlines() if line.startswith("{")]
    return {line["target"]["name"]: line["executable"] for line in lines if line.get("executable")}


def names(text):
    """The type of options that are lists."""
    return text.split(",")


def load():
    """The load average; said if it is one that spoils a measurement."""
    load = os.getloadavg()[0]
    if load > 0.5:
        # The peers' threads spin while they wait for each other, and lose most.
        print(f"warning: others compute here (load average {load:.2f}): the times will be wrong", file=sys.stderr)
    return load


def text_of(path):
    try:
        return pathlib.Path(path).read_text().strip()
    except OSError:
        return ""


def processor():
    """What Linux tells of the first core."""
    fields = [line.partition(":")[::2] for line in text_of("/proc/cpuinfo").split("\n\n")[0].splitlines()]
    return {key.strip(): value.strip() for key, value in fields}


def vectors():
    """The widest vectors that it computes with."""
    flags = processor().get("flags", "").split()
    return next((name for flag, name in (("avx512f", "avx512"), ("avx2", "avx2")) if flag in flags), "other")


def machine():
    """Processor, cores and caches, as far as Linux tells."""
    cpu = processor()
    parts = [cpu.get("model name") or platform.processor() or platform.machine()]
    if "cpu family" in cpu:
        parts[0] += f" (family {cpu['cpu family']}, model {cpu['model']})"
    parts += [f"{os.cpu_count()} logical cores", vectors()]
    for cache in sorted(pathlib.Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = (text_of(cache / name) for name in ("level", "type", "size"))
        if kind != "Instruction":
            parts.append(f"L{level} {size.removesuffix('K')} KiB for core {text_of(cache / 'shared_cpu_list')}")
    return ", ".join([*parts, platform.platform(terse=True)])


def commit():
    """The state of the checkout that was measured, or that a packed folder (benches/gpu/pack.sh) was made of."""
    packed = text_of(FOLDER.parent / "COMMIT")
    if packed:
        return packed
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    described = subprocess.run(command, cwd=FOLDER, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return described.stdout.strip() or "unknown"


def section(name):
    """What comes before the section of this name, its text, and what comes after: the markers belong to the outer parts."""
    markers = (f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->\n")
    before, begin, rest = RESULTS.read_text(encoding="utf-8").partition(markers[0])
    inside, end, after = rest.partition(markers[1])
    if not (begin and end):
        sys.exit(f"{RESULTS} lacks the lines {markers[0].strip()} and {markers[1].strip()}")
    return before + begin, inside, end + after


def write(name, text):
    """Puts the text between the markers of this name."""
    before, _, after = section(name)
    RESULTS.write_text(f"{before}\n{text}\n{after}", encoding="utf-8")
