"""Checks the trainer's losses against PyTorch's functions and automatic derivatives.

usage: check_objectives.py FILE.json

FILE.json comes from the trainer's tests:
  KILN_OBJECTIVES=FILE.json cargo test -p trainer --lib -- criterion::tests::verdicts_of_all
Each loss is written here as its paper has it and derived by autograd, in double precision; a difference ends with exit
code 1. Without PyTorch nothing is checked, which is said.
"""

import json
import sys

try:
    import torch
    import torch.nn.functional as F
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(0)


def bce(logits, label):
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def mse(logits, label):
    return F.mse_loss(logits, torch.full_like(logits, label)) / 2


def mean_of_pairs(k):
    n = k.shape[0]
    return (k.sum() - k.diagonal().sum()) / (n * (n - 1))


def squared(a, b):
    return (a[:, None, :] - b[None, :, :]).pow(2).sum(-1)


def rbf(s):
    return sum(torch.exp(-s / (2 * sigma**2)) for sigma in (1.0, 2.0, 4.0, 8.0, 16.0))


def rational(s):
    return sum((1 + s / (2 * a)) ** -a for a in (0.2, 0.5, 1.0, 2.0, 5.0))


def gauss(s):
    return torch.exp(-s / 2)


def biased(kernel, x, y):
    return kernel(squared(x, x)).mean() + kernel(squared(y, y)).mean() - 2 * kernel(squared(x, y)).mean()


def unbiased(kernel, x, y):
    same = mean_of_pairs(kernel(squared(x, x))) + mean_of_pairs(kernel(squared(y, y)))
    return same - 2 * kernel(squared(x, y)).mean()


def hinge(l):
    return F.relu(1 - l).mean()


# What the discriminator minimises, and what the generator does, of outputs for real and for generated images.
LOSSES = {
    "non-saturating": (lambda x, y: bce(x, 1.0) + bce(y, 0.0), lambda x, y: bce(y, 1.0)),
    "minimax": (lambda x, y: bce(x, 1.0) + bce(y, 0.0), lambda x, y: -bce(y, 0.0)),
    "least-squares": (lambda x, y: mse(x, 1.0) + mse(y, 0.0), lambda x, y: mse(y, 1.0)),
    "hinge": (lambda x, y: hinge(x) + hinge(-y), lambda x, y: -y.mean()),
    "wasserstein": (lambda x, y: y.mean() - x.mean(), lambda x, y: -y.mean()),
    "relativistic-pairing": (lambda x, y: F.softplus(y - x).mean(), lambda x, y: F.softplus(x - y).mean()),
    "relativistic-average": (
        lambda x, y: bce(x - y.mean(), 1.0) + bce(y - x.mean(), 0.0),
        lambda x, y: bce(x - y.mean(), 0.0) + bce(y - x.mean(), 1.0),
    ),
    "relativistic-average-hinge": (
        lambda x, y: hinge(x - y.mean()) + hinge(-(y - x.mean())),
        lambda x, y: hinge(-(x - y.mean())) + hinge(y - x.mean()),
    ),
    "feature-matching": (
        lambda x, y: bce(x, 1.0) + bce(y, 0.0),
        lambda x, y: (x.mean(0) - y.mean(0)).pow(2).sum(),
    ),
    "mmd-rbf": (lambda x, y: -biased(rbf, x, y).sqrt(), lambda x, y: biased(rbf, x, y).sqrt()),
    "mmd-rational-quadratic": (lambda x, y: -unbiased(rational, x, y), lambda x, y: unbiased(rational, x, y)),
    "mmd-repulsive": (
        lambda x, y: mean_of_pairs(gauss(squared(x, x).clamp(max=4.0)))
        - mean_of_pairs(gauss(squared(y, y).clamp(min=0.25))),
        lambda x, y: unbiased(gauss, x, y),
    ),
}


def main(path):
    with open(path) as file:
        cases = json.load(file)
    worst = 0.0
    for case in cases:
        if case["loss"] not in LOSSES:
            sys.exit(f"no formula is known for {case['loss']}")
        for player, formula in zip(("discriminator", "generator"), LOSSES[case["loss"]], strict=True):
            kinds = ("real", "generated")
            both = {kind: torch.tensor(case[kind], dtype=torch.float64, requires_grad=True) for kind in kinds}
            loss = formula(both["real"], both["generated"])
            loss.backward()
            found = case[player]
            far = abs(loss.item() - found["loss"])
            for kind, tensor in both.items():
                if kind in found:
                    expected = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
                    far = max(far, (expected - torch.tensor(found[kind], dtype=torch.float64)).abs().max().item())
            worst = max(worst, far)
            if not far < 1e-10:
                sys.exit(f"{case['loss']}, {player}: differs by {far}")
        print(f"{case['loss']}: as PyTorch {torch.__version__} has it")
    if not cases:
        sys.exit("no cases in the file")
    print(f"{len(cases)} losses, the largest difference is {worst:.1e}")


if __name__ == "__main__":
    main(sys.argv[1])
