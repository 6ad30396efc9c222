"""How fast the two-layer network of learning_order comes to its infinite width: differences against the number of neurons.

    python experiments/learning_order_widths.py [--dimension 60] [--widths 64 256 1024 4096 16384]

W has that many neurons, V 16 times as many, tau_0 = 0.8 width^(-1/3). Prints root mean squares over times and seeds of finite
minus infinite width for L-S and S, and the power of the width that fits them; the last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import torch

from lrscope.studies.learning_order.curves import Setting, finite_learning_curves, learning_curves
from lrscope.studies.learning_order.two_layers import Widths

NAMES = ("loss", "loss_r_m1", "g", "curvature", "norm_w", "norm_v", "norm_w_m2", "noise_kept")
LARGE_LR = 5.0


def main() -> None:
    """Measure all; print them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dimension", type=int, default=60)
    parser.add_argument("--examples", type=int, default=40)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 256, 1024, 4096, 16384])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--until", type=float, default=100.0)
    options = parser.parse_args()
    seeds, rates = range(options.seeds), {"large_lr": LARGE_LR, "small_lr": LARGE_LR / 2}
    words = {"p": 0.2, "q": 0.3, "r": [0.5], "weight_decay": [4e-3], "eps": 0.37, "until": options.until} | rates
    setting = Setting(examples=options.examples, dimension=options.dimension, **words)
    limit, found = learning_curves(setting, seeds, hold=LARGE_LR, block=1), []
    size = {name: round(float((limit[name] ** 2).mean() ** 0.5), 3) for name in NAMES}
    print(f"root mean square of each: {size}", flush=True)
    for width in options.widths:
        begun, widths = time.perf_counter(), Widths(first=width, second=16 * width)
        times, start_std = round(options.until / LARGE_LR), 0.8 * width ** (-1 / 3)
        curves = finite_learning_curves(setting, seeds, widths=widths, start_std=start_std, times=times)
        found.append({name: float(((curves[name] - limit[name]) ** 2).mean() ** 0.5) for name in NAMES})
        shown = "  ".join(f"{name} {value:.2g}" for name, value in found[-1].items())
        print(f"width {width}: {shown} ({time.perf_counter() - begun:.0f} s)", flush=True)
    logs = {name: np.log([row[name] for row in found]) for name in NAMES}
    powers = {name: round(float(np.polyfit(np.log(options.widths), log, 1)[0]), 2) for name, log in logs.items()}
    print(f"powers of the width: {powers}")
    print(json.dumps({"torch": torch.__version__, **vars(options), "size": size, "differences": found}))


if __name__ == "__main__":
    main()
