"""The monitor as a callback of Transformers' Trainer. Importing this module needs the extra `transformers`."""

from __future__ import annotations

from typing import Any

from lrscope.errors import LrscopeError
from lrscope.monitor.monitor import EVERY, Monitor

try:
    from transformers import TrainerCallback
except ImportError as error:
    raise LrscopeError("transformers is not installed: run `pip install 'lrscope[transformers]'`") from error


class MonitorCallback(TrainerCallback):
    """Watches a training by `transformers.Trainer`, on the first process.

    The trainer shows callbacks no loss but in its logs, so a measurement is kept for each log: set `logging_steps` to 10 or
    so. A resumed training begins a new record.

    Args:
        batch: as for `Monitor`, such as what the tokenizer returns.
        optimizer: where the trainer does not show it to callbacks.
        options: what else `Monitor` takes.
    """

    def __init__(self, batch: Any = None, *, optimizer: Any = None, **options: Any) -> None:
        self.batch, self.optimizer, self.options = batch, optimizer, options
        self.monitor: Monitor | None = None

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, optimizer: Any = None, **rest: Any
    ) -> None:
        """Make the monitor.

        Raises:
            LrscopeError: the trainer does not show its optimizer.
        """
        if not state.is_world_process_zero:
            return
        optimizer = optimizer if self.optimizer is None else self.optimizer
        if optimizer is None:
            raise LrscopeError(
                "optimizer: the trainer does not show its optimizer to callbacks: pass MonitorCallback(optimizer=...)"
            )
        horizon = state.max_steps - state.global_step if state.max_steps > 0 else None
        scaler = getattr(optimizer, "scaler", None)  # Accelerate's wrapper has it under float16
        given = {"every": EVERY, "horizon": horizon or None, "scaler": scaler, **self.options}
        self.monitor = Monitor(model, optimizer, batch=self.batch, **given)
        self.monitor.losses_come_late = True

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """After an update, before gradients are gone."""
        if self.monitor is not None:
            self.monitor.step()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **rest: Any) -> None:
        """The mean loss since the last log."""
        if self.monitor is not None and logs and "loss" in logs:
            self.monitor.late_loss(logs["loss"])
