"""The programs `trainer` and `sample` on a GPU, as users run them: sections of gpu.py.

`steps`: every loss, penalty, remedy, layer and optimiser learns for a few steps on the device and on the CPU; every figure
of the log must be the same. `whole`: whole trainings, one of them interrupted, pictures, a race of remedies, and what they
export drawn on the device; generators of other tools, too.
"""

import concurrent.futures
import contextlib
import json
import math
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import common
from gpu_report import Result

sys.path.append(str(common.FOLDER.parent))
from techniques import TECHNIQUES, penalties, settings

R1 = 'objective.penalties=[{kind="r1",weight=0.3}]'
# What no technique has.
MORE = {
    "relativistic average hinge": ["objective.loss=relativistic-average-hinge", penalties()],
    "MMD, Gaussian": ["objective.loss=mmd-rbf", "discriminator.outputs=16", penalties('{kind="wgan-gp",weight=1.0}')],
    "MMD, repulsive": ["objective.loss=mmd-repulsive", "discriminator.outputs=16", penalties(), "remedies.weight_clip=0.05"],
    "scaled MMD": ["objective.loss=mmd-rbf", penalties('{kind="scaled",weight=1.0}')],
    "WGAN-GP, one-sided": ["objective.loss=wasserstein", penalties('{kind="wgan-gp-one-sided",weight=10.0}')],
    "adversarial": [penalties('{kind="adversarial",weight=1.0}')],
    "input dropout": [R1, "remedies.input_dropout=0.2"],
    "historical averaging": [R1, "remedies.historical_averaging=0.1"],
    "virtual batch normalisation": [R1, 'generator.norm="virtual"'],
    "no normalisation": [R1, 'generator.norm="none"'],
    "spectral norm in both": [R1, "generator.spectral_norm=true", "discriminator.spectral_norm=true"],
    "minibatch discrimination": [penalties(), 'discriminator.minibatch="discrimination"'],
    "classes, projection": [R1, "conditional=true"],
    "classes, classifier": [R1, "conditional=true", 'discriminator.conditioning="classifier"'],
    "classes that count alike": [R1, "conditional=true", "objective.class_balance=0.5", "data.balance=0.5"],
    "mirrored": [R1, "data.flip=true"],
    "one stage": ["training.stages=one"],
    "two generator steps": ["training.generator_steps=2"],
    "micro-batches": [R1, "training.micro_batches=4"],
    "other depths": [R1, "generator.depth=1", "discriminator.depth=3"],
    "AdamW, RMSprop": ['optimizer.generator={kind="adamw",lr=1e-3}', 'optimizer.discriminator={kind="rmsprop",lr=1e-4}'],
    "Adagrad, SGD": ['optimizer.generator={kind="adagrad",lr=1e-3}', 'optimizer.discriminator={kind="sgd",lr=1e-3}'],
    "clipped gradients": [R1, "optimizer.generator_clip.norm=0.1", "optimizer.discriminator_clip.value=0.01"],
}
# In which the same numbers are rounded to another type: compared with f32 on the CPU.
COARSE = {f"in {p}": [R1, f"training.precision={p}"] for p in ("tf32", "bf16", "f16")}
STEPS = 4
# Adam divides by the size of a gradient, so that one near 0 with another sign moves its weight as far as any other: what is
# compared learns by plain steps, but for these.
OPTIMISERS = ["AdamW, RMSprop", "Adagrad, SGD", "Adam", "R1 of 0.3, every 4th step, rates fall"]
PLAIN = {f"optimizer.{network}": '{kind="sgd",lr=0.01}' for network in ("generator", "discriminator")}
# Largest relative differences of the first step's figures and of the last one's: a value that is next to 0 may be on the other
# side of an activation's bend. Batch normalisation divides small deviations by small ones; the root of a discrepancy of nearly
# the same features has the digits that are left of their difference.
ALLOWED = {
    "": (5e-4, 5e-3),
    **dict.fromkeys(OPTIMISERS, (1e-3, 2e-2)),
    "batch norm in the discriminator": (5e-3, 0.1),
    **dict.fromkeys(["MMD, Gaussian", "scaled MMD"], (1e-2, 1e-2)),
    "in tf32": (1e-2, 0.05),
    "in bf16": (5e-2, 0.2),
    "in f16": (1e-2, 0.05),
}
# The log's lines have these of the clock, and these jump where a logit crosses 0.
NOT_COMPARED = {"images_per_second", "data_wait_seconds", "grid_seconds", "real_sign", "fake_sign"}
# On the CPU losses are not scaled.
NOT_COMPARED |= {f"{network}_{what}" for network in ("generator", "discriminator") for what in ("loss_scale", "skipped_steps")}
STEP_NOTES = """
- {steps} steps of the recipe `digits` with each setting, on the device and on the CPU, f32: the largest difference of a figure of the
  log (losses, logits, penalties, norms of gradients, spread of samples), relative to its size or to 0.01 where that is larger
- plain gradient descent, rate 0.01, instead of Adam but where optimisers are compared
"""
WHOLE_NOTES = """
- wall time of the whole program, its start and its compiling of kernels included; {threads} threads
- distances: Fréchet distance of `trainer evaluate`, 10,000 samples drawn on the CPU
"""


