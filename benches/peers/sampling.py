"""Sampling by Kiln and by what else could run its files, side by side, as Markdown tables.

usage: sampling.py [--models NAMES] [--batches NUMBERS] [--threads NUMBERS] [--precisions NAMES] [--peers WORDS]
                   [--rounds N] [--seconds N] [--write]
       sampling.py --cold | --jitter [--models NAMES] [--rounds N] [--write]

Run it with the Python that has the frameworks (what is missing is left out with a word), on a machine that does nothing
else:

    python -m venv target/peers && target/peers/bin/pip install numpy onnx onnxruntime openvino torch tract
    target/peers/bin/python benches/peers/sampling.py --write
    target/peers/bin/python benches/peers/sampling.py --models digits --batches 1 --rounds 2    # a quick look
    target/peers/bin/python benches/peers/sampling.py --precisions f16,f32,int8 --threads 1 --write  # int8, a table of its own

It builds the programs of the crate `benches` and has them write the generator files. For each configuration (model,
batch, threads) every variant then has a process of its own, and all of them take turns, in rounds, each round in
another order; those that wait are stopped, so that no thread of theirs spins. `--cold` times whole processes instead,
from their start to the first image (cold.py), `--jitter` very many calls of ours (jitter.py). `--write` puts the tables
into benches/RESULTS.md, where each kind of processor has one of its own. It needs nothing but the standard library itself.
"""

import argparse
import collections
import datetime
import itertools
import json
import pathlib
import random
import statistics
import subprocess
import sys

import cold
import common
import jitter
from worker import LEAST, Worker

OURS, INT8 = "kiln", "int8"
# Which files each variant takes, and with how many threads.
PRECISIONS = {
    "kiln": ["f16", "f32", "int8"],
    "kiln-spinning": ["f16", "f32"],
    "onnxruntime": ["f16", "f32"],
    "onnxruntime-iobinding": ["f16", "f32"],
    "openvino": ["f16", "f32"],
    "torch-eager": ["f32"],
    "torch-channels-last": ["f32"],
    "tract": ["f16", "f32"],
}
ONLY_ONE_THREAD, ONLY_MORE = ("tract",), ("kiln-spinning",)
# By what is measured.
MODELS = {
    "sampling": ["digits", "dcgan-64", "dcgan-128"],
    "cold-start": ["digits", "dcgan-64"],
    "jitter": ["digits"],
}
# How far images may lie apart, in units of the value range [-1, 1].
TOLERANCE = {"f16": 0.02, "f32": 1e-3}
# Fewest calls of which these quantiles mean something.
ENOUGH = {0.99: 200, 0.999: 2000}


def is_ours(peer):
    return peer.startswith(OURS)


class Files:
    """The generator files, written anew; and what PyTorch loads instead."""

    def __init__(self, models, generators, precisions):
        # In cargo's target folder.
        folder = pathlib.Path(generators).parent.parent / "generators"
        # Ours and the peers' of f32, from which PyTorch's are made.
        wanted = ",".join(sorted({"f32", *precisions}))
        subprocess.run([generators, "--out", str(folder), "--precisions", wanted], stdout=subprocess.DEVNULL, check=True)
        self.folder, self.without_torch = folder, ""
        for model in models:
            names = [str(folder / f"{model}-f32.{ending}") for ending in ("onnx", "pt")]
            command = [sys.executable, str(common.FOLDER / "torch_from_onnx.py"), *names]
            done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
            if done.returncode:
                self.without_torch = (done.stderr.splitlines() or ["failed without a word"])[-1]
                print(f"left out: torch: {self.without_torch}", file=sys.stderr)
                break

    def path(self, model, precision, peer):
        return str(self.folder / f"{model}-{precision}.{'pt' if peer.startswith('torch') else 'onnx'}")


def variants(args, files, threads):
    """The variants of a configuration, as (peer, precision)."""

    def wanted(peer):
        if is_ours(peer):
            return threads > 1 or peer not in ONLY_MORE
        if (peer in ONLY_ONE_THREAD and threads > 1) or (peer.startswith("torch") and files.without_torch):
            return False
        return not args.peers or any(word in peer for word in args.peers)

    return [(peer, p) for peer in PRECISIONS if wanted(peer) for p in PRECISIONS[peer] if p in args.precisions]


