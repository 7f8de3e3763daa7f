"""Compares objectives and remedies on MNIST at equal time: what a reader who must choose one wants to know.

usage: techniques.py [--trainer PROGRAM] [--seconds N] [--seeds 1,2,3] [--only NAME;NAME] [--folder DIR] [--jobs N]

Every technique is the recipe `digits` with the settings below. How many images a second it learns from is measured
first, technique by technique, three times in turn, with as many programs at once as later (--jobs, 2), each on one
thread: for that nothing else should run on the machine. Then each trains on the images of N seconds (100 unless said
otherwise), and is measured with `trainer evaluate`: distance, precision, recall, the classes with fewest and most
samples. Prints a table of means over the seeds with their standard deviations, the floor above it, and keeps every
run's figures in DIR (target/techniques), from which an interrupted comparison goes on.
"""

import json
import shutil
import statistics
import sys
from concurrent.futures import ThreadPoolExecutor

from variants import arguments, depends_on, evaluate, last_line, save, stem, train

R1 = '{kind="r1",weight=1.0}'
LAZY = ['{kind="r1",weight=0.3,every=4}', '{kind="r2",weight=0.3,every=4}']


def penalties(*all):
    return f"objective.penalties=[{','.join(all)}]"


# In settings, {kimg} is the length of the run and {half} half of it.
FALL = '{shape="cosine",from=2e-3,to=2e-4,kimg={kimg}}'
FALLING = [f"optimizer.generator.lr={FALL}", f"optimizer.discriminator.lr={FALL}"]

TECHNIQUES = {
    "non-saturating": [penalties()],
    "minimax": ["objective.loss=minimax", penalties()],
    "least squares": ["objective.loss=least-squares", penalties()],
    "hinge": ["objective.loss=hinge", penalties()],
    "WGAN, clipped": [
        "objective.loss=wasserstein",
        penalties(),
        "remedies.weight_clip=0.01",
        "training.critic_steps=5",
        'optimizer.generator={kind="rmsprop",lr=5e-4}',
        'optimizer.discriminator={kind="rmsprop",lr=5e-4}',
    ],
    "WGAN-GP, 5 critic steps": [
        "objective.loss=wasserstein",
        penalties('{kind="wgan-gp",weight=10.0}'),
        "training.critic_steps=5",
    ],
    "WGAN-GP, 1 critic step": ["objective.loss=wasserstein", penalties('{kind="wgan-gp",weight=10.0}')],
    "DRAGAN": [penalties('{kind="dragan",weight=10.0}')],
    "R1": [penalties(R1)],
    "R1 of 0.3, every 4th step": [penalties(LAZY[0])],
    "R1 of 0.3, every 4th step, rates fall": [penalties(LAZY[0]), *FALLING],
    "R1 + R2": [penalties(R1, '{kind="r2",weight=1.0}')],
    "relativistic pairing + R1 + R2": [
        "objective.loss=relativistic-pairing",
        penalties(R1, '{kind="r2",weight=1.0}'),
    ],
    "relativistic pairing + R1 + R2 of 0.3, every 4th step": [
        "objective.loss=relativistic-pairing",
        penalties(*LAZY),
    ],
    "relativistic average": ["objective.loss=relativistic-average", penalties()],
    "hinge + R1": ["objective.loss=hinge", penalties(R1)],
    "hinge + R1 of 0.3, every 4th step": ["objective.loss=hinge", penalties(LAZY[0])],
    "hinge, spectral norm": ["objective.loss=hinge", penalties(), "discriminator.spectral_norm=true"],
    "spectral norm": [penalties(), "discriminator.spectral_norm=true"],
    "minibatch deviation": [penalties(), 'discriminator.minibatch="deviation"'],
    "LeCam": [penalties('{kind="lecam",weight=0.1}')],
    "consistency": [penalties('{kind="consistency",weight=10.0}')],
    "label smoothing": [penalties(), "remedies.label_smoothing=0.1"],
    "gap-aware rate": [penalties(), "remedies.gap_aware=true"],
    "gap-aware rate, R1 of 0.3, every 4th step": [penalties(LAZY[0]), "remedies.gap_aware=true"],
    "instance noise": [penalties(), 'remedies.instance_noise={shape="linear",from=0.3,to=0.0,kimg={half}}'],
    "packing 2": [penalties(), "remedies.packing=2"],
    "multi-scale": [penalties(), "remedies.multi_scale=true"],
    "top-k": [penalties(), 'remedies.top_k={shape="linear",from=1.0,to=0.5,kimg={half}}'],
    "feature matching": ["objective.loss=feature-matching", penalties()],
    "MMD, rational quadratic": [
        "objective.loss=mmd-rational-quadratic",
        "discriminator.outputs=16",
        penalties(),
        "remedies.weight_clip=0.05",
    ],
    "batch norm in the discriminator": [penalties(), "discriminator.batch_norm=true"],
}


