"""Which learning rate is the large one of Adam and of RMSprop (LD8)? A main path of 80 epochs at laptop scale, seed 0.

    python experiments/late_decay_rates.py [sgd adam rmsprop] [--epochs 80] [--seed 0] [--root runs/rates]

The rule was written before the first look: of `RATES` the largest at which the run stays finite and, over the last eighth of the
path, classifies at least 90% of its training images. SGD at LD1's rate stands beside them. Evidence is made with seeds
from 5000 on.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import lrscope
from lrscope.config import SweepConfig
from lrscope.schema import PRETRAIN, segment
from lrscope.studies.late_decay import STUDY

OPTIMIZERS = ("sgd", "adam", "rmsprop")
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
FITTED = 0.9
LAST = 8  # logging intervals of a path; the last one counts


def main() -> None:
    """Train the paths and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("optimizers", nargs="*", help="one or more of sgd, adam and rmsprop; all by default")
    parser.add_argument("--epochs", type=float, default=80)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--root", type=Path, default=Path("runs/rates"))
    options = parser.parse_args()
    mse = next(sweep for sweep in STUDY.scales["laptop"].sweeps if sweep.name == "mse")
    task = lrscope.named_task(**{**mse.arguments, "test_size": 500})
    for name in options.optimizers or OPTIMIZERS:
        config = _path(mse.config, name, options.epochs, options.seed)
        result = lrscope.sweep(task, config=config, out=options.root / name)
        data = segment(result, PRETRAIN.name).isel(data_seed=0, seed=0, epoch=-1)
        loss, fitted = (data[of].values.tolist() for of in ("train_loss", "train_accuracy"))
        for lr, *seen in zip(config.lrs, loss, fitted, strict=True):
            print(f"{name} {lr:g}: training loss {seen[0]:.3g}, training accuracy {seen[1]:.1%}")
        good = [lr for lr, part in zip(config.lrs, fitted, strict=True) if part >= FITTED]
        print(f"{name}: {max(good):g}" if good else f"{name}: none")


def _path(config: SweepConfig, optimizer: str, epochs: float, seed: int) -> SweepConfig:
    """The main path alone, of one draw."""
    own = {} if optimizer == "sgd" else {"optimizer": optimizer, "momentum": 0.0, "lrs": RATES}
    short = {"epochs": epochs, "branches": (), "data_seeds": 1, "keep_weights": False, "snapshot_epochs": ()}
    return replace(config, **{**short, **own}, log_points=LAST, first_seed=seed, first_data_seed=seed)


if __name__ == "__main__":
    main()
