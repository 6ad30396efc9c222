"""The monitor in real trainers: Lightning's and Transformers'. Each counts the updates and leaves training as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lrscope.tasks.streams import generator

pytestmark = pytest.mark.slow  # loads a trainer

X = torch.randn(64, 6, generator=generator("tests", "trainers"))
Y = (X[:, 0] > 0).long()


def seeded(make: Callable[[], Any]) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


# -- Lightning -----------------------------------------------------------------------------------------------------------


def lightning_module() -> Any:
    from lightning.pytorch import LightningModule

    class Net(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = seeded(lambda: nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2)))
            self.losses: list[float] = []
            self.lrs: list[float] = []

        def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
            loss = functional.cross_entropy(self.net(batch[0]), batch[1])
            self.losses.append(float(loss.detach()))
            self.lrs.append(self.optimizers().param_groups[0]["lr"])
            return loss

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.AdamW(self.parameters(), lr=1e-2)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=16)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    return Net()


def lightning_trainer(folder: Path, epochs: int, callbacks: list[Any], **options: Any) -> Any:
    from lightning.pytorch import Trainer
    from lightning.pytorch.loggers import CSVLogger

    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "log_every_n_steps": 1}
    logger = CSVLogger(folder)
    return Trainer(max_epochs=epochs, accelerator="cpu", logger=logger, callbacks=callbacks, **quiet, **options)


def loader() -> Any:
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, Y), batch_size=8, generator=torch.Generator())


@pytest.mark.changes_random_state  # Lightning's Trainer seeds and draws
@pytest.mark.filterwarnings("ignore")
def test_a_lightning_trainer(tmp_path: Path) -> None:
    from lrscope.monitor.lightning import MonitorCallback

    found = []
    for watched in (False, True):
        model, callback = lightning_module(), MonitorCallback(every=4)
        torch.manual_seed(3)
        trainer = lightning_trainer(tmp_path / str(watched), 2, [callback] * watched)
        trainer.fit(model, loader())
        found.append([*model.net.state_dict().values(), torch.get_rng_state()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    monitor = callback.monitor
    assert (monitor.updates, monitor.horizon) == (16, 16)
    assert monitor.groups[0].name == "net.0.weight"
    result = monitor.result()
    np.testing.assert_allclose(result["train_loss"], np.reshape(model.losses, (4, 4)).mean(1), rtol=1e-5)
    assert (result["grad_norm"] > 0).all()
    used = result["group_lr"].sel(group="net.0.weight")
    np.testing.assert_allclose(
        used, model.lrs[3::4], rtol=1e-12, err_msg="the schedule steps before on_train_batch_end"
    )
    logged = (Path(trainer.logger.log_dir) / "metrics.csv").read_text()
    assert "lrscope/group_angle/net.0.weight" in logged.splitlines()[0]


@pytest.mark.changes_random_state  # Lightning's Trainer seeds and draws
@pytest.mark.filterwarnings("ignore")
def test_a_lightning_trainer_accumulates_and_resumes(tmp_path: Path) -> None:
    from lrscope.monitor.lightning import MonitorCallback

    options = {"accumulate_grad_batches": 2}
    whole = MonitorCallback(every=2)
    torch.manual_seed(3)
    lightning_trainer(tmp_path / "whole", 4, [whole], **options).fit(lightning_module(), loader())
    first, second, model = MonitorCallback(every=2), MonitorCallback(every=2), lightning_module()
    torch.manual_seed(3)
    trainer = lightning_trainer(tmp_path / "first", 2, [first], **options)
    trainer.fit(model, loader())
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    after = lightning_trainer(tmp_path / "second", 4, [second], **options)
    after.fit(lightning_module(), loader(), ckpt_path=tmp_path / "last.ckpt")
    assert (whole.monitor.updates, second.monitor.updates, first.monitor.updates) == (16, 16, 8)
    assert whole.monitor.calls == 32
    np.testing.assert_allclose(second.monitor.result()["train_loss"], whole.monitor.result()["train_loss"], rtol=1e-6)
    np.testing.assert_allclose(
        first.monitor.result()["train_loss"][:2], np.reshape(model.losses, (-1, 4))[:2].mean(1), rtol=1e-5
    )


# -- Transformers --------------------------------------------------------------------------------------------------------


class Rows(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"x": X[index], "labels": Y[index]}


class Classifier(nn.Module):
    """A model that returns its loss, as Transformers' do."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 2))
        self.losses: list[float] = []

    def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        logits = self.net(x)
        loss = functional.cross_entropy(logits, labels)
        self.losses.append(float(loss.detach()))
        return {"loss": loss, "logits": logits}