def command(variant, configuration, files, programs):
    (peer, precision), (model, batch, threads) = variant, configuration
    size = ["--batch", str(batch), "--threads", str(threads)]
    path = files.path(model, precision, peer)
    if is_ours(peer):
        return [programs["sampling"], "--model", path, *size, *(["--spinning"] if peer == "kiln-spinning" else [])]
    return [sys.executable, str(common.FOLDER / "peer_sampling.py"), peer, path, *size]


def check(workers):
    """Fails the workers whose image of a latent is not ours; the differences of the others, the largest of each."""
    found = []
    for precision in TOLERANCE:
        ours = next((w for (peer, p), w in workers.items() if peer == OURS and p == precision and not w.failed), None)
        reference = ours.ask("check") if ours else {}
        if "values" not in reference:
            continue
        for (peer, p), worker in workers.items():
            if is_ours(peer) or p != precision or worker.failed:
                continue
            values = worker.ask(f"check {json.dumps(reference['latent'])}").get("values", [])
            pairs = itertools.zip_longest(values, reference["values"], fillvalue=float("inf"))
            # Not a maximum: a NaN must count.
            differences = [abs(a - b) for a, b in pairs]
            if not worker.failed and not all(d <= TOLERANCE[precision] for d in differences):
                worker.fail(f"draws another image: values differ by {max(differences)}")
            elif not worker.failed:
                found.append(max(differences))
    return found


def measure(configuration, args, files, programs):
    """The workers of a configuration, with their latencies, and how far their images lie from ours."""
    _, _, threads = configuration
    environment = {"OMP_NUM_THREADS": str(threads)}
    workers, missing = {}, {}
    try:
        for variant in variants(args, files, threads):
            workers[variant] = worker = Worker(command(variant, configuration, files, programs), environment)
            # Ours find out at their start what is quick here: not while others start.
            if is_ours(variant[0]):
                worker.wait_until_ready()
        for variant, worker in list(workers.items()):
            if not is_ours(variant[0]):
                worker.wait_until_ready()
            if common.MISSING in worker.failed:
                missing[variant[0]] = worker.failed
                del workers[variant]
        for peer, why in missing.items():
            print(f"left out: {peer}: {why}", file=sys.stderr)
        found = check(workers)
        for worker in workers.values():
            worker.warm_up(args.seconds)
        order = random.Random(0)
        for _ in range(args.rounds):
            turns = [worker for worker in workers.values() if not worker.failed]
            order.shuffle(turns)
            for worker in turns:
                worker.turn(args.seconds, args.rounds)
        for worker in workers.values():
            worker.finish()
    finally:
        for worker in workers.values():
            worker.kill()
    return workers, found


def quantile(times, q):
    """In microseconds; None if there are too few calls to say."""
    if len(times) < ENOUGH[q]:
        return None
    return sorted(times)[int(q * len(times))]


def milliseconds(us):
    """Three significant digits."""
    if us is None:
        return ""
    ms = us / 1e3
    return f"{ms:.3f}" if ms < 1 else f"{ms:.2f}" if ms < 10 else f"{ms:.1f}" if ms < 100 else f"{ms:.0f}"


def best_peer(workers):
    """Median, name and precision; None if there is none."""
    peers = [(w.median(), *variant) for variant, w in workers.items() if w.times and not is_ours(variant[0])]
    return min(peers, default=None)


def of_int8(results):
    """Int8 beside our best other file and the best peer, a line a configuration."""
    rows = ["| model | batch | threads | Kiln int8, ms | Kiln, ms | best peer, ms | which | times as fast as the peer |"]
    rows.append("| --- | ---: | ---: | ---: | ---: | ---: | --- | ---: |")
    for (model, batch, threads), (workers, _) in results.items():
        ours = {p: w.median() for (peer, p), w in workers.items() if peer == OURS and w.times}
        best, int8 = best_peer(workers), ours.pop("int8", None)
        if int8 and ours and best:
            times = [milliseconds(us) for us in (int8, min(ours.values()), best[0])]
            cells = [model, str(batch), str(threads), *times, f"{best[1]}, {best[2]}", f"{best[0] / int8:.2f}"]
            rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def summary(results):
    """Ours as it comes beside the best peer, a line a configuration."""
    rows = ["| model | batch | threads | Kiln, ms | best peer, ms | which | ratio |"]
    rows.append("| --- | ---: | ---: | ---: | ---: | --- | ---: |")
    for (model, batch, threads), (workers, _) in results.items():
        ours = min((w.median() for (peer, _), w in workers.items() if peer == OURS and w.times), default=None)
        best = best_peer(workers)
        if not (ours and best):
            continue
        cells = [milliseconds(ours), milliseconds(best[0]), f"{best[1]}, {best[2]}", f"{ours / best[0]:.2f}"]
        # The smaller one is set bold.
        at = 0 if ours < best[0] else 1
        cells[at] = f"**{cells[at]}**"
        rows.append("| " + " | ".join([model, str(batch), str(threads), *cells]) + " |")
    return "\n".join(rows)


