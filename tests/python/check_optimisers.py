"""Checks the trainer's optimisers against PyTorch's.

usage: check_optimisers.py FILE.json

FILE.json comes from the trainer's tests:
  KILN_TRAJECTORIES=FILE.json cargo test -p trainer --lib -- optim::tests::trajectories_of_all
Each optimiser in it is run in double precision on the same parameters and gradients; a difference ends with exit code 1.
Without PyTorch nothing is checked, which is said.
"""

import json
import sys

try:
    import torch
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(0)


def peer(parameters, kind, lr, **settings):
    match kind:
        case "adam" | "adamw":
            settings["betas"] = (settings.pop("beta1"), settings.pop("beta2"))
            return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[kind](parameters, lr, **settings)
        case "rmsprop":
            return torch.optim.RMSprop(parameters, lr, alpha=settings.pop("decay"), **settings)
        case "adagrad":
            return torch.optim.Adagrad(parameters, lr, **settings)
        case "sgd":
            return torch.optim.SGD(parameters, lr, **settings)
    sys.exit(f"no optimiser of PyTorch is known for {kind}")


def main(path):
    with open(path) as file:
        given = json.load(file)
    worst = 0.0
    for case in given["cases"]:
        parameter = torch.nn.Parameter(torch.tensor(given["start"], dtype=torch.float64))
        optimizer = peer([parameter], **case["optimizer"])
        for step, (gradient, values) in enumerate(zip(given["gradients"], case["values"], strict=True), 1):
            parameter.grad = torch.tensor(gradient, dtype=torch.float64)
            optimizer.step()
            far = (parameter.detach() - torch.tensor(values, dtype=torch.float64)).abs().max().item()
            worst = max(worst, far)
            if not far < 1e-12:
                sys.exit(f"{case['optimizer']}, step {step}: differs by {far}")
        print(f"{case['optimizer']['kind']}: as PyTorch {torch.__version__} has it")
    if not given["cases"]:
        sys.exit("no cases in the file")
    print(f"{len(given['cases'])} optimisers, the largest difference is {worst:.1e}")


if __name__ == "__main__":
    main(sys.argv[1])
