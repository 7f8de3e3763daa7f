"""Checks the trainer's precision and recall against the definition in NumPy.

usage: check_manifolds.py FILE.json

FILE.json comes from the trainer's tests:
  KILN_MANIFOLDS=FILE.json cargo test -p trainer --lib -- metrics::manifold::tests::clouds_for_others
Kynkaanniemi et al., "Improved precision and recall metric for assessing generative models" (2019), in double precision; a
difference ends with exit code 1. Without NumPy nothing is checked, which is said.
"""

import json
import sys

try:
    import numpy as np
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(0)


def distances(a, b):
    return np.linalg.norm(a[:, None, :] - b[None, :, :], axis=-1)


def inside(points, manifold, neighbours):
    # In order, the distance to itself comes first.
    radii = np.sort(distances(manifold, manifold), axis=1)[:, neighbours]
    return (distances(points, manifold) <= radii[None, :]).any(axis=1).mean()


def main(path):
    with open(path) as file:
        given = json.load(file)
    for case in given["cases"]:
        sets = (case["real"], case["generated"])
        real, generated = (np.array(rows, dtype=np.float64).reshape(-1, case["width"]) for rows in sets)
        precision = inside(generated, real, given["neighbours"])
        recall = inside(real, generated, given["neighbours"])
        for name, expected in (("precision", precision), ("recall", recall)):
            if abs(case[name] - expected) > 1e-12:
                sys.exit(f"{len(real)} points of {case['width']}: {name} is {case[name]}, not {expected}")
        print(f"{len(real)} points of {case['width']}: {precision:.3f} and {recall:.3f}, as NumPy {np.__version__} has it")
    if not given["cases"]:
        sys.exit("no cases in the file")


if __name__ == "__main__":
    main(sys.argv[1])
