"""From the start of a process to its first image, timed from outside: what loads the framework and the file counts."""

import datetime
import statistics
import subprocess
import sys
import time

import common

# What is run beside the samplers: how far down the time could go at all.
FLOORS = {"kiln-floor": "ONNX Runtime loaded, file read", "numpy": "Python and numpy started, file read"}
PRECISIONS = {
    "kiln": ["f16", "f32"],
    "kiln-steady": ["f16", "f32"],
    "kiln-floor": ["f16", "f32"],
    "onnxruntime": ["f16", "f32"],
    "openvino": ["f16", "f32"],
    "torch-eager": ["f32"],
    "tract": ["f16", "f32"],
    "numpy": ["f16"],
}
OURS = "kiln"
MODES = {"kiln-steady": ["--steady"], "kiln-floor": ["--floor"]}
# A process that takes longer, in seconds, is given up.
PATIENCE = 120


def commands(args, files, programs):
    """The command of every (model, peer, precision)."""
    found = {}
    for model in args.models:
        for peer, precisions in PRECISIONS.items():
            ours = peer.startswith(OURS) or peer in FLOORS
            named = ours or not args.peers or any(word in peer for word in args.peers)
            if not named or (peer.startswith("torch") and files.without_torch):
                continue
            for precision in (p for p in precisions if p in args.precisions):
                path = files.path(model, precision, peer)
                if peer.startswith(OURS):
                    command = [programs["first_sample"], *MODES.get(peer, []), path]
                else:
                    command = [sys.executable, str(common.FOLDER / "peer_first_sample.py"), peer, path]
                found[model, peer, precision] = command
    return found


def run(command):
    """Milliseconds until the process has ended, and its largest memory; or why there is none."""
    start = time.perf_counter()
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return f"not done after {PATIENCE} s"
    ms = (time.perf_counter() - start) * 1e3
    if done.returncode or not done.stdout:
        said = done.stderr.strip().splitlines() or ["ended without a word"]
        return f"does not work here: {said[-1]}"[:300]
    return ms, float(done.stdout.split()[-1])


def table(results):
    rows = ["| model | what | file | ms | p10 to p90 | to the best peer | peak MB |"]
    rows.append("| --- | --- | --- | ---: | ---: | ---: | ---: |")
    for model in dict.fromkeys(model for model, _, _ in results):
        members = {key[1:]: found for key, found in results.items() if key[0] == model}
        measured = {key: found for key, found in members.items() if isinstance(found, list)}
        medians = {key: statistics.median(ms for ms, _ in found) for key, found in measured.items()}
        best = min((ms for (peer, _), ms in medians.items() if not peer.startswith(OURS) and peer not in FLOORS), default=None)
        for key in sorted(members, key=lambda key: medians.get(key, float("inf"))):
            peer, precision = key
            name = f"**{peer}**" if peer in (OURS, "kiln-steady") else f"*{FLOORS[peer]}*" if peer in FLOORS else peer
            cells = [model, name, precision]
            if key in medians:
                times = [ms for ms, _ in members[key]]
                deciles = statistics.quantiles(times, n=10, method="inclusive") if len(times) > 1 else times
                ratio = f"{medians[key] / best:.2f}" if best and peer not in FLOORS else ""
                peak = statistics.median(mb for _, mb in members[key])
                cells += [f"{medians[key]:.1f}", f"{deciles[0]:.1f} to {deciles[-1]:.1f}", ratio, f"{peak:.0f}"]
            else:
                cells += [members[key].replace("|", "/"), "", "", ""]
            rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def measure(args, files, programs):
    load = common.load()
    todo = commands(args, files, programs)
    results = {key: [] for key in todo}
    names = list(todo)
    # One round in advance, so that all files are in the system's cache.
    for round_ in range(args.rounds + 1):
        start = round_ * len(names) // (args.rounds + 1)
        for key in names[start:] + names[:start]:
            if isinstance(results[key], str):
                continue
            found = run(todo[key])
            if isinstance(found, str):
                results[key] = found
                print(*key, found, file=sys.stderr, flush=True)
            elif round_:
                results[key].append(found)
    results = {key: found for key, found in results.items() if common.MISSING not in found}
    return f"""{table(results)}

- medians of {args.rounds} rounds through all variants, each in another order, and one before them
- commit {common.commit()}; the versions are those above
- {common.machine()}; load average before: {load:.2f}
- {datetime.date.today().isoformat()}
"""