def settings(name, kimg):
    """Those of a technique, in a run of this length."""
    lengths = {"{kimg}": float(kimg), "{half}": kimg / 2}
    filled = TECHNIQUES[name]
    for place, length in lengths.items():
        filled = [setting.replace(place, str(length)) for setting in filled]
    return filled


def ticks(run):
    return [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]


def speed(program, folder, name, turn):
    """Images a second of a technique, by the median of its ticks; None where it does not run."""
    run, kimg = stem(folder, name, "speed", turn), 8
    shutil.rmtree(run, ignore_errors=True)
    log = run.with_name(run.name + ".log")
    options = ["--run", run, "--set", "training.tick_kimg=1"]
    if not train(program, settings(name, kimg), kimg, *options, log=log):
        print(f"{name}: {last_line(log)}", file=sys.stderr)
        return None
    return statistics.median(tick["images_per_second"] for tick in ticks(run))


def run(program, folder, name, seed, kimg):
    """The figures of one run, from its file if there is one; None where it failed, with what it said."""
    run = stem(folder, name, kimg, seed, depends_on(program, settings(name, kimg)))
    result, model, log = (run.with_name(run.name + suffix) for suffix in [".json", ".onnx", ".log"])
    if result.exists():
        return json.loads(result.read_text())
    shutil.rmtree(run, ignore_errors=True)
    options = ["--seed", str(seed), "--run", run, "--export", model, "--force"]
    figures = evaluate(program, model) if train(program, settings(name, kimg), kimg, *options, log=log) else None
    if figures is None:
        print(f"{name}, seed {seed}: {last_line(log)}", file=sys.stderr)
        return None
    figures["images"] = ticks(run)[-1]["images"]
    save(result, figures)
    print(f"{name}, seed {seed}: {figures['frechet_distance']:.2f}", file=sys.stderr)
    return figures


def cell(values, digits):
    values = [value for value in values if value is not None]
    if not values:
        return "-"
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"


def main():
    args = arguments(__doc__, TECHNIQUES, "target/techniques", seconds=100)
    names, seeds = args.names, args.seeds
    pool = ThreadPoolExecutor(args.jobs)
    speeds_file = args.folder / "speeds.json"
    speeds = json.loads(speeds_file.read_text()) if speeds_file.exists() else {}
    key = lambda name: f"{name} {depends_on(args.trainer, TECHNIQUES[name])}"
    missing = [name for name in names if key(name) not in speeds]
    turns = [list(pool.map(lambda name: speed(args.trainer, args.folder, name, turn), missing)) for turn in range(3)]
    for name, *found in zip(missing, *turns):
        speeds[key(name)] = None if None in found else statistics.median(found)
    save(speeds_file, speeds)
    speeds = {name: speeds[key(name)] for name in names}
    # Seed by seed, so that what is known after a while is known of all.
    kimg = {name: max(1, round(speeds[name] * args.seconds / 1000)) for name in names if speeds[name]}
    jobs = [(name, seed, kimg[name]) for seed in seeds for name in kimg]
    figures = pool.map(lambda job: run(args.trainer, args.folder, *job), jobs)
    rows, floor = [], None
    found = {name: [] for name in names}
    for (name, *_), each in zip(jobs, figures):
        found[name].append(each)
        floor = each["floor"] if each else floor
    for name in names:
        whole = [figures for figures in found[name] if figures]
        shares = [[100 * c / sum(figures["class_counts"]) for c in figures["class_counts"]] for figures in whole]
        rows.append(
            [
                name,
                cell([figures["frechet_distance"] for figures in whole], 2),
                cell([figures.get("precision") for figures in whole], 3),
                cell([figures.get("recall") for figures in whole], 3),
                cell([min(share) for share in shares], 1),
                cell([max(share) for share in shares], 1),
                cell([figures["images"] / 1000 for figures in whole], 0),
                str(len(seeds) - len(whole)),
            ]
        )
    if floor:
        print(f"Real test images have distance {floor['frechet_distance']:.2f}.\n")
    print("| technique | distance | precision | recall | rarest class, % | commonest, % | kimg | failed |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    rows.sort(key=lambda row: float(row[1].split()[0]) if row[1] != "-" else float("inf"))
    for row in rows:
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
