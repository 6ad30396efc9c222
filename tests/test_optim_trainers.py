"""The optimizers on the sphere in other people's loops: torch.compile, DDP, Lightning, Accelerate, Transformers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import lrscope
from sphere_problems import copies, draws, fill, near, same, weights

pytestmark = pytest.mark.slow
Make = Callable[[Any], torch.optim.Optimizer]
OPTIMIZERS: dict[str, Make] = {
    "SphereSGD": lambda p: lrscope.SphereSGD(p, lr=0.05, momentum=0.9),
    "AdamW": lambda p: lrscope.OnSphere(torch.optim.AdamW(p, lr=0.02, weight_decay=0), sphere="row"),
    "hyperball": lambda p: lrscope.OnSphere(torch.optim.AdamW(p, lr=0.02, weight_decay=0), hyperball=True),
}
each = pytest.mark.parametrize("make", list(OPTIMIZERS.values()), ids=list(OPTIMIZERS))
STEPS = 6


def network(seed: int = 0) -> nn.Sequential:
    """Two matrices and four vectors, from a seed."""
    with torch.random.fork_rng():
        net = nn.Sequential(nn.Linear(5, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 2))
    source = draws(seed)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=source))
    return net


def examples(count: int = 8 * STEPS) -> tuple[Tensor, Tensor]:
    x = torch.randn(count, 5, generator=draws(1))
    return x, (x[:, 0] > 0).long()


def trained(make: Make, size: int = 8) -> list[Tensor]:
    """The weights after a plain loop over `examples`."""
    net = network()
    optimizer = make(net.parameters())
    x, y = examples()
    for a, b in zip(x.split(size), y.split(size), strict=True):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(a), b).backward()
        optimizer.step()
    return copies(net.parameters())


# One of them is compiled by the default compiler; of the others only that PyTorch can trace the step, and what it traced.
@pytest.mark.parametrize(
    ("name", "backend"), [("SphereSGD", "inductor"), *((name, "aot_eager") for name in OPTIMIZERS)]
)
def test_a_compiled_step_is_the_step(name: str, backend: str) -> None:
    make = OPTIMIZERS[name]
    ours, theirs = weights((6, 4), (5, 3), (4,)), weights((6, 4), (5, 3), (4,))
    compiled, eager = make(ours), make(theirs)
    torch.compiler.reset()
    step = torch.compile(lambda: compiled.step(), backend=backend)
    for i in range(STEPS):
        fill(ours, i)
        fill(theirs, i)
        step()
        eager.step()
        assert near(ours, theirs, 1e-5), "traced, AdamW corrects its bias in float32"
    radii = [p.norm() for p in ours[:2]]
    assert near(radii, [p.norm() for p in weights((6, 4), (5, 3))], 1e-9)


def test_zero_gradients_change_no_bit_when_compiled() -> None:
    params = weights((6, 4), (5, 3), dtype=torch.float32)
    optimizer = lrscope.SphereSGD(params, lr=0.05, sphere="row")
    fill(params, 0)
    torch.compiler.reset()
    step = torch.compile(lambda: optimizer.step(), backend="aot_eager")
    step()
    before = copies(params)
    for p in params:
        p.grad.zero_()
    step()
    assert same(params, before)


def test_a_compiled_model_trains_as_its_eager_twin() -> None:
    make = OPTIMIZERS["hyperball"]
    net = network()
    optimizer = make(net.parameters())
    torch.compiler.reset()
    loss = torch.compile(lambda a, b: nn.functional.cross_entropy(net(a), b), backend="aot_eager")
    x, y = examples()
    for a, b in zip(x.split(8), y.split(8), strict=True):
        optimizer.zero_grad()
        loss(a, b).backward()
        optimizer.step()
    assert near(net.parameters(), trained(make), 1e-3)


def distributed(rank: int, name: str, folder: str) -> None:
    """One of two processes: half of each batch, gradients averaged by DDP."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    try:
        net = network()
        parallel = nn.parallel.DistributedDataParallel(net)
        optimizer = OPTIMIZERS[name](parallel.parameters())
        x, y = examples()
        for a, b in zip(x.split(8), y.split(8), strict=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(parallel(a[4 * rank : 4 * rank + 4]), b[4 * rank : 4 * rank + 4]).backward()
            optimizer.step()
        torch.save(copies(net.parameters()), f"{folder}/{rank}.pt")
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_two_processes_train_as_one(name: str, tmp_path: Path) -> None:
    torch.multiprocessing.start_processes(distributed, args=(name, str(tmp_path)), nprocs=2, start_method="spawn")
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert same(first, second)
    assert near(first, trained(OPTIMIZERS[name]), 1e-4)


@pytest.mark.changes_random_state  # loaders draw seeds for their workers
@each
def test_lightning(make: Make, tmp_path: Path) -> None:
    """A real trainer with a scheduler; its checkpoint, resumed, ends where an uninterrupted run does, to the bit."""
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            optimizer = make(self.net.parameters())
            return [optimizer], [torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)]

    def trainer(epochs: int) -> lightning.Trainer:
        return lightning.Trainer(
            max_epochs=epochs, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
            default_root_dir=tmp_path, gradient_clip_val=1e9,
        )  # fmt: skip

    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*examples()), batch_size=8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        once = Module()
        trainer(1).fit(once, data)
        assert near(once.net.parameters(), trained(make), 1e-5)
        twice, resumed, first = Module(), Module(), trainer(1)
        trainer(2).fit(twice, data)
        first.fit(Module(), data)
        first.save_checkpoint(tmp_path / "one.ckpt")
        trainer(2).fit(resumed, data, ckpt_path=tmp_path / "one.ckpt")
    assert same(resumed.net.parameters(), twice.net.parameters())


