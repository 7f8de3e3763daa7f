"""What benches/gpu.sh measures on a GPU, section by section: Kiln's program `gpu` beside PyTorch, as Markdown.

usage: gpu.py machine | parity | train | sample | steps | whole  --program bin/gpu --models DIR [--device cuda|cpu] [--quick] [--limit S]
       gpu.py record FILE

Every section prints its tables; the exit code is 1 if something of Kiln's did not work. What a peer cannot do is told in
the table. `--limit` ends a section in time, with what it has measured by then. `--quick` measures as little as shows that
everything works. `record` puts a file of such sections into benches/RESULTS.md, before the older ones.

Every variant has a process of its own. They start together, wait stopped (`SIGSTOP`), and take turns in rounds, each
round in another order.
"""

import argparse
import datetime
import json
import os
import pathlib
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import common
import gpu_programs
import worker
from gpu_report import Clock, Result, is_ours, name_of
from sampling import milliseconds, quantile
from worker import Worker

NOTHING_YET = "No run on a GPU has been recorded yet.\n"
# Network and batch; what is named first is measured first, should the time be too short.
CONFIGURATIONS = [("digits", 64), ("dcgan-64", 64), ("dcgan-64", 128)]
# What is measured of each side, as (kind, precision); of ours in training, the precisions.
OURS_TRAINING = ["f32", "tf32", "bf16"]
# Compiled but not recorded, networks of this size are as fast as eagerly.
KINDS = ["eager", "graph", "compile-graph"]
TORCH_TRAINING = [(kind, p) for p in OURS_TRAINING for kind in KINDS]
# What is asked of ours about transposed convolutions, by kind; by default it is what is best for the file.
REWRITE = {"kiln": [], "kiln-plain": ["--rewrite", "off"], "kiln-rewritten": ["--rewrite", "on"]}
OURS_SAMPLING = [
    *(("kiln", p) for p in ("f16", "f32")),
    # The other way.
    ("kiln-rewritten", "f16"),
    ("kiln-plain", "f32"),
    *(("kiln-cpu", p) for p in ("f16", "f32")),
]
SAMPLING_KINDS = ["eager", "graph-nchw", "graph", "compile-graph"]
TORCH_SAMPLING = [*((kind, p) for p in ("f16", "f32") for kind in SAMPLING_KINDS), ("graph", "tf32")]
# The file that has the same numbers.
FILES = {"f16": "f16", "f32": "f32", "tf32": "f32"}
# Of values in [-1, 1], as in benches/src/bin/gpu.rs.
TOLERANCE = {"f16": 0.02, "f32": 0.001, "tf32": 0.01}
# What of `REWRITE` is asked for, by how it is told.
PARITY_WAYS = {"by default": REWRITE["kiln"], "as they are": REWRITE["kiln-plain"], "rewritten": REWRITE["kiln-rewritten"]}
PARITY_NOTES = """
- 64 images of a seed, in batches of 1, 24 and 64, values in [-1, 1]; drawn again by the same batch size, they must be the
  same to the bit: plainly, as replays of a recorded graph, and one beside the other
- transposed convolutions: as the runtime decides (`by default`), and both ways on demand, where failing is told only
"""
TRAINING_NOTES = """
- medians of up to {rounds} rounds of {seconds} s; ratio: Kiln to the best of PyTorch in the same precision
- two-stage steps on random pixels. `digits` is the default recipe; `dcgan-64` the paper's DCGAN of width 64 for
  3 x 64 x 64, with batch normalisation in the discriminator. Both have the data set on the device, and read the losses
  after the last step of a round
- Kiln: convolutions by patches and cuBLAS
- PyTorch: channels last, Adam fused (and capturable in graphs), cuDNN's search for the fastest algorithm; f32 without
  TF32, tf32 with it; bf16 by autocast
"""
SAMPLING_NOTES = """
- up to {rounds} rounds of {seconds} s a variant; Kiln on the CPU has {threads} threads
- `kiln` has transposed convolutions as the runtime decides for the file, `kiln-plain` as they are, `kiln-rewritten` as
  ordinary ones
- PyTorch: pinned memory on both sides, `graph` with both copies inside, channels last but for `-nchw`; `f32` without
  TF32, as Kiln has it, `tf32` with it
- images of one latent differ from those of Kiln on the CPU by {farthest:.1e} at most (of [-1, 1])
"""
# A worker that compiles may take so long before it answers, in seconds.
PATIENCE = 120


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def torch_command(args, *words):
    script = str(common.FOLDER / "gpu_torch.py")
    return [sys.executable, script, *words, "--device", args.device]