def run(command, log, seconds=120, stop_after=None, environment=None):
    """The exit code and wall time of a program whose words go to `log`; with a signal after so many seconds."""
    begun = time.monotonic()
    with open(log, "ab") as file:
        process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
            env=os.environ | (environment or {}),
        )
        try:
            if stop_after:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(stop_after)
                process.send_signal(signal.SIGTERM)
            code = process.wait(seconds)
        except BaseException:
            process.kill()
            raise
    return code, time.monotonic() - begun


def last_words(log):
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return next((line for line in reversed(lines) if "error" in line or "panicked" in line), (lines or ["no word"])[-1])[:300]


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


# Steps


def difference(ours, theirs):
    """The largest difference of two lines of the log, and of which figure."""
    worst = (0.0, "")
    for name in sorted((ours.keys() | theirs.keys()) - NOT_COMPARED):
        a, b = ours.get(name), theirs.get(name)
        if not all(isinstance(x, (int, float)) and math.isfinite(x) for x in (a, b)):
            far = 0.0 if a == b else math.inf
        else:
            far = abs(a - b) / max(abs(a), abs(b), 0.01)
        if far > worst[0]:
            worst = (far, name)
    return worst


def steps(args, clock):
    cases = {**{name: settings(name, 1) for name in TECHNIQUES}, **MORE, **COARSE, "Adam": []}
    for name, wanted in cases.items():
        if name not in OPTIMISERS:
            others = [setting for setting in wanted if not setting.startswith("optimizer.") or "_clip" in setting]
            cases[name] = [*others, *(f"{key}={value}" for key, value in PLAIN.items())]
    if args.quick:
        cases = {name: cases[name] for name in random.Random(0).sample(sorted(cases), 6)}
    result = Result(["settings", "", "first step", "of", f"step {STEPS}", "of"], numeric_from=6)
    trainer = pathlib.Path(args.program).with_name("trainer")
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:

        def learn(number, name, device):
            dir = pathlib.Path(folder, f"{number}-{device}")
            words = ["--recipe", "digits", "--steps", STEPS, "--set", "training.tick_kimg=0.064", "--threads", "1"]
            for setting in cases[name]:
                coarse = device == "reference" and setting.startswith("training.precision")
                words += [] if coarse else ["--set", setting]
            words += ["--device", args.device if device == "device" else "cpu", "--run", dir]
            code, _ = run([trainer, *words], dir.with_suffix(".log"))
            return lines_of(dir / "stats.jsonl"), "" if code == 0 else last_words(dir.with_suffix(".log"))

        futures = {
            name: [pool.submit(learn, number, name, device) for device in ("device", "reference")]
            for number, name in enumerate(cases)
        }
        for name, both in futures.items():
            if clock.left() < 0:
                result.fail(name, "left out for lack of time")
                [future.cancel() for future in both]
                continue
            (ours, said), (theirs, theirs_said) = (future.result() for future in both)
            if said or theirs_said:
                result.fail(name, said or theirs_said)
                continue
            found = [difference(ours[at], theirs[at]) for at in (0, -1)]
            allowed = ALLOWED.get(name, ALLOWED[""])
            ok = len(ours) == len(theirs) == STEPS and all(far <= most for (far, _), most in zip(found, allowed))
            result.failed |= not ok
            cells = [cell for far, figure in found for cell in (f"{far:.1e}", f"`{figure}`" if figure else "")]
            result.rows.append([name, "ok" if ok else "FAILED", *cells])
    result.print("Steps beside the CPU", STEP_NOTES.format(steps=STEPS))
    return result.failed


# Whole


