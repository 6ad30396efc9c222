"""What the ticks experiment must show beyond its borders: where features are sparsest, and how fine-tuning ends.

    lrscope map experiments/ticks.toml
    python experiments/ticks_check.py runs/ticks

Prints a table by learning rate (means over all seeds) and, per statement, its numbers and whether it holds.
"""

from __future__ import annotations

import argparse

import numpy as np

import lrscope
from lrscope.measures import sparsity


def main() -> None:
    """Check the statements on a result folder."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("result", nargs="?", default="runs/ticks")
    result = lrscope.open_result(parser.parse_args().result)
    units = ("data_seed", "seed")
    runs = result.sizes["data_seed"] * result.sizes["seed"]
    labels = np.array([x.regime for x in lrscope.regimes(result).labels])
    features = sparsity(result["pretrain/feature_accuracy"])
    top, number = features["top_share"].mean(units).values, features["effective_number"].mean(units).values
    tuned = result["finetune/test_accuracy"].isel(finetune_lr=0, epoch=-1).stack(run=units).values
    high = result["finetune/test_accuracy"].isel(finetune_lr=-1, epoch=-1).stack(run=units).values
    plain = result["pretrain/test_accuracy"].isel(epoch=-1).stack(run=units).values
    average = (
        result["average/test_accuracy"].isel(n_average=-1).stack(run=units).values
        if "average" in result.children
        else plain
    )
    print("learning rate  regime  top share  effective number  test acc.  low FLR  (s.e.)   high FLR  SWA")
    for k, lr in enumerate(result["lr"].values):
        print(
            f"{lr:13.4g}  {labels[k]:<6}  {top[k]:9.3f}  {number[k]:16.2f}  {plain[k].mean():9.4f}  {tuned[k].mean():.4f}  "
            f"({tuned[k].std(ddof=1) / np.sqrt(runs):.4f})  {high[k].mean():8.4f}  {average[k].mean():.4f}"
        )
    ones, twos, late = (np.flatnonzero(labels == name) for name in ("1", "2A", "2B"))
    if not (len(ones) and len(twos) and len(late)):
        print("the map has no 1, 2A and 2B to compare")
        return
    edges = {ones[-1], *twos}
    for name, peak in (("top share", int(np.nanargmax(top))), ("effective number", int(np.nanargmin(number)))):
        inside = peak in edges
        print(f"{name}: sparsest at {result['lr'].values[peak]:.4g}, inside 2A or on its lower border: {inside}")
    best_one = ones[tuned[ones].mean(1).argmax()]
    best_two = twos[tuned[twos].mean(1).argmax()]
    gap = tuned[best_one] - tuned[best_two]
    error = gap.std(ddof=1) / np.sqrt(runs)
    print(
        f"low FLR, best of 2A against best of 1 (paired over {runs} seeds): {-gap.mean():+.4f} +- {error:.4f} (s.e.), "
        f"within two standard errors no worse: {gap.mean() <= 2 * error}"
    )
    drop = tuned[best_two] - tuned[late].max(0) if len(late) == 1 else tuned[best_two] - tuned[late].mean(0)
    error = drop.std(ddof=1) / np.sqrt(runs)
    print(
        f"low FLR, best of 2A against the mean of 2B: {drop.mean():+.4f} +- {error:.4f} (s.e.), "
        f"clearly above: {drop.mean() > 2 * error}"
    )


if __name__ == "__main__":
    main()
