"""Breaks the recipe `digits` in ten ways, and shows what `--on-alarm heal` makes of each.

usage: heal.py [--trainer PROGRAM] [--kimg N] [--seeds 1,2,3] [--only NAME;NAME] [--folder DIR] [--jobs N]

Of each seed, the recipe as it is, every broken one as it would run without an alarm, and every broken one that heals
itself, all of the same length (200 kimg unless said otherwise), are trained on one thread each, and measured with
`trainer evaluate`. A broken recipe counts as rescued where its distance is at most 1.5 times the healthy one's. Prints
a table, a row for each way and seed, with the alarms to which something was done and what won, and keeps every run's
figures in DIR (target/heal), from which an interrupted comparison goes on.
"""

import json
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor

from variants import arguments, depends_on, evaluate, save, stem, train


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
    """What a run came to, from its file if there is one: its distance, none where it failed, and what won which race."""
    run = stem(folder, name, on_alarm, kimg, seed, depends_on(program, settings))
    result, model, log = (run.with_name(run.name + suffix) for suffix in [".json", ".onnx", ".log"])
    if result.exists():
        return json.loads(result.read_text())
    shutil.rmtree(run, ignore_errors=True)
    model.unlink(missing_ok=True)
    options = ["--seed", str(seed), "--run", run, "--on-alarm", on_alarm, "--export", model]
    options += ["--set", "training.tick_kimg=5", "--set", "training.checkpoint_kimg=10"]
    train(program, settings, kimg, *options, log=log)
    found = evaluate(program, model) if model.exists() else None
    healing = run / "healing.jsonl"
    races = [json.loads(line) for line in healing.read_text().splitlines()] if healing.exists() else []
    winners = [f"{race['trouble']} at {race['images'] // 1000} kimg: {race['winner']}" for race in races]
    figures = {"distance": found and found["frechet_distance"], "winners": winners}
    save(result, figures)
    print(f"{name}, {on_alarm}, seed {seed}: {figures['distance']}", file=sys.stderr)
    return figures


def main():
    args = arguments(__doc__, BROKEN, "target/heal", kimg=200)
    jobs = []
    for seed in args.seeds:
        jobs.append(("healthy", [], seed, "warn"))
        jobs += [(name, BROKEN[name], seed, on_alarm) for name in args.names for on_alarm in ["heal", "warn"]]
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
        row = [name, str(seed), cell(healthy), cell(broken), cell(healed["distance"]), "yes" if good else "no", won]
        print("| " + " | ".join(row) + " |")
    print(f"\n{rescued} of {len(args.names) * len(args.seeds)} are rescued.")


if __name__ == "__main__":
    main()