class Whole:
    def __init__(self, args, folder):
        self.args, self.folder = args, pathlib.Path(folder)
        self.trainer, self.sample = (pathlib.Path(args.program).with_name(name) for name in ("trainer", "sample"))
        self.result = Result(["what", "", "seconds", "images/s", "found"], numeric_from=5)
        self.kimg = ["--kimg", "8"] if args.quick else []

    def row(self, what, ok, seconds, rate="", found=""):
        self.result.failed |= not ok
        self.result.rows.append([what, "ok" if ok else "FAILED", f"{seconds:.1f}", f"{rate:,.0f}" if rate else "", found])
        print(what, "ok" if ok else "FAILED", f"{seconds:.1f} s", found, file=sys.stderr, flush=True)

    def train(self, name, *words, **options):
        """A training: whether it ended well, how long it took, its speed, and where its files are."""
        run_dir, log = self.folder / name, self.folder / f"{name}.log"
        command = [self.trainer, "--device", self.args.device, "--run", run_dir, *words]
        code, seconds = run(command, log, **options)
        lines = lines_of(run_dir / "stats.jsonl")
        rates = [line["images_per_second"] for line in lines if "images_per_second" in line][1:]
        rate = sorted(rates)[len(rates) // 2] if rates else 0
        return code, seconds, rate, last_words(log)

    def digits(self, name, *words):
        model = self.folder / f"{name}.onnx"
        code, seconds, rate, said = self.train(name, *self.kimg, "--export", model, *words)
        return code == 0, seconds, rate, model, said

    def distance(self, model):
        if not model.exists():
            return None
        command = [self.trainer, "evaluate", model, "--json"] + (["--count", "500"] if self.args.quick else [])
        found = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        if found.returncode:
            print(found.stderr, file=sys.stderr)
            return None
        return json.loads(found.stdout)["frechet_distance"]

    def trainings(self):
        # The CPU has no others.
        others = [] if self.args.device == "cpu" else [("tf32", 1), ("bf16", 1), ("f16", 1)]
        runs = [(f"digits, {p}, seed {seed}", ["--seed", seed, "--set", f"training.precision={p}"])
                for p, seed in [("f32", 1), ("f32", 2), ("f32", 3), *others]]
        done = [(what, self.digits(f"digits-{at}", *words)) for at, (what, words) in enumerate(runs)]
        for what, (ok, seconds, rate, model, said) in done:
            distance = self.distance(model) if ok else None
            self.row(what, distance is not None, seconds, rate, f"distance {distance:.2f}" if distance is not None else said)
        _, (_, self.seconds, _, _, _) = done[0]

    def interrupted(self):
        """The first run again, stopped in the middle and gone on with: to the same bytes."""
        model = self.folder / "digits-0.onnx"
        again, words = self.folder / "interrupted.onnx", ["--seed", "1", *self.kimg]
        code, before, _, said = self.train("interrupted", *words, stop_after=self.seconds / 2)
        kept = sorted(path.name for path in (self.folder / "interrupted").glob("checkpoint-*"))
        then, after, _, said = self.train("interrupted", "--resume", "--export", again)
        same = again.exists() and model.exists() and again.read_bytes() == model.read_bytes()
        checkpoints = [sorted((self.folder / name).glob("checkpoint-*"))[-1:] for name in ("digits-0", "interrupted")]
        same &= all(checkpoints) and checkpoints[0][0].read_bytes() == checkpoints[1][0].read_bytes()
        found = f"stopped at {kept[-1] if kept else 'nothing'}; " + ("the same bytes" if same else f"OTHER BYTES; {said}")
        self.row("digits, seed 1, stopped and resumed", code == 130 and then == 0 and same, before + after, found=found)

    def pictures(self):
        """Pictures of two kinds in folders, by the recipes that choose everything themselves."""
        from PIL import Image, ImageDraw

        draw, photos = random.Random(1), self.folder / "photos"
        for kind in ("discs", "boxes"):
            (photos / kind).mkdir(parents=True)
            for number in range(400):
                image = Image.new("RGB", (72, 64), tuple(draw.randrange(256) for _ in range(3)))
                x, y, r = draw.randrange(16, 56), draw.randrange(16, 48), draw.randrange(6, 16)
                shape = ImageDraw.Draw(image).ellipse if kind == "discs" else ImageDraw.Draw(image).rectangle
                shape((x - r, y - r, x + r, y + r), fill=tuple(draw.randrange(256) for _ in range(3)))
                image.save(photos / kind / f"{number}.png")
        for recipe in ("pictures", "pictures-conditional"):
            model = self.folder / f"{recipe}.onnx"
            minutes = ["--kimg", "0.5"] if self.args.quick else ["--minutes", "0.3"]
            words = ["--data", photos, "--recipe", recipe, *minutes, "--export", model]
            code, seconds, rate, said = self.train(recipe, *words)
            shown = lines_of(self.folder / recipe / "stats.jsonl")[-1:]
            found = f"{shown[0]['images']:,} images in {' '.join(map(str, minutes))}" if shown else said
            self.row(f"pictures of 72 x 64, {recipe}", code == 0, seconds, rate, found if code == 0 else said)

    def race(self):
        words = ["--on-alarm", "heal", "--kimg", "60", "--set", "training.tick_kimg=5", "--set", "training.checkpoint_kimg=10"]
        words += ["--set", "optimizer.generator.lr=0.2", "--set", "optimizer.discriminator.lr=0.2"]
        if self.args.quick:
            return
        code, seconds, rate, said = self.train("race", *words, "--export", self.folder / "race.onnx", "--force")
        races = lines_of(self.folder / "race" / "healing.jsonl")
        found = "; ".join(f"{race['trouble']} at {race['images'] // 1000} kimg: {race['winner']}" for race in races)
        self.row("rates a hundred times too high, healed", code == 0 and bool(races), seconds, rate, found or said)

    def drawn(self):
        """What was exported, and generators of other tools, on the device beside the CPU."""
        models, fixtures = self.folder / "drawn", pathlib.Path(self.args.program).parent.parent / "adopt"
        models.mkdir()
        for name in ("digits-0", "digits-4", "pictures", "pictures-conditional"):
            if (self.folder / f"{name}.onnx").exists():
                shutil.copy(self.folder / f"{name}.onnx", models)
        for told in sorted(fixtures.glob("*.txt")):
            options = told.read_text().splitlines()[0].split()
            command = [self.sample, "adopt", told.with_suffix(".onnx"), models / f"{told.stem}.onnx", *options]
            log = self.folder / "adopt.log"
            if run(command, log, environment={"CUDA_VISIBLE_DEVICES": ""})[0]:
                self.row(f"{told.stem}, adopted", False, 0, found=last_words(log))
        begun = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            found = list(pool.map(self.compare, sorted(models.glob("*.onnx"))))
        for each in found:
            self.row(*each)
        print(f"compared in {time.monotonic() - begun:.0f} s", file=sys.stderr)

    def compare(self, model):
        begun = time.monotonic()
        command = [self.args.program, "parity", "--device", self.args.device, str(model)]
        found = subprocess.run(command, capture_output=True, text=True)
        answer = json.loads(found.stdout.splitlines()[0]) if found.stdout.strip() else {"failed": found.stderr[-300:]}
        what, ok = f"{model.stem}, drawn beside the CPU", answer.get("ok", False)
        if "failed" in answer:
            return what, False, time.monotonic() - begun, "", answer["failed"]
        far = "NaN" if answer["largest"] is None else f"{answer['largest']:.1e}"
        again = "the same bits again" if answer["repeats"] else f"others again: {answer['again']}"
        ways = f"replayed in {answer['recorded']} of {len(answer['batches'])} sizes"
        return what, ok, time.monotonic() - begun, "", f"differs by {far}; {again}; {ways} {answer['why_not'] or ''}".strip()

    def programs(self):
        """`sample`, as in the README."""
        model, log = self.folder / "digits-0.onnx", self.folder / "sample.log"
        raws = []
        for provider in ("cpu", self.args.device):
            raws.append(self.folder / f"{provider}.raw")
            words = ["--seed", "7", "--count", "640", "--raw", raws[-1], "--provider", provider]
            code, seconds = run([self.sample, model, *words], log)
            self.row(f"sample, 640 digits, {provider}", code == 0, seconds, found="" if code == 0 else last_words(log))
        if all(raw.exists() for raw in raws):
            a, b = (raw.read_bytes() for raw in raws)
            far = max((abs(x - y) for x, y in zip(a, b)), default=256)
            self.row("their bytes", len(a) == len(b) > 0 and far <= 2, 0, found=f"differ by {far} of 255 at most")
        for words in (["--doctor", model], [model, "--provider", self.args.device, "--walk", "30", "--seeds", "5,8", "--grid",
                                                self.folder / "walk.png"]):
            code, seconds = run([self.sample, *words], log)
            self.row(f"sample {words[0] if words[0] == '--doctor' else '--walk'}", code == 0, seconds,
                     found="" if code == 0 else last_words(log))
        print(log.read_text(errors="replace"), file=sys.stderr)


def whole(args, clock):
    with tempfile.TemporaryDirectory() as folder:
        tasks = Whole(args, folder)
        try:
            tasks.trainings()
            for task in (tasks.interrupted, tasks.programs, tasks.pictures, tasks.drawn, tasks.race):
                if clock.left() < 5:
                    tasks.result.fail("the rest", "left out for lack of time")
                    break
                try:
                    task()
                except (OSError, ValueError, KeyError, IndexError, subprocess.SubprocessError) as error:
                    tasks.result.fail(task.__name__, repr(error)[:300])
        finally:
            tasks.result.print("The programs, as they are used", WHOLE_NOTES.format(threads=os.cpu_count()))
            if os.environ.get("OUT"):
                for file in pathlib.Path(folder).glob("digits-0/samples.png"):
                    shutil.copy(file, os.environ["OUT"])
    return tasks.result.failed
