"""find_symmetries: from a model and a batch to the rescalings of its weights that keep its outputs.

At a symmetry with powers a, sum_p a_p <w_p, dL/dw_p> = 0 for every function L of the outputs and every batch (Kunin et al.
2021, "Neural Mechanics", Sec. 3). Rows of such products for random functions and batches have the symmetries as their null space.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from torch import nn

from lrscope.checked import Seed, checked
from lrscope.readers import Word
from lrscope.symmetries.batches import call
from lrscope.symmetries.describe import described
from lrscope.symmetries.draws import Draws
from lrscope.symmetries.legs import wires
from lrscope.symmetries.probe import Probe
from lrscope.symmetries.rescaling import Candidate, Candidates, holding
from lrscope.symmetries.types import Symmetries

ROUNDS = 3  # ours: searches, each with more draws where the one before found what rescaling refutes
MODE = Word(("train", "eval"))


@checked
def find_symmetries(
    model: nn.Module,
    batch: Any,
    *,
    forward: Callable[[nn.Module, Any], Any] | None = None,
    mode: Annotated[str, MODE] = "train",
    seed: Seed = 0,
) -> Symmetries:
    """Which weights can be rescaled without a change of the model's outputs?

    Looks at the tensors that train, as wholes, and at their channels where these meet the same channels of other tensors. What
    it finds was verified by rescaling a float64 copy on new batches. There the eps of norms is next to nothing, and weights that
    are all 0 or 1 have other values. The model itself, its gradients and the global random state stay as they are.

    Args:
        model: any module that backpropagates.
        batch: what it takes: a tensor, a tuple or list of arguments, or a mapping of keywords. A few examples suffice. New
            batches are drawn from it: numbers in another order, floats with 10% noise; masks of zeros and ones stay.
        forward: how the model is called with a batch, if not as `batch` says.
        mode: in train mode, or in eval mode, where batch norms have fixed statistics.
        seed: of the draws.

    Raises:
        LrscopeError: a batch that the model cannot take, outputs that are not finite or have no gradients, nothing that trains.
    """
    probe = Probe(model, batch, call if forward is None else forward, training=mode == "train")
    draws = Draws(list(probe.weights), wires(probe.shapes))
    for _ in range(ROUNDS):
        draws.extend(probe, seed)
        asked = _search(probe, draws)
        held = holding(probe, asked, training=probe.training)
        if len(held.tensors) == len(asked.tensors):
            break
    return Symmetries(
        model=type(probe.model).__name__,
        mode=mode,
        tensors=len(probe.weights),
        weights=sum(p.numel() for p in probe.weights.values()),
        draws=len(draws.slope),
        found=described(probe, held, holding(probe, held, training=not probe.training)),
    )


def _search(probe: Probe, draws: Draws) -> Candidates:
    """What the draws say."""
    place = {
        name: float(i) for i, name in enumerate([*probe.order, *(n for n in probe.weights if n not in probe.order)])
    }
    dead = [name for name, alive in zip(draws.names, draws.alive, strict=True) if not alive]
    return Candidates(
        tensors=[Candidate(powers) for powers in draws.tensors(place)],
        channels=[Candidate(powers) for powers in draws.channels(place)],
        dead=[Candidate({name: 1.0}) for name in dead] + [Candidate({leg: 1.0}) for leg in draws.dead_legs()],
    )