def table(results):
    """All variants of each configuration, fastest first."""
    rows = [
        "| model | batch | threads | what | file | p50, ms | p99 | p99.9 | images/s | to the best peer | MB | calls |",
        "| --- | ---: | ---: | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for (model, batch, threads), (workers, _) in results.items():
        best = best_peer(workers)
        for (peer, precision), worker in sorted(workers.items(), key=lambda item: item[1].median()):
            cells = [model, str(batch), str(threads), f"**{peer}**" if is_ours(peer) else peer, precision]
            if worker.failed:
                cells += [worker.failed.replace("|", "/"), *[""] * 6]
            else:
                ratio = f"{worker.median() / best[0]:.2f}" if best else ""
                rate = batch * 1e6 / statistics.fmean(worker.times)
                cells += [milliseconds(us) for us in (worker.median(), *(quantile(worker.times, q) for q in ENOUGH))]
                cells += [f"{rate:,.0f}", ratio, f"{worker.peak_mb or 0:.0f}", str(len(worker.times))]
            rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def report(results, args, load):
    versions = collections.ChainMap(*(w.versions for workers, _ in results.values() for w in workers.values()))
    versions = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    differences = [difference for _, found in results.values() for difference in found]
    far = f"{max(differences):.1e} at most" if differences else "an unknown amount: there is no peer"
    return f"""{of_int8(results) if INT8 in args.precisions else summary(results)}

<details><summary>All variants</summary>

{table(results)}

</details>

- {args.rounds} rounds, in each of which a variant has {args.seconds} s, or one call if that takes longer; what takes
  long is left out of later rounds once it has {LEAST} calls
- images of one latent differ from ours by {far} (of a value range of [-1, 1])
- {versions}; commit {common.commit()}
- {common.machine()}; load average before: {load:.2f}
- {datetime.date.today().isoformat()}
"""


def sampling(args, files, programs):
    load = common.load()
    results = {}
    for configuration in itertools.product(args.models, args.batches, args.threads):
        results[configuration] = measure(configuration, args, files, programs)
        workers, _ = results[configuration]
        found = {f"{peer} {p}": w.failed or milliseconds(w.median()) for (peer, p), w in workers.items()}
        print(*configuration, found, file=sys.stderr, flush=True)
    return report(results, args, load)


def main():
    def numbers(text):
        return [int(number) for number in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=common.names, help="of digits, dcgan-64 and dcgan-128")
    parser.add_argument("--batches", type=numbers, default=[1, 16, 64])
    parser.add_argument("--threads", type=numbers, default=[1, 2])
    parser.add_argument("--precisions", type=common.names, default=["f16", "f32"], help="of f16, f32 and int8 (f16,f32)")
    parser.add_argument("--peers", type=common.names, default=[], help="only those with one of these words in the name")
    parser.add_argument("--rounds", type=int, help="default: 10; with --cold 20")
    parser.add_argument("--seconds", type=float, default=0.125, help="of a variant's turn in a round")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--cold", action="store_true", help="time from the start of a process to the first image")
    what.add_argument("--jitter", action="store_true", help="time very many calls of ours")
    parser.add_argument("--calls", type=int, default=100_000, help="with --jitter")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {common.RESULTS.name}")
    args = parser.parse_args()
    kind = "cold-start" if args.cold else "jitter" if args.jitter else "sampling"
    args.models = args.models or MODELS[kind]
    # Which peer is ahead depends on the processor.
    section = f"sampling-{common.vectors()}" if kind == "sampling" else kind
    section = INT8 if INT8 in args.precisions else section
    args.rounds = args.rounds or (20 if args.cold else 10)
    programs = common.build("generators", "sampling", "first_sample", "jitter")
    files = Files(args.models, programs["generators"], args.precisions)
    measured = {"sampling": sampling, "cold-start": cold.measure, "jitter": jitter.measure}
    text = measured[kind](args, files, programs)
    print(text)
    if args.write:
        common.write(section, text)


if __name__ == "__main__":
    main()