@each
def test_accelerate(make: Make) -> None:
    """Accumulation over two halves of each batch; Accelerate wraps the optimizer in its own."""
    import accelerate

    accelerator = accelerate.Accelerator(gradient_accumulation_steps=2, cpu=True)
    net = network()
    model, optimizer = accelerator.prepare(net, make(net.parameters()))
    x, y = examples()
    for a, b in zip(x.split(4), y.split(4), strict=True):
        with accelerator.accumulate(model):
            accelerator.backward(nn.functional.cross_entropy(model(a), b))
            optimizer.step()
            optimizer.zero_grad()
    assert near(net.parameters(), trained(make), 1e-4)


@pytest.mark.changes_random_state  # the trainer seeds all global generators
@each
def test_transformers_trainer(make: Make, tmp_path: Path) -> None:
    """A real trainer that saves; a second one, resumed from its checkpoint, ends where one did that was not interrupted."""
    import transformers

    config = transformers.GPT2Config(
        n_layer=1, n_head=2, n_embd=8, vocab_size=16, n_positions=8, attn_pdrop=0, embd_pdrop=0, resid_pdrop=0
    )
    tokens = torch.randint(16, (16, 8), generator=draws(2))
    rows = [{"input_ids": row, "labels": row} for row in tokens]

    def run(folder: str, epochs: int, resume: bool | str = False) -> transformers.PreTrainedModel:
        transformers.set_seed(0)
        model = transformers.GPT2LMHeadModel(config)
        options = transformers.TrainingArguments(
            str(tmp_path / folder), num_train_epochs=epochs, per_device_train_batch_size=4, save_strategy="epoch",
            report_to=[], use_cpu=True, disable_tqdm=True, lr_scheduler_type="constant", logging_strategy="no",
        )  # fmt: skip
        optimizer = make(model.parameters())
        trainer = transformers.Trainer(model, options, train_dataset=rows, optimizers=(optimizer, None))
        trainer.train(resume_from_checkpoint=resume)
        return model

    whole = run("whole", 2)
    run("half", 1)
    resumed = run("half", 2, resume=True)
    assert same(resumed.parameters(), whole.parameters())