def threads():
    """Of Kiln on the CPU: more do not make images of this size faster."""
    return str(min(8, os.cpu_count() or 1))


def started(commands):
    """A worker for each variant, all of them ready or failed. They get ready side by side, compilers among them."""
    # Not a large pool of processes for each compiler: there are many compilers at once.
    environment = {"TORCHINDUCTOR_COMPILE_THREADS": "2"}
    workers = {variant: Worker(command, environment) for variant, command in commands.items()}
    try:
        for variant, each in workers.items():
            each.wait_until_ready()
            if each.failed:
                say(*variant, each.failed)
    except BaseException:
        finish(workers)
        raise
    return workers


def finish(workers):
    for each in workers.values():
        each.kill()


def in_turn(workers, rounds, clock, turn):
    """Rounds of turns of all that have not failed, one at least, and others while there is time for one more."""
    order, took = random.Random(0), []
    while len(took) < rounds and (not took or clock.left() > took[-1]):
        begun = time.monotonic()
        turns = [each for each in workers.values() if not each.failed]
        order.shuffle(turns)
        for each in turns:
            turn(each)
        took.append(time.monotonic() - begun)
    return len(took)


# Training


def training_command(variant, network, batch, args):
    kind, precision = variant
    words = ["--precision", precision, "--batch", str(batch)]
    if is_ours(kind):
        return [args.program, "train", "--network", network, *words, "--device", args.device, "--threads", threads()]
    return torch_command(args, "train", network, "--kind", kind, *words)


def training_turn(seconds, batch):
    """One run of as many steps as fit into `seconds`; the first one finds out how many."""

    def turn(each):
        if each.latency is None:
            each.rates = []
            warm = each.ask("run 3")
            each.latency = warm.get("seconds", 3.0) / 3
        steps = max(1, int(seconds / each.latency))
        answer = each.ask(f"run {steps}")
        if "seconds" in answer:
            each.rates.append(batch * steps / answer["seconds"])

    return turn


def train(args, clock):
    configurations = [(network, 8) for network, _ in CONFIGURATIONS[:2]] if args.quick else CONFIGURATIONS
    variants = [*(("kiln", p) for p in OURS_TRAINING), *TORCH_TRAINING]
    if args.quick:
        peers = [("eager", "f32"), ("graph", "f32"), ("eager", "bf16")]
        variants = [("kiln", "f32"), *peers]
    rounds, seconds = (2, 0.2) if args.quick else (7, 0.2)
    columns = ["**Kiln**", *(f"torch {kind}" for kind in KINDS), "ratio"]
    result = Result(["network", "batch", "precision", *columns], numeric_from=3)
    try:
        for at, (network, batch) in enumerate(configurations):
            label = f"{network}, batch {batch}"
            if not clock.allows_another():
                result.fail(label, "left out for lack of time")
                continue
            share = clock.share(len(configurations) - at)
            workers = started({v: training_command(v, network, batch, args) for v in variants})
            clock.measuring()
            try:
                done = in_turn(workers, rounds, share, training_turn(seconds, batch))
            finally:
                finish(workers)
            result.take(label, workers)
            rates = {v: statistics.median(w.rates) for v, w in workers.items() if not w.failed and w.rates}
            result.rows += training_rows(network, batch, variants, rates)
            say(label, f"{done} rounds", {" ".join(v): f"{rate:,.0f}" for v, rate in rates.items()})
    finally:
        result.print("Training, images a second", TRAINING_NOTES.format(rounds=rounds, seconds=seconds))
    return result.failed


def training_rows(network, batch, variants, rates):
    for precision in dict.fromkeys(p for _, p in variants):
        ours, peers = rates.get(("kiln", precision)), [rates.get((kind, precision)) for kind in KINDS]
        best = max(filter(None, peers), default=None)
        cells = [network, str(batch), precision, f"**{ours:,.0f}**" if ours else ""]
        cells += [f"{rate:,.0f}" if rate else "" for rate in peers]
        yield [*cells, f"{ours / best:.2f}" if ours and best else ""]


