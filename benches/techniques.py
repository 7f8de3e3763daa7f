"""Compares objectives and remedies on MNIST at equal time: what a reader who must choose one wants to know.

usage: techniques.py [--trainer PROGRAM] [--seconds N] [--seeds 1,2,3] [--only NAME,NAME] [--folder DIR]

Every technique is the recipe `digits` with the settings below, trained for N seconds (100 unless said otherwise) by the
speed that the trainer measures before it begins, then measured with `trainer evaluate`: distance, precision, recall, the
classes with fewest and most samples. Prints a table of means over the seeds with their standard deviations, the floor
above it, and keeps every run's figures in DIR (target/techniques), from which an interrupted comparison goes on.
Nothing else should run on the machine.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys

R1 = '{kind="r1",weight=1.0}'
R1_LAZY = '{kind="r1",weight=1.0,every=4}'
SLOW = ["optimizer.generator.lr=2e-4", "optimizer.discriminator.lr=2e-4"]


def penalties(*all):
    return f"objective.penalties=[{','.join(all)}]"


def decay(kimg):
    """Rates that fall to a tenth. The length is not known before the speed: a constant one serves all."""
    shape = f'{{shape="cosine",from=2e-3,to=2e-4,kimg={kimg}}}'
    return [f"optimizer.generator.lr={shape}", f"optimizer.discriminator.lr={shape}"]


TECHNIQUES = {
    "digits": [],
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
    "R1, every 4th step": [penalties(R1_LAZY)],
    "R1, every 4th step, rates fall": [penalties(R1_LAZY), *decay(320.0)],
    "R1 + R2": [penalties(R1, '{kind="r2",weight=1.0}')],
    "relativistic pairing + R1 + R2": [
        "objective.loss=relativistic-pairing",
        penalties(R1, '{kind="r2",weight=1.0}'),
    ],
    "relativistic average": ["objective.loss=relativistic-average", penalties()],
    "hinge + R1": ["objective.loss=hinge", penalties(R1)],
    "LeCam": [penalties('{kind="lecam",weight=0.1}')],
    "consistency": [penalties('{kind="consistency",weight=10.0}')],
    "label smoothing": [penalties(), "remedies.label_smoothing=0.1"],
    "instance noise": [penalties(), 'remedies.instance_noise={shape="linear",from=0.3,to=0.0,kimg=200.0}'],
    "packing 2": [penalties(), "remedies.packing=2"],
    "top-k": [penalties(), 'remedies.top_k={shape="linear",from=1.0,to=0.5,kimg=200.0}'],
    "feature matching": ["objective.loss=feature-matching", penalties()],
    "MMD, rational quadratic": [
        "objective.loss=mmd-rational-quadratic",
        "discriminator.outputs=16",
        penalties(),
        "remedies.weight_clip=0.05",
    ],
    "batch norm in the discriminator": [penalties(), "discriminator.batch_norm=true"],
}


def run(program, folder, name, settings, seed, seconds):
    """The figures of one run, from its file if there is one; None where it failed, with what it said."""
    stem = folder / f"{name.replace(' ', '-').replace(',', '')}-{seconds}-{seed}"
    result = stem.with_suffix(".json")
    if result.exists():
        return json.loads(result.read_text())
    model, log = stem.with_suffix(".onnx"), stem.with_suffix(".log")
    command = [program, "--recipe", "digits", "--seed", str(seed), "--minutes", str(seconds / 60), "--run", str(stem)]
    for setting in settings:
        command += ["--set", setting]
    with open(log, "w") as file:
        ended = subprocess.run([*command, "--export", model, "--force"], stdout=file, stderr=subprocess.STDOUT)
    if ended.returncode != 0:
        last = log.read_text().strip().splitlines()[-1:]
        print(f"{name}, seed {seed}: {' '.join(last)}", file=sys.stderr)
        return None
    found = subprocess.run([program, "evaluate", model, "--json"], capture_output=True, text=True, check=True)
    figures = json.loads(found.stdout)
    figures["images"] = json.loads((stem / "stats.jsonl").read_text().splitlines()[-1])["images"]
    result.write_text(json.dumps(figures))
    return figures


def cell(values, digits):
    values = [value for value in values if value is not None]
    if not values:
        return "-"
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainer", default="target/release/trainer")
    parser.add_argument("--seconds", type=int, default=100)
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--only")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("target/techniques"))
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    names = args.only.split(",") if args.only else list(TECHNIQUES)
    for name in names:
        if name not in TECHNIQUES:
            sys.exit(f"no technique {name!r}; there are: {', '.join(TECHNIQUES)}")
    seeds = [int(seed) for seed in args.seeds.split(",")]
    rows, floor = [], None
    # Seed by seed, so that what is known after a while is known of all.
    found = {name: [] for name in names}
    for seed in seeds:
        for name in names:
            figures = run(args.trainer, args.folder, name, TECHNIQUES[name], seed, args.seconds)
            found[name].append(figures)
            if figures:
                floor = figures["floor"]
                print(f"{name}, seed {seed}: {figures['frechet_distance']:.2f}", file=sys.stderr)
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
                str(len(found[name]) - len(whole)),
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
