"""Breaks the recipe `digits` in ten ways, and shows what `--on-alarm heal` makes of each.

usage: heal.py [--trainer PROGRAM] [--kimg N] [--seeds 1,2,3] [--only NAME;NAME] [--folder DIR] [--jobs N]

Of each seed, the recipe as it is, every broken one as it would run without an alarm, and every broken one that heals
itself, all of the same length (200 kimg unless said otherwise), are trained on one thread each, and measured with
`trainer evaluate`. A broken recipe counts as rescued where its distance is at most 1.5 times the healthy one's. Prints
a table, a row for each seed and way, with the alarms that were raised and the remedies that won, and keeps every run's
figures in DIR (target/heal), from which an interrupted comparison goes on.
"""

import argparse
import json
import pathlib
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor


def rates(generator, discriminator):
    return [f"optimizer.generator.lr={generator}", f"optimizer.discriminator.lr={discriminator}"]


BROKEN = {
    "generator's rate x100": rates(0.2, 2e-3),
    "discriminator's rate x100": rates(2e-3, 0.2),
    "both rates x100": rates(0.2, 0.2),
    "no normalisation, both rates x10": ['generator.norm="none"', *rates(2e-2, 2e-2)],
    "tiny discriminator": ["discriminator.width=1"],
    "huge penalty": ['objective.penalties=[{kind="r1",weight=1e5}]'],
    "discriminator's rate / 1000": rates(2e-3, 2e-6),
    "generator's rate / 1000": rates(2e-6, 2e-3),
    "momentum 0.99": ["optimizer.generator.beta1=0.99", "optimizer.discriminator.beta1=0.99", *rates(1e-2, 1e-2)],
    "instance noise of 5": ["remedies.instance_noise=5.0"],
}


def run(program, folder, name, settings, seed, kimg, on_alarm):
    """What a run came to, from its file if there is one: distance (none where it failed), alarms, winners."""
    stem = folder / "-".join(re.sub(r"[^a-z0-9]+", "-", part.lower()) for part in [name, on_alarm, str(kimg), str(seed)])
    result, model, log = (stem.with_name(stem.name + suffix) for suffix in [".json", ".onnx", ".log"])
    if result.exists():
        return json.loads(result.read_text())
    shutil.rmtree(stem, ignore_errors=True)
    model.unlink(missing_ok=True)
    command = [program, "--recipe", "digits", "--threads", "1", "--kimg", str(kimg), "--seed", str(seed), "--run", stem]
    command += ["--on-alarm", on_alarm, "--export", model, "--set", "training.tick_kimg=5"]
    command += ["--set", "training.checkpoint_kimg=10"]
    for setting in settings:
        command += ["--set", setting]
    with open(log, "w") as file:
        subprocess.run(command, stdout=file, stderr=subprocess.STDOUT)
    figures = {"distance": None, "alarms": re.findall(r"alarm at (\d+) images: ([a-z ']+)", log.read_text())}
    healing = stem / "healing.jsonl"
    races = [json.loads(line) for line in healing.read_text().splitlines()] if healing.exists() else []
    figures["winners"] = [f"{race['trouble']} at {race['images'] // 1000} kimg: {race['winner']}" for race in races]
    if model.exists():
        found = subprocess.run([program, "evaluate", model, "--json"], capture_output=True, text=True)
        figures["distance"] = json.loads(found.stdout)["frechet_distance"] if found.returncode == 0 else None
    result.write_text(json.dumps(figures))
    print(f"{name}, {on_alarm}, seed {seed}: {figures['distance']}", file=sys.stderr)
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainer", default="target/release/trainer")
    parser.add_argument("--kimg", type=int, default=200)
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--only")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("target/heal"))
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    names = args.only.split(";") if args.only else list(BROKEN)
    jobs = []
    for seed in args.seeds.split(","):
        jobs.append(("healthy", [], seed, "warn"))
        jobs += [(name, BROKEN[name], seed, on_alarm) for name in names for on_alarm in ["heal", "warn"]]
    pool = ThreadPoolExecutor(args.jobs)

    def one(job):
        name, settings, seed, on_alarm = job
        return run(args.trainer, args.folder, name, settings, seed, args.kimg, on_alarm)

    found = {(name, seed, on_alarm): figures for (name, _, seed, on_alarm), figures in zip(jobs, pool.map(one, jobs))}
    print("| broken by | seed | healthy | broken | healed | rescued | what won |")
    print("| --- | ---: | ---: | ---: | ---: | --- | --- |")
    cell = lambda distance: "-" if distance is None else f"{distance:.2f}"
    rescued = 0
    for (name, seed, on_alarm), healed in found.items():
        if on_alarm != "heal":
            continue
        healthy, broken = (found[key]["distance"] for key in [("healthy", seed, "warn"), (name, seed, "warn")])
        good = healed["distance"] is not None and healed["distance"] <= 1.5 * healthy
        rescued += good
        won = "; ".join(healed["winners"]) or "no alarm"
        row = [name, seed, cell(healthy), cell(broken), cell(healed["distance"]), "yes" if good else "no", won]
        print("| " + " | ".join(row) + " |")
    print(f"\n{rescued} of {len(names) * len(args.seeds.split(','))} are rescued.")


if __name__ == "__main__":
    main()