def transformers_training(folder: Path, callbacks: list[Any], learning_rate: float = 1e-2) -> Any:
    from transformers import Trainer, TrainingArguments

    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=2,
        per_device_train_batch_size=8,
        logging_steps=4,
        learning_rate=learning_rate,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        save_strategy="no",
        seed=5,
    )
    model = seeded(Classifier)
    trainer = Trainer(model=model, args=arguments, train_dataset=Rows(), callbacks=callbacks)
    trainer.train()
    return model


@pytest.mark.changes_random_state  # the Trainer seeds
@pytest.mark.filterwarnings("ignore")
def test_a_transformers_trainer(tmp_path: Path) -> None:
    from lrscope.monitor.transformers import MonitorCallback

    found, callback = [], MonitorCallback(every=2)
    for watched in (False, True):
        model = transformers_training(tmp_path / str(watched), [callback] * watched)
        found.append([*model.state_dict().values(), torch.get_rng_state()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    monitor = callback.monitor
    assert (monitor.updates, monitor.horizon) == (16, 16)
    assert monitor.groups[0].name == "net.0.weight"
    result = monitor.result()
    np.testing.assert_allclose(result["train_loss"], np.reshape(model.losses, (4, 4)).mean(1), rtol=1e-3)
    assert (result["grad_norm"] > 0).all()
    assert result["group_angle"].sel(group="net.0.weight").notnull().all()


@pytest.mark.changes_random_state  # the Trainer seeds
@pytest.mark.filterwarnings("ignore")
def test_a_transformers_trainer_whose_weights_overflow(tmp_path: Path) -> None:
    """The trainer logs a loss of 0 for losses that are not finite (`logging_nan_inf_filter`)."""
    from lrscope.monitor.transformers import MonitorCallback

    callback = MonitorCallback(every=2)
    transformers_training(tmp_path, [callback], learning_rate=1e38)
    (alarm,) = callback.monitor.warnings()
    assert alarm.name == "dead"
    assert alarm.words.startswith("the weights of net.0.weight and 5 more are not finite any more: start again")
    assert np.isfinite(callback.monitor.result()["train_loss"]).all(), "the loss alone does not show it"
    assert "the weights are not finite" in callback.monitor.line()


def test_a_transformers_trainer_hands_over_its_scaler_and_what_is_left() -> None:
    from lrscope.monitor.transformers import MonitorCallback

    model = seeded(Classifier)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.scaler = torch.amp.GradScaler("cpu")  # as Accelerate's wrapper has it
    callback = MonitorCallback()
    state = SimpleNamespace(is_world_process_zero=True, max_steps=100, global_step=30)
    callback.on_train_begin(None, state, None, model=model, optimizer=optimizer)
    assert callback.monitor is not None
    assert callback.monitor.scaler is optimizer.scaler
    assert callback.monitor.horizon == 70


def test_two_monitors_of_a_lightning_trainer_have_names() -> None:
    from lightning.pytorch import Trainer

    from lrscope.monitor.lightning import MonitorCallback

    fine, coarse = MonitorCallback(every=2), MonitorCallback(every=4, name="coarse")
    Trainer(accelerator="cpu", callbacks=[fine, coarse], logger=False, enable_checkpointing=False)
    assert fine.state_key == "MonitorCallback", "checkpoints of before are found"
    assert fine.state_key != coarse.state_key


def test_without_the_packages_both_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib
    import sys

    from lrscope.errors import LrscopeError

    for name in ("lightning", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
        monkeypatch.delitem(sys.modules, f"lrscope.monitor.{name}", raising=False)
        with pytest.raises(LrscopeError, match=rf"{name} is not installed: run `pip install 'lrscope\[{name}\]'`"):
            importlib.import_module(f"lrscope.monitor.{name}")
