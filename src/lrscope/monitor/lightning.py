"""The monitor as a callback of Lightning. Importing this module needs the extra `lightning`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lrscope.errors import LrscopeError
from lrscope.monitor.monitor import Monitor
from lrscope.monitor.sinks import Values, as_sinks, numbers

try:
    from lightning.pytorch import Callback
except ImportError as error:
    raise LrscopeError("lightning is not installed: run `pip install 'lrscope[lightning]'`") from error


class MonitorCallback(Callback):
    """Watches a training by `lightning.pytorch.Trainer`, on rank 0.

    Its state goes into Lightning's checkpoints. With `log` the trainer's loggers get every measurement.

    Args:
        batch: as for `Monitor`; the first batch is not taken, because models are called in their own ways.
        log: send measurements to the trainer's loggers.
        name: of this monitor in checkpoints and loggers, where one trainer has several.
        options: what else `Monitor` takes.
    """

    def __init__(self, batch: Any = None, *, log: bool = True, name: str = "", **options: Any) -> None:
        self.batch, self.log, self.name, self.options = batch, log, name, options
        self.monitor: Monitor | None = None
        self._state: Mapping[str, Any] | None = None

    @property
    def state_key(self) -> str:
        """What the state is called in checkpoints."""
        return str(self._generate_state_key(name=self.name) if self.name else super().state_key)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Make the monitor: by now there are optimizers."""
        if not trainer.is_global_zero:
            return
        sinks = as_sinks(self.options.get("sinks", ()))
        sinks += as_sinks(_Loggers(trainer, self.name)) if self.log and trainer.loggers else []
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        given = {"scaler": scaler, "horizon": _horizon(trainer), **self.options, "sinks": sinks}
        self.monitor = Monitor(pl_module, trainer.optimizers, batch=self.batch, **given)
        if self._state is not None:
            self.monitor.load_state_dict(self._state)

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Before an update, because schedules step before `on_train_batch_end`."""
        if self.monitor is not None:
            self.monitor.before_update()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """After a batch; whether an optimizer stepped is seen at the weights. Lightning divides losses where it accumulates."""
        if self.monitor is None:
            return
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        self.monitor.step(None if loss is None else loss * trainer.accumulate_grad_batches)

    def state_dict(self) -> dict[str, Any]:
        """See `Monitor.state_dict`."""
        return self.monitor.state_dict() if self.monitor is not None else dict(self._state or {})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Kept until training starts."""
        self._state = state_dict or None


class _Loggers:
    """The loggers of a trainer as a sink. Their steps are the updates that the monitor counts."""

    def __init__(self, trainer: Any, name: str) -> None:
        self.trainer, self.prefix = trainer, f"lrscope/{name}/" if name else "lrscope/"

    def log(self, step: int, values: Values) -> None:
        """See `Sink`."""
        told = {f"{self.prefix}{name}": value for name, value in numbers(values).items()}
        for logger in self.trainer.loggers:
            logger.log_metrics(told, step=step)


def _horizon(trainer: Any) -> int | None:
    """How many updates are planned; None where that is not known."""
    planned = trainer.estimated_stepping_batches
    return int(planned) if 0 < planned < float("inf") else None
