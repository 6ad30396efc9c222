"""Monitor: measures a run while it trains, in two lines of any loop.

Reads parameters, gradients and the optimizer's options, nothing else: no hooks, no random numbers, no writes. Weights are
copied before each measured update and compared after it. What is computed on a device is read one measurement later.
Losses and learning rates of the first updates are kept one by one, so that short runs are seen.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lrscope.checked import Positive, Steps, checked
from lrscope.errors import LrscopeError
from lrscope.monitor import sinks as sinking
from lrscope.monitor.average import Average, look_ahead
from lrscope.monitor.checkpoint import check_state, load, state_of
from lrscope.monitor.curve import Early
from lrscope.monitor.equilibrium import any_of, decays, expected
from lrscope.monitor.groups import groups_of
from lrscope.monitor.history import History, Row, merged
from lrscope.monitor.losses import Losses
from lrscope.monitor.movement import COLUMNS, Snapshot, by_group, reduced
from lrscope.monitor.quantities import GROUPED, LOSS, SCALARS, values
from lrscope.monitor.rates import Rates, rates
from lrscope.monitor.readings import Readings, curve_of
from lrscope.monitor.regime import ROWS
from lrscope.monitor.tracked import Held, Tracked, Versions, as_optimizers, check, held_by, names, tracked
from lrscope.monitor.types import Alarm, Group, LiveRegime, LookAhead
from lrscope.readers import Whole
from lrscope.symmetries import Symmetries, find_symmetries
from lrscope.symmetries.batches import call
from lrscope.wrappers import unwrapped

if TYPE_CHECKING:
    import xarray as xr

EVERY = 10  # ours: with a 5 ms step the cost stays below 5% (benchmarks/monitor_overhead.py)
# Updates whose losses and learning rates are kept one by one by default. Then the record has the rows that the rules ask for.
FIRST = ROWS * EVERY
TOLD = 10  # ours: rows of the curve between two looks at the regime for sinks, each of a millisecond


class Pending(NamedTuple):
    """A measurement whose values are still on a device. `counts`: of calls, skipped updates and losses since the one before."""

    update: int
    counts: tuple[int, int, int]
    scale: float
    rates: Rates
    place: NDArray[np.int64]
    read: Tensor  # the loss, then sums of tensors


class Monitor:
    """Watches a training: norms, effective learning rates and angular updates of groups, the loss, and the regime.

    Call `step(loss)` after each `optimizer.step()`, before gradients are set to zero. Training stays what it is, bit for bit.
    Takes the memory of one copy of the weights, of two with `look_ahead`.

    Args:
        model: as it trains; wrappers (`torch.compile`, DDP) are looked through.
        optimizer: a torch optimizer, or a list of them.
        batch: what the model takes: then groups are those of `find_symmetries`, which calls it on a copy. Otherwise each
            tensor is a group.
        symmetries: those of this model, found before; instead of `batch`.
        forward: how the model is called with a batch, if not as `find_symmetries` says.
        scaler: of mixed precision (`torch.amp.GradScaler`), so that updates that it skips are counted.
        every: an update is measured each so many, its loss too; by default each tenth, and of the first 320 the loss one by one.
        horizon: how many updates are planned.
        chance: loss of the best constant prediction, such as log(classes); regime 3 and dead runs are told only by it.
        look_ahead: keep a running average of the weights, for `look_ahead(evaluate)`.
        sinks: where measurements go: `terminal`, `tensorboard`, `wandb`, `mlflow`, a path that ends in .jsonl, a function of
            update and values, an object with `log(step, values)`, or a list of these.

    Raises:
        LrscopeError: an optimizer of something else, nothing that trains, a tracker that is not installed.
    """

    @checked
    def __init__(
        self,
        model: nn.Module,
        optimizer: Any,
        *,
        batch: Any = None,
        symmetries: Symmetries | None = None,
        forward: Callable[[nn.Module, Any], Any] | None = None,
        scaler: Any = None,
        every: Annotated[int, Whole(1, 1_000_000)] | None = None,
        horizon: Steps | None = None,
        chance: Positive | None = None,
        look_ahead: bool = False,
        sinks: Any = (),
    ) -> None:
        if batch is not None and symmetries is not None:
            raise LrscopeError("symmetries: passed together with batch, from which they would be found: pass only one")
        self.model, self.optimizers = unwrapped(model), as_optimizers(optimizer)
        check(model, names(model), self.optimizers)
        self.every, self.horizon, self.chance, self.scaler = every, horizon, chance, scaler
        self.between = EVERY if every is None else every  # updates from one measurement to the next
        self.early = Early() if every is None else None  # until update FIRST
        self.forward = call if forward is None else forward
        found = find_symmetries(self.model, batch, forward=forward) if batch is not None else symmetries
        self.symmetries = found
        self.sinks = sinking.as_sinks(sinks)
        self.history, self.snapshot, self.losses = History(), Snapshot(), Losses()
        self.average = Average() if look_ahead else None
        self.ahead: LookAhead | None = None
        self.groups: list[Group] = []
        self.updates = self.calls = self.skipped = 0
        self._since = [0, 0]  # calls and skipped updates since the last row
        self._first = math.nan  # loss of the first measurement
        self._told: LiveRegime | None = None  # what sinks were told last
        self._before: LiveRegime | None = None  # what was told before the record became coarser
        self.losses_come_late = False  # as from a log: a measurement then waits for `late_loss`
        self._waiting: list[Row] = []
        self._logged = 0  # updates at the last `late_loss`
        self._pending: Pending | None = None
        self._scale = self._loss_scale()
        self._used: Rates | None = None  # of the update to come, where `before_update` is called
        self._rates: tuple[list[float], Rates] | None = None  # the last ones, with the optimizers' learning rates then
        self._direct: bool | None = None  # does the optimizer write past the version counters (through .data)?
        self._held: list[Held] = []
        self._look_at_tensors()

    def step(self, loss: Any = None) -> None:
        """To be called after every update, or every call that may be one.

        Args:
            loss: of the mini-batch, unscaled: a scalar tensor or a number; None where it is not known.

        Raises:
            LrscopeError: a loss that is not one number.
        """
        self.losses.add(loss)
        if self.early is not None:
            self.early.add(loss)
        self.calls += 1
        self._since[0] += 1
        if not self._updated():
            return
        self.updates += 1
        if self.early is not None:
            self.early.at(self.updates, (self._used or self._rates_now()).lr)
            if not self.losses_come_late:
                self.early.close()
        if self.updates % self.between == 0:
            self._measure()
        if self.early is not None and self.updates >= FIRST:
            self._end_early()
        self._used = None
        if self.updates % self.between == self.between - 1:
            self._look_at_tensors()
            self.snapshot.take(self._found)

    def before_update(self) -> None:
        """To be called before an update where the schedule steps before `step` can be called, as in some trainers: the
        learning rates now are those of that update. Otherwise they are read in `step`."""
        if self.early is not None or (self.updates + 1) % self.between == 0:
            self._used = self._rates_now()

    def late_loss(self, loss: Any) -> None:
        """The mean loss since the last call, where it is not known at each update (`losses_come_late`). What was measured
        meanwhile becomes one row. Without an update since the last call nothing happens.

        Raises:
            LrscopeError: a loss that is not one number.
        """
        self._settle()
        if self.updates == self._logged:
            return
        self._logged = self.updates
        self.losses.add(loss)
        if self.early is not None:
            self.early.add(loss)
            self.early.close()
        if not self._waiting:
            return
        row = replace(merged(self._waiting), losses=self.losses.count)
        scalars = row.scalars.copy()
        scalars[LOSS] = float(self.losses.taken(torch.device("cpu")))
        self._waiting = []
        self._keep(replace(row, scalars=scalars))

    @checked
    def look_ahead(self, evaluate: Callable[[nn.Module], Any], *, batches: Any = None) -> LookAhead:
        """What the running average of the weights reaches, which is about what a decay of the learning rate would give.

        Undetermined while the loss falls by itself (regime 1), and where the average is no lower. Works on copies of the model,
        one after the other; random state, modes and statistics of the model stay.

        Args:
            evaluate: from a model to its loss, or to a list of losses (of batches), which also give an interval.
            batches: of training inputs as the model takes them, in a list or a loader, for new statistics of batch norms;
                without, those of the model are used. They are read twice, in the same order.

        Raises:
            LrscopeError: no average is kept or nothing is averaged yet; a model that cannot be copied; no numbers; no batches.
        """
        if self.average is None:
            raise LrscopeError("look_ahead: no average of the weights is kept: make the monitor with look_ahead=True")
        if not self.average.weights:
            raise LrscopeError(f"look_ahead: nothing is averaged before update {self.between}: train longer")
        with self.snapshot.put_aside(self._found):
            found = look_ahead(self.model, self.average.weights, evaluate, self.updates, batches, self.forward)
        self.ahead = replace(found, tells=found.tells and self.regime().regime in ("2", "?"))
        self._told = None  # sinks are told with the next measurement
        return self.ahead

    # -- what is known ----------------------------------------------------------------------------------------------------

    def regime(self) -> LiveRegime:
        """The regime now, with a confidence; `?` where it cannot be told."""
        return self.readings().regime

    def warnings(self) -> tuple[Alarm, ...]:
        """The warnings that hold now."""
        return tuple(self.readings().alarms)

    def line(self) -> str:
        """The run in one line."""
        return self.readings().line

    def result(self) -> xr.Dataset:
        """Everything measured, over `update` and `group`. Of long runs neighbouring measurements are means."""
        return self.readings().dataset()

    @checked
    def report(self, path: str | os.PathLike[str], *, title: str = "A run in progress") -> Path:
        """Write one self-contained HTML page about the run and return its path."""
        from lrscope.monitor.page import write

        return write(self, path, title)

    def readings(self) -> Readings:
        """What the record says."""
        self._settle()
        record = self.history.record(len(self.groups))
        return Readings(
            record=record,
            curve=curve_of(record) if self.early is None else self.early.curve(len(self.groups)),
            groups=self.groups,
            goals=expected(self.groups, self._found),
            decays=any_of(self.groups, self._found, decays),
            held=any_of(self.groups, self._found, lambda one: one.held),
            first=self._first if self.early is None else self.early.first,
            whole=self.symmetries is not None and all(g.invariant or not g.matters for g in self.groups),
            chance=self.chance,
            horizon=self.horizon,
            ahead=self.ahead,
            updates=self.updates,
            before=self._before,
            spacing=self.spacing,
            finer=self._finer(),
            since_last=(self._since[0], self._since[1]),
        )

    def __str__(self) -> str:
        return self.line()

    # -- checkpoints ------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers and names, for a checkpoint; a monitor that loads it goes on as this one would."""
        self._settle()
        return state_of(self)

    @checked
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint, after model, optimizer and scaler have loaded theirs.

        Raises:
            LrscopeError: not a monitor's state, or one with another `every` or an average where none is kept.
        """
        check_state(state, self.every, averaged=self.average is not None)
        load(self, state)

    # -- measuring --------------------------------------------------------------------------------------------------------

    def _updated(self) -> bool:
        """Did the optimizer step? A scaler that skipped a step has lowered its scale."""
        moved, scale = self._versions.moved(), self._loss_scale()
        skipped = scale < self._scale
        self._scale = scale
        if skipped:
            self.skipped += 1
            self._since[1] += 1
            return moved and not self._fused  # of several optimizers some may have stepped; fused ones always seem to
        return moved or self._writes_directly()

    def _writes_directly(self) -> bool:
        """Some optimizers write through `.data`, past the counters: then every call counts as an update. Found out before
        the first update is seen, by comparing weights."""
        if self._direct is None and self.updates == 0:
            if self.snapshot.has_moved(self._found):
                self._direct = True
            self._copy()
        return bool(self._direct)

    def _copy(self) -> None:
        """The weights to compare with until an update is seen."""
        self.snapshot.take(self._found)
        self.snapshot.taken = False

    def _loss_scale(self) -> float:
        return float(self.scaler.get_scale()) if self.scaler is not None else 1.0

    def _look_at_tensors(self) -> None:
        """Which tensors train now: some may have come or been frozen since."""
        if (held := held_by(self.optimizers)) == self._held:
            return
        self._held = held
        self._found: list[Tracked] = tracked(names(self.model), self.optimizers)
        self.groups = groups_of(self._found, self.symmetries, self.groups)
        place = {name: g for g, group in enumerate(self.groups) for name in group.tensors}
        self._place = np.array([place[one.name] for one in self._found], dtype=np.int64)
        self._fused = any(one.options.get("fused") for one in self._found)
        self._versions = Versions(self._found)
        self._rates = None

    def _rates_now(self) -> Rates:
        """As the optimizers' options are now; computed anew where a learning rate has changed."""
        lr = [float(options.get("lr", math.nan)) for one in self.optimizers for options in one.param_groups]
        if self._rates is None or self._rates[0] != lr:
            self._rates = lr, rates(self._found, self._place, len(self.groups))
        return self._rates[1]

    @torch.no_grad()
    def _measure(self) -> None:
        self._settle()
        sums = reduced(self.snapshot, self._found)
        if self.average is not None:
            self.average.add(self._found)
        losses = Losses() if self.losses_come_late else self.losses  # those of logs wait for `late_loss`
        counts = (self._since[0], self._since[1], losses.count)
        read = torch.cat([losses.taken(sums.device), sums.reshape(-1)])
        self._pending = Pending(self.updates, counts, self._scale, self._used or self._rates_now(), self._place, read)
        self._since = [0, 0]
        if read.device.type == "cpu":
            self._settle()

    @property
    def spacing(self) -> int:
        """Updates from one row of the curve to the next, now."""
        return self.between if self.early is None else 1

    def _end_early(self) -> None:
        """From now on the record has the curve. What was told of the finer one is kept."""
        seen = self.readings()
        self._before = seen.earlier if seen.regime.regime == "?" else replace(seen.regime, decay=None)
        self._first, self.early = seen.first, None

    def _finer(self) -> str:
        if self.losses_come_late:
            return "a smaller logging_steps gives more"
        return "a smaller every= gives more" if self.spacing > 1 else ""

    def _settle(self) -> None:
        """Read what the last measurement computed, add it to the record and send it on."""
        if self._pending is None:
            return
        pending, self._pending = self._pending, None
        loss, *sums = pending.read.tolist()
        count = len(pending.rates.lr)
        found = by_group(np.array(sums).reshape(-1, COLUMNS), pending.place, count)
        invariant = np.array([bool(group.invariant) for group in self.groups[:count]])
        scalars, grouped = values(loss, pending.scale, pending.rates, found, invariant)
        row = Row(pending.update, *pending.counts, scalars, grouped)
        if self.losses_come_late:
            self._waiting.append(row)
        else:
            self._keep(row)

    def _keep(self, row: Row) -> None:
        """Add a row to the record and send it on."""
        self.history.add(row)
        if self.early is None and math.isnan(self._first):
            self._first = float(row.scalars[LOSS])
        if self.sinks:
            self._send(row.update, row.scalars, row.groups)

    def _send(self, update: int, scalars: Any, grouped: Any) -> None:
        if self._told is None or update - self._told.update >= TOLD * self.spacing:
            self._told = self.readings().regime
        places = [group.name for group in self.groups]
        told = sinking.flat([s.name for s in SCALARS], scalars, [s.name for s in GROUPED], grouped, places)
        sinking.send(self.sinks, update, {**told, **self._told.decay_values, "regime": str(self._told)})