# Sampling


def sampling_command(variant, model, batches, files, args):
    kind, precision = variant
    several = ["--batches", ",".join(map(str, batches))]
    if is_ours(kind):
        device = "cpu" if kind == "kiln-cpu" else args.device
        path = str(args.models / f"{model}-{precision}.onnx")
        words = ["--device", device, "--threads", threads(), *REWRITE.get(kind, [])]
        return [args.program, "sample", "--model", path, *several, *words]
    return torch_command(args, "sample", files[model], "--kind", kind, "--precision", precision, *several)


def torch_files(models, args, folder):
    """What PyTorch loads instead of the generator files."""
    files = {}
    for model in models:
        files[model] = f"{folder}/{model}.pt"
        source = str(args.models / f"{model}-f32.onnx")
        command = [sys.executable, str(common.FOLDER / "torch_from_onnx.py"), source, files[model]]
        subprocess.run(command, check=True, stdout=sys.stderr)
    return files


def check(workers):
    """Fails the workers whose image of a latent is not that of Kiln on the CPU; the largest difference of the others."""
    largest = 0.0
    references = {p: workers["kiln-cpu", p].ask("check") for p in TOLERANCE if ("kiln-cpu", p) in workers}
    for (kind, precision), each in workers.items():
        reference = references.get(FILES[precision], {})
        if kind == "kiln-cpu" or each.failed or "values" not in reference:
            continue
        # Kiln's answer is of that latent without being told.
        question = "check" if is_ours(kind) else f"check {json.dumps(reference['latent'])}"
        values = each.ask(question).get("values", [])
        differences = [abs(a - b) for a, b in zip(values, reference["values"])]
        # Not by the maximum: a NaN must count.
        if not each.failed and not (values and all(d <= TOLERANCE[precision] for d in differences)):
            each.fail(f"draws another image: values differ by {max(differences, default='all')}")
        elif not each.failed:
            largest = max(largest, *differences)
    return largest


def sample(args, clock):
    models = ["digits", "dcgan-64"]
    batches, rounds, seconds = ([1, 4], 2, 0.1) if args.quick else ([1, 16, 64, 256], 8, 0.05)
    variants = [*OURS_SAMPLING, *TORCH_SAMPLING]
    if args.quick:
        variants = [*OURS_SAMPLING, ("eager", "f32"), ("graph", "f32")]
    columns = ["model", "batch", "what", "numbers", "p50, ms", "p99", "images/s", "to the best of torch", "calls"]
    result, farthest = Result(columns, numeric_from=4), 0.0
    try:
        with tempfile.TemporaryDirectory() as folder:
            files = torch_files(models, args, folder)
            for at, model in enumerate(models):
                if not clock.allows_another():
                    result.fail(model, "left out for lack of time")
                    continue
                share = clock.share(len(models) - at)
                workers = started({v: sampling_command(v, model, batches, files, args) for v in variants})
                clock.measuring()
                try:
                    farthest = max(farthest, check(workers))
                    for left, batch in zip(range(len(batches), 0, -1), batches):
                        result.rows += sampling_rows(model, batch, workers, rounds, seconds, share.share(left))
                finally:
                    finish(workers)
                result.take(model, workers)
    finally:
        notes = SAMPLING_NOTES.format(rounds=rounds, seconds=seconds, threads=threads(), farthest=farthest)
        result.print("Sampling, from latents on the host to images on the host", notes)
    return result.failed


def sampling_rows(model, batch, workers, rounds, seconds, clock):
    """The rows of one batch size, fastest first."""
    for each in workers.values():
        each.times, each.latency = [], None
        each.ask(f"batch {batch}")
        each.warm_up(seconds)
    in_turn(workers, rounds, clock, lambda each: each.turn(seconds, rounds))
    found = {v: w for v, w in workers.items() if w.times and not w.failed}
    best = min((w.median() for (kind, _), w in found.items() if not is_ours(kind)), default=None)
    say(model, batch, {" ".join(v): milliseconds(w.median()) for v, w in found.items()})
    for (kind, precision), each in sorted(found.items(), key=lambda item: item[1].median()):
        cells = [model, str(batch), name_of(kind), precision, milliseconds(each.median())]
        cells += [milliseconds(quantile(each.times, 0.99)), f"{batch * 1e6 / statistics.fmean(each.times):,.0f}"]
        yield [*cells, f"{each.median() / best:.2f}" if best else "", str(len(each.times))]


