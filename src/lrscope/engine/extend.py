"""Longer fine-tunes in a folder that holds shorter ones: pre-training and averages are kept, fine-tuning starts anew.

It starts from the pre-trained weights, because the optimizer's state at the end of a fine-tuning is not stored, its weights
only with `keep_weights`, and because a longer one may be logged at other steps.

The experiment changes first, then units become checkpoints of the longer sweep, one by one: a unit's file goes once its
checkpoint is whole. So a kill at any moment costs no step of pre-training, and the old result stays until the longer one
takes its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from lrscope.config import SweepConfig
from lrscope.config.identity import hashes
from lrscope.engine.segments import Phase, length, steps_per_run
from lrscope.engine.state import PRETRAINED
from lrscope.engine.sweep_folder import CHECKPOINT, DONE, Store
from lrscope.errors import LrscopeError

LENGTHS = ("finetune_epochs", "finetune_steps")
EXTENDS = (
    "extends"  # in experiment.json: hashes of the shorter sweeps, and whether units of theirs are still to be turned
)


def check_extension(config: SweepConfig, *, kept: bool) -> None:
    """Refuse a sweep whose fine-tunes can never be extended; `kept`: in a folder of its own?"""
    if not kept:
        raise LrscopeError("extend_finetunes: there is no folder that holds shorter fine-tunes: name it with out")
    if not config.finetune_lrs:
        raise LrscopeError(
            "extend_finetunes: there are no fine-tunes: name finetune_lrs, or leave extend_finetunes out"
        )
    if config.adaptive:
        raise LrscopeError(
            "extend_finetunes: an adaptive sweep chooses its runs by their fine-tunes, so longer ones may need others: "
            "use another out"
        )


def extend(
    store: Store, identity: Mapping[str, Any], config: SweepConfig, steps_per_epoch: int, command: str | None
) -> None:
    """Make the folder that of `config` if the sweep that it holds differs from it in the length of fine-tuning alone.
    What differs in anything else is left as it is.

    Args:
        steps_per_epoch: of the training data.
        command: recorded as the way to repeat the sweep.

    Raises:
        LrscopeError: the fine-tunes in the folder are not shorter.
    """
    there = _shorter(store, identity, config, steps_per_epoch)
    if there is None:
        return
    known = {name: value for name, value in there.items() if name != "request"}  # the map's, of the shorter sweep
    hashes = [*there.get(EXTENDS, {}).get("hashes", []), there["hash"]]
    store.write_experiment(
        {**known, **identity, "command": command or there.get("command"), EXTENDS: {"hashes": hashes, "turned": False}}
    )


def steps_kept(
    store: Store, identity: Mapping[str, Any], config: SweepConfig, phases: Sequence[Phase], steps_per_epoch: int
) -> int:
    """Steps of each run that `extend` would keep of a finished sweep; 0 where there is none that it would extend.

    Raises:
        LrscopeError: the fine-tunes in the folder are not shorter.
    """
    if _shorter(store, identity, config, steps_per_epoch) is None or not store.is_finished():
        return 0
    return steps_per_run(phases[: _first_finetune(phases)])


def _shorter(
    store: Store, identity: Mapping[str, Any], config: SweepConfig, steps_per_epoch: int
) -> dict[str, Any] | None:
    """The experiment in the folder if it differs from `config` in the length of fine-tuning alone."""
    there = store.experiment()
    if there is None or there.get("hash") == identity["hash"] or "config" not in there:
        return None
    earlier = SweepConfig.from_dict(there["config"])
    lengths = {name: getattr(earlier, name) for name in LENGTHS}
    as_there = replace(config, **lengths) if earlier.finetune_lrs else config
    if there["hash"] not in hashes(identity["task"], as_there):
        return None
    ours, theirs = (length(c.finetune_epochs, c.finetune_steps, steps_per_epoch) for c in (config, earlier))
    if ours <= theirs:
        raise LrscopeError(
            f"extend_finetunes: the fine-tunes in {store.folder} have {theirs} steps already, {ours} are no longer: "
            "ask for more, or use another out"
        )
    return there


def turn_units(store: Store, identity: Mapping[str, Any], phases: Sequence[Phase]) -> None:
    """Make checkpoints of the longer sweep, right before its first fine-tuning, of the units of shorter ones."""
    there = store.experiment() or {}
    extends = there.get(EXTENDS)
    if extends is None or extends["turned"]:
        return
    first = _first_finetune(phases)
    done, begun = store.units()
    for unit in sorted(done | begun):
        _turn(store, unit, identity["hash"], first)
    store.write_experiment({**there, EXTENDS: {**extends, "turned": True}})


def _first_finetune(phases: Sequence[Phase]) -> int:
    return next(i for i, phase in enumerate(phases) if phase.kind == "finetune")


def is_extended(store: Store, config_hash: str) -> bool:
    """Is this the hash of a shorter sweep whose fine-tunes the folder's sweep extends?"""
    return config_hash in (store.experiment() or {}).get(EXTENDS, {}).get("hashes", [])


def _turn(store: Store, unit: str, now: str, first: int) -> None:
    for ending in (DONE, CHECKPOINT):
        saved = store.load(unit + ending)
        if saved is None or saved[1].get("identity") == now:
            continue
        tensors, meta = saved
        meta = {**meta, "identity": now}
        whole = "pretrain_weights" in tensors and (ending == DONE or meta["cursor"]["phase"] >= first)
        if not whole:  # random points, or a unit that has not come to its fine-tunes
            store.save(unit + ending, tensors, meta)
            continue
        store.save(
            unit + CHECKPOINT, before(tensors, first), {**meta, "cursor": {"phase": first, "step": 0, "window": 0}}
        )
        if ending == DONE:
            store.forget_result(unit)
        return


def before(tensors: Mapping[str, Tensor], first: int) -> dict[str, Tensor]:
    """What a chunk has before phase number `first`: the logs of earlier phases, and where pre-training ended."""
    earlier = {name: value for name, value in tensors.items() if "." in name and int(name.split(".")[1]) < first}
    return {**earlier, **{name: value for name, value in tensors.items() if name.startswith(PRETRAINED)}}