# Parity, and the circumstances


def parity(args, _clock):
    models = sorted(map(str, args.models.glob("*.onnx")))
    # Nothing is timed: they may run side by side.
    programs = {
        asked: subprocess.Popen(
            [args.program, "parity", "--device", args.device, *words, *models], stdout=subprocess.PIPE, text=True
        )
        for asked, words in PARITY_WAYS.items()
    }
    again = ["plainly", "replayed", "replayed beside plainly"]
    columns = ["model", "image", "transposed convolutions", "runs on", ""]
    columns += ["largest difference", "mean", "allowed", *(f"again, {way}" for way in again), "replayed as graphs"]
    result = Result(columns, numeric_from=5)
    try:
        for asked, program in programs.items():
            for line in program.stdout:
                found = json.loads(line)
                if "failed" in found:
                    result.notes[found["failed"]].append(f"{found['model']}, transposed convolutions {asked}")
                else:
                    result.rows.append(parity_row(found, asked))
            result.failed |= program.wait() != 0 and asked == "by default"
    finally:
        for program in programs.values():
            program.kill()
        result.rows.sort(key=lambda cells: cells[0])
        result.print("Parity with the CPU", PARITY_NOTES)
    return result.failed or not models


def parity_row(found, asked):
    if found["why_not"]:
        say(f"{found['model']} is not replayed in every size: {found['why_not']}")
    way = "rewritten" if found["rewritten"] else "as they are"
    verdict = "ok" if found["ok"] else "FAILED" if found["repeats"] else "FAILED: others when drawn again"
    cells = [found["model"], " x ".join(map(str, found["image"])), f"{way}, {asked}" if asked == "by default" else way]
    cells += [found["device"], verdict]
    # A NaN comes as null.
    cells += ["NaN" if found[key] is None else f"{found[key]:.1e}" for key in ("largest", "mean", "tolerance")]
    for far in found["again"].values():
        cells.append("the same bits" if far == 0 else "NaN" if far is None else f"differs by {far:.1e}")
    return [*cells, f"{found['recorded']} of {len(found['batches'])} sizes"]


def machine(args, _clock):
    print(f"- commit {common.commit()}; {datetime.date.today().isoformat()}")
    fields = "name,driver_version,memory.total,clocks.max.sm,power.limit"
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        found = f"no GPU that nvidia-smi knows of: {error}"
    cards = "; ".join(line.strip() for line in found.splitlines() if line.strip())
    print(f"- {cards} ({fields})\n- {common.machine()}\n")
    return False


def record(path):
    """Puts a file of results into RESULTS.md, newest first."""
    text = pathlib.Path(path).read_text(encoding="utf-8").strip()
    before, inside, after = common.section("gpu")
    older = inside.replace(NOTHING_YET, "").strip()
    inside = f"\n{text}\n\n{older}\n\n" if older else f"\n{text}\n\n"
    common.RESULTS.write_text(before + inside + after, encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sections = {"machine": machine, "parity": parity, "train": train, "sample": sample}
    sections |= {"steps": gpu_programs.steps, "whole": gpu_programs.whole}
    parser.add_argument("section", choices=[*sections, "record"])
    parser.add_argument("file", nargs="?", help="for record")
    parser.add_argument("--program", help="Kiln's program `gpu`")
    parser.add_argument("--models", type=pathlib.Path, help="the folder of NAME-PRECISION.onnx")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--limit", type=float, default=240, help="seconds")
    args = parser.parse_args()
    if args.section == "record":
        return record(args.file or parser.error("record needs a file"))
    # `timeout` ends this so; stopped processes must not stay behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended: out of time"))
    worker.PATIENCE = PATIENCE
    sys.exit(1 if sections[args.section](args, Clock(args.limit)) else 0)


if __name__ == "__main__":
    main()
