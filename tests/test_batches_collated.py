"""Batches that a collate_fn makes as they are drawn, of texts of several lengths, and batches that a stream gives ready-made."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_sequence, pad_sequence
from torch.utils.data import DataLoader, IterableDataset

from batch_tasks import (
    SWEEP,
    TEST,
    TESTED,
    TRAIN,
    WORDS,
    Bag,
    N,
    Rows,
    as_dict,
    check_by_hand,
    error,
    loss_each,
    mean_loss,
)
from lrscope.engine.net import build_net
from lrscope.engine.trial import EXAMPLES
from lrscope.errors import LrscopeError
from lrscope.tasks.batches import reading, replayed
from lrscope.tasks.random_state import kept
from lrscope.tasks.streams import stream_seed
from lrscope.tasks.task import Task
from tiny_tasks import ONE_RUN, SINGLE, computed, same_bytes, stopped_and_resumed, train


def text(data: dict[str, Tensor], index: int) -> dict[str, Any]:
    """An example without padding."""
    return {name: t[index, : data["lengths"][index]] if name == "words" else t[index] for name, t in data.items()}


def padded(items: list[dict[str, Any]]) -> dict[str, Tensor]:
    """To the longest of the batch."""
    rest = {name: torch.stack([item[name] for item in items]) for name in ("lengths", "weight", "label")}
    return {"words": pad_sequence([item["words"] for item in items], batch_first=True), **rest}


def loader(data: dict[str, Tensor], collate: Any = padded, make: Any = text) -> DataLoader[Any]:
    return DataLoader(Rows(lambda i: make(data, i), len(data["label"])), 8, collate_fn=collate)


def collated(collate: Any) -> Any:
    def batch(data: dict[str, Tensor], numbers: Tensor) -> Any:
        made = collate([text(data, i) for i in numbers.tolist()])
        return {n: v.double() if isinstance(v, Tensor) and v.is_floating_point() else v for n, v in made.items()}

    return batch


def ragged(**options: Any) -> Task:
    return Task(**{"model": Bag, "train": loader(TRAIN), "test": loader(TEST), "loss": mean_loss, **options})


# -- collate_fn -------------------------------------------------------------------------------------------------------------


def test_batches_padded_to_the_longest_train_as_a_loop_by_hand(tmp_path: Path) -> None:
    """Of a loss that sees the padding: how long a batch is changes its losses."""

    def loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return mean_loss(model, dict(batch)) * (1 + batch["words"].shape[1])

    made = ragged(loss=loss)
    check_by_hand(train(made, SWEEP, SINGLE, tmp_path), made, Bag, loss, tmp_path, collated(padded))


class Packed(nn.Module):
    """An LSTM on packed sequences."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.lstm, self.out = nn.Embedding(WORDS, 3), nn.LSTM(3, 4), nn.Linear(4, 2)

    def forward(self, words: Any) -> Tensor:
        embedded = words._replace(data=self.embed(words.data))
        out: Tensor = self.out(self.lstm(embedded)[1][0][-1])
        return out


def test_packed_sequences_train_as_a_loop_by_hand(tmp_path: Path) -> None:
    def packed(items: list[dict[str, Any]]) -> dict[str, Any]:
        words = pack_sequence([item["words"] for item in items], enforce_sorted=False)
        return {"words": words, "label": torch.stack([item["label"] for item in items])}

    def loss(model: nn.Module, batch: dict[str, Any]) -> Tensor:
        return functional.cross_entropy(model(batch["words"]), batch["label"])

    made = ragged(model=Packed, train=loader(TRAIN, packed), test=loader(TEST, packed), loss=loss)
    check_by_hand(train(made, SWEEP, SINGLE, tmp_path), made, Packed, loss, tmp_path, collated(packed))


def masking(data: dict[str, Tensor], index: int) -> dict[str, Any]:
    """A random transform: one of ten words is another one."""
    found = text(data, index)
    words = found["words"]
    return {**found, "words": torch.where(torch.rand(len(words)) < 0.5, torch.randint(1, WORDS, (len(words),)), words)}


def masked(index: int) -> dict[str, Any]:
    """The same of padded texts."""
    found = as_dict(index)
    return {**found, "words": found["words"] * (torch.rand(len(found["words"])) < 0.5)}


@pytest.mark.parametrize("given", ["a loader", "a data set"])
def test_what_a_data_set_draws_is_the_runs_own(given: str, tmp_path: Path) -> None:
    """Drawn anew in every step, alike after a stop."""

    def made() -> Task:
        return ragged(train=loader(TRAIN, padded, masking) if given == "a loader" else Rows(masked))

    assert made().noise == "global"
    with kept():  # a sweep keeps the states itself
        unbroken = computed(made(), SWEEP, ONE_RUN, tmp_path / "unbroken")
        broken = stopped_and_resumed(made, SWEEP, ONE_RUN, tmp_path / "broken", 5)
    assert same_bytes(broken, unbroken) == []
    plain = computed(ragged(), SWEEP, ONE_RUN, tmp_path / "plain")
    assert (plain["pretrain/train_loss"] != unbroken["pretrain/train_loss"]).all()


def test_examples_that_depend_on_their_batch_are_collated_as_they_are_drawn() -> None:
    """Weights less the batch's mean: of one shape everywhere, but in memory they would be those of other batches."""

    def centred(items: list[dict[str, Any]]) -> dict[str, Tensor]:
        batch = {name: torch.stack([item[name] for item in items]) for name in TRAIN}
        return {**batch, "weight": batch["weight"] - batch["weight"].mean()}

    made = ragged(train=DataLoader(Rows(as_dict), 8, collate_fn=centred), test=TEST)
    assert made.batches is not None
    assert made.batches.source.by_run == "its batches are collated as they are drawn"
    batch = made.batches.source.batch(torch.tensor([30, 2, 17]), torch.float64)
    chosen = TRAIN["weight"][[30, 2, 17]]
    torch.testing.assert_close(batch["weight"], (chosen - chosen.mean()).double())


def test_runs_train_one_at_a_time(tmp_path: Path) -> None:
    with pytest.raises(LrscopeError, match=r"path: .* but its batches are collated as they are drawn: use path single"):
        train(ragged(), SWEEP, replace(SINGLE, path="batched"), tmp_path)


def test_examples_and_collate_fn_make_the_task() -> None:
    other = {**TRAIN, "weight": TRAIN["weight"] + 1}
    backwards = loader(TRAIN, lambda items: padded(items[::-1]))
    prints = [
        made.fingerprint([0]) for made in (ragged(), ragged(), ragged(train=loader(other)), ragged(train=backwards))
    ]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


@pytest.mark.parametrize("given", ["a data set", "a loader"])
def test_what_memory_does_not_hold_is_fetched_as_training_goes(
    given: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """To the same numbers."""
    data_set = Rows(as_dict)
    examples = data_set if given == "a data set" else DataLoader(data_set, 8)
    within = Task(Bag, examples, TEST, mean_loss)
    monkeypatch.setattr(reading, "memory_for_streams", lambda: 2000)
    beyond = Task(Bag, examples, TEST, mean_loss)
    assert (within.batches.source.by_run, beyond.batches.source.by_run) == (  # type: ignore[union-attr]
        *("", "its batches are collated as they are drawn"),
    )
    found = [computed(made, SWEEP, ONE_RUN, tmp_path / str(i)) for i, made in enumerate((within, beyond))]
    assert same_bytes(*found) == []


# -- streams ------------------------------------------------------------------------------------------------------------------


class Batches:
    """Gives batches of 8 texts, the last of a data set smaller; counts how often it is gone through."""

    def __init__(self, data: dict[str, Tensor], change: int = -1) -> None:
        self.data, self.change, self.passes = data, change, 0

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        self.passes += 1
        count = len(self.data["label"])
        for start in range(0, count, 8):
            made = padded([text(self.data, i) for i in range(start, min(start + 8, count))])
            yield {**made, "weight": made["weight"] + (self.passes if start // 8 == self.change else 0)}


class Sized(Batches):
    def __len__(self) -> int:
        return -(-len(self.data["label"]) // 8)


FEWER = {name: tensor[: TESTED - 3] for name, tensor in TEST.items()}
OF_ONE = replace(SWEEP, batch_size=1)


def streamed(**options: Any) -> Task:
    return ragged(**{"train": Batches(TRAIN), "test": Batches(FEWER), **options})


def mean_of_examples(found: Any) -> Any:
    return found["pretrain/test_loss"].isel(epoch=0)


@pytest.mark.parametrize("loss", [mean_loss, loss_each], ids=lambda f: f.__name__)
def test_a_test_batch_counts_as_many_examples_as_it_has(loss: Any, tmp_path: Path) -> None:
    """69 texts in batches of 8 and a last one of 5: at a learning rate of 1e-12 the loss of the initial weights."""
    still = replace(OF_ONE, lrs=(1e-12,))
    ready = computed(streamed(loss=loss), still, ONE_RUN, tmp_path / "ready")
    each = computed(ragged(test=loader(FEWER), loss=loss_each), still, ONE_RUN, tmp_path / "each")
    np.testing.assert_allclose(mean_of_examples(ready), mean_of_examples(each), rtol=1e-9)


def test_a_stream_beyond_memory_trains_in_its_own_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a loop by hand does; after a stop, too."""
    monkeypatch.setattr(replayed, "memory_for_streams", lambda: 2000)

    def made() -> Task:
        return streamed(train=Sized(TRAIN), test=Sized(FEWER))

    assert made().batches.source.train.in_order  # type: ignore[union-attr]
    found = computed(made(), OF_ONE, ONE_RUN, tmp_path / "unbroken")
    run = found["pretrain"].ds.sel(lr=0.5, seed=0, data_seed=0)
    model = made().new_model(stream_seed("init", 0, 0)).double().train()
    losses = []
    for step in range(int(run["step"].values[0])):
        numbers = torch.arange(8 * (step % 4), 8 * (step % 4) + 8)
        value = mean_loss(model.model, collated(padded)(TRAIN, numbers))  # type: ignore[arg-type]
        gradients = torch.autograd.grad(value, list(model.parameters()))
        with torch.no_grad():
            for weight, gradient in zip(model.parameters(), gradients, strict=True):
                weight -= 0.5 * gradient
        losses.append(value.item())
    np.testing.assert_allclose(run["train_loss"][0], np.mean(losses), rtol=1e-9)
    assert same_bytes(stopped_and_resumed(made, OF_ONE, ONE_RUN, tmp_path / "broken", 5), found) == []


class Farthest:
    """Batches of one form, of which it keeps how far they were read."""

    given = 0

    def __iter__(self) -> Iterator[Any]:
        for start in range(len(self)):
            Farthest.given = max(Farthest.given, start)
            yield {name: tensor[torch.arange(start, start + 8) % N] for name, tensor in TRAIN.items()}

    def __len__(self) -> int:
        return 200


def test_a_model_is_tried_on_the_first_batches_of_a_stream_beyond_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Later ones would take a pass through all of the stream each time."""
    monkeypatch.setattr(replayed, "memory_for_streams", lambda: 2000)
    task = Task(Bag, Farthest(), TEST, mean_loss, validation=0)
    assert Farthest.given == 199
    Farthest.given = 0
    build_net(task, invariant=False, device=torch.device("cpu"), dtype=torch.float64)
    assert Farthest.given == EXAMPLES - 1


def test_a_stream_that_can_be_read_once_is_kept() -> None:
    made = streamed(train=iter(Batches(TRAIN)))
    assert made.batch_size == 1
    assert len(made.data(0).train_x) == N // 8
    assert made.fingerprint([0]) == streamed().fingerprint([0])


class Stream(IterableDataset[Any]):
    def __init__(self, data: dict[str, Tensor], count: int = N) -> None:
        self.data, self.count = data, count

    def __iter__(self) -> Iterator[Any]:
        return (text(self.data, i % N) for i in range(self.count))


def test_a_loader_of_a_stream_of_examples_is_that_of_the_examples() -> None:
    of_stream = DataLoader(Stream(TRAIN), 8, collate_fn=padded)
    made = ragged(train=of_stream)
    assert made.batch_size == 8
    assert len(made.data(0).train_x) == N
    assert made.batches.source.digest() == ragged().batches.source.digest()  # type: ignore[union-attr]


def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (reading, replayed):
        monkeypatch.setattr(module, "memory_for_streams", lambda: 2000)


def endless() -> Iterator[dict[str, Tensor]]:
    while True:
        yield padded([text(TRAIN, 0), text(TRAIN, 1)])


class Long(Sized):
    def __len__(self) -> int:
        return 3


REFUSED = {
    "more than it says": (
        lambda: Long(TRAIN),
        "train: the stream gives more batches than the 3 that its __len__ states",
    ),
    "a loader without end": (
        lambda: DataLoader(Stream(TRAIN, 10**9), 8, collate_fn=padded),
        "train: the stream has not ended after .* batches",
    ),
    "without end": (
        lambda: endless(),
        "train: the stream has not ended after .* give it a __len__, its number of batches",
    ),
    "another one": (
        lambda: Sized(TRAIN, change=2),
        "train: batch 2 of the stream is another one than when it was first read",
    ),
    "examples without end": (lambda: Stream(TRAIN, 10**9), "has not ended after .* examples.*pass a DataLoader of it"),
    "nothing": (lambda: iter(()), "train: the stream gives no batches: it may be spent"),
    "a fault": (lambda: (1 // 0 for _ in range(2)), "train: batch 0 of the stream cannot be read .ZeroDivisionError"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_stream_that_cannot_be_honoured_is_refused(
    case: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make, words = REFUSED[case]
    small(monkeypatch)
    with pytest.raises(LrscopeError, match=words):
        computed(streamed(train=make(), test=Sized(FEWER)), OF_ONE, ONE_RUN, tmp_path)


def test_ready_made_batches_are_steps_and_are_not_held_out(tmp_path: Path) -> None:
    with pytest.raises(LrscopeError, match="batch_size: 8, but the training batches come ready-made"):
        computed(streamed(), SWEEP, ONE_RUN, tmp_path)
    with pytest.raises(LrscopeError, match=r"validation: 0.5, but batches that come ready-made .* cannot be held out"):
        streamed(validation=0.5)


def test_the_users_own_optimizer_trains_batches_too(tmp_path: Path) -> None:
    made = ragged(optimizer=lambda parameters, lr: torch.optim.SGD(parameters, lr))
    own = computed(made, replace(SWEEP, optimizer="task"), ONE_RUN, tmp_path / "own")
    built_in = computed(ragged(), SWEEP, ONE_RUN, tmp_path / "built-in")
    np.testing.assert_allclose(own["pretrain/train_loss"], built_in["pretrain/train_loss"], rtol=1e-12)


@pytest.mark.slow
def test_texts_that_a_tokenizer_pads_train_a_transformer(tmp_path: Path) -> None:
    """As a training script has it: ids of several lengths, the library's collator, the loss that the model returns."""
    pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models
    from transformers import BertConfig, BertForSequenceClassification, DataCollatorWithPadding, PreTrainedTokenizerFast

    def model() -> nn.Module:
        sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
        return BertForSequenceClassification(BertConfig(vocab_size=WORDS, max_position_embeddings=8, **sizes))

    def examples(data: dict[str, Tensor]) -> DataLoader[Any]:
        words = Tokenizer(models.WordLevel({str(i): i for i in range(WORDS)}, unk_token="1"))
        pad = DataCollatorWithPadding(PreTrainedTokenizerFast(tokenizer_object=words, pad_token="0", unk_token="1"))
        texts = [text(data, i) for i in range(len(data["label"]))]
        rows = [{"input_ids": t["words"].tolist(), "labels": int(t["label"])} for t in texts]
        return DataLoader(rows, 8, shuffle=True, collate_fn=pad)  # type: ignore[arg-type]

    def made() -> Task:
        return Task(model, examples(TRAIN), examples(TEST), lambda model, batch: model(**batch).loss)

    assert made().batch_size == 8
    assert made().fingerprint([0]) == made().fingerprint([0])
    config = replace(SWEEP, precision="float32", lrs=(0.3,), seeds=1, steps=12)
    found = computed(made(), config, ONE_RUN, tmp_path)["pretrain"].ds
    assert np.isfinite(found["test_loss"]).all()
    assert float(found["train_loss"][..., -1].mean()) < float(found["train_loss"][..., 0].mean())


# -- what a review found --------------------------------------------------------------------------------------------------


class Drawing(Rows):
    """Examples with noise from the global generator."""

    def __getitem__(self, index: int) -> Any:
        item = super().__getitem__(index)
        return {**item, "weight": item["weight"] + torch.rand(())}


def test_test_examples_that_draw_are_the_same_in_every_evaluation(tmp_path: Path) -> None:
    """Whatever state the global generator is in; the training examples draw nothing."""
    test = DataLoader(Drawing(lambda i: text(TEST, i), len(TEST["label"])), 8, collate_fn=padded)
    found = []
    for seed in (1, 2):
        with kept():
            torch.manual_seed(seed)
            found.append(computed(ragged(test=test, loss=loss_each), SWEEP, ONE_RUN, tmp_path / str(seed)))
    assert same_bytes(*found) == []


def test_groups_of_ready_made_batches_are_refused() -> None:
    with pytest.raises(LrscopeError, match=r"test_groups: test batches come ready-made .* leave the groups out"):
        ragged(test=Sized(FEWER), loss=loss_each, test_groups=[0, 1, 0, 1, 0, 1, 0, 1, 0])


def test_the_beginning_of_a_stream_stays_a_stream() -> None:
    """As the sentence about streams without end advises."""
    part = reading.as_part("train", itertools.islice(endless(), 5))
    assert isinstance(part, replayed.Replayed)
    assert part.size == 5


def test_arrays_of_a_stream_are_counted_and_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replayed, "memory_for_streams", lambda: 10_000)
    kept = replayed.Replayed("train", [{"x": np.zeros(100)}])
    kept.batch(torch.tensor([0]), torch.float64)["x"] += 1
    assert kept.batch(torch.tensor([0]), torch.float64)["x"].sum() == 0
    assert replayed.Replayed("train", [{"x": np.zeros(5000)}]).in_order, "40,000 bytes are beyond the limit"


class Named(NamedTuple):
    x: Any


def test_named_tuples_stay_what_they_are() -> None:
    part = reading.as_part("train", Named(np.ones((3, 2))))
    assert part.batch(torch.tensor([0]), torch.float64).x.tolist() == [[1.0, 1.0]]


# -- streams that are others in another pass --------------------------------------------------------------------------------


class Passes:
    """Batches, or examples, that a function makes anew at every pass."""

    def __init__(self, make: Any) -> None:
        self.make = make

    def __iter__(self) -> Iterator[Any]:
        return iter(self.make())

    def __len__(self) -> int:
        return 4


class Examples(Passes, IterableDataset[Any]):
    """The same as PyTorch's stream, which states its length."""

    def __len__(self) -> int:
        return N


def heavier(item: dict[str, Any]) -> dict[str, Any]:
    return {**item, "weight": item["weight"] + torch.rand(())}


def few(order: Any = range(N)) -> list[dict[str, Any]]:
    return [as_dict(int(i)) for i in order]


def batches(order: Any = range(N)) -> Iterator[Any]:
    return (padded(few(order)[start : start + 8]) for start in range(0, N, 8))


RANDOM = {
    "examples": lambda: Examples(lambda: map(heavier, few())),
    "examples behind a loader": lambda: DataLoader(Examples(lambda: map(heavier, few())), 8, collate_fn=padded),
    "batches": lambda: Passes(lambda: map(heavier, batches())),
    "batches of shuffled examples": lambda: Passes(lambda: batches(torch.randperm(N))),
    "batches by NumPy": lambda: Passes(lambda: ({**b, "weight": b["weight"] * np.random.rand()} for b in batches())),
}


LITTLE = [(case, 2000) for case in RANDOM if case != "examples"]  # without a loader those must fit into memory


@pytest.mark.parametrize(("case", "memory"), [*((case, 2**30) for case in RANDOM), *LITTLE])
def test_a_stream_that_draws_is_said_to_be_kept_as_it_was_first(
    case: str, memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (reading, replayed):
        monkeypatch.setattr(module, "memory_for_streams", lambda: memory)
    with pytest.warns(
        UserWarning, match=r"train: the stream gives other .* gone through again.* reads it once"
    ) as said:
        Task(Bag, RANDOM[case](), TEST, mean_loss, validation=0)
    assert said[0].filename == __file__, "the user's line, not lrscope's"


STEADY = {
    "examples in another order": lambda: Examples(lambda: few(torch.randperm(N))),
    "batches in another order": lambda: Passes(lambda: [list(batches())[i] for i in torch.randperm(4)]),
    "examples once": lambda: Examples(iter(few()).__iter__),
    "batches once": lambda: batches(),
}


@pytest.mark.parametrize("case", STEADY)
def test_a_stream_of_the_same_examples_in_every_pass_is_read_without_a_word(case: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reading.as_part("train", STEADY[case]())


@pytest.mark.parametrize(("count", "dropping"), [(N // 5 * 5, True), (N, False)])
def test_drop_last_is_not_spoken_of_where_it_drops_nothing(count: int, dropping: bool) -> None:
    loader = DataLoader(Examples(lambda: few(torch.randperm(count))), 5, drop_last=dropping)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert reading.as_part("train", loader).size == count


def test_a_stream_with_more_or_fewer_examples_in_another_pass_is_refused() -> None:
    sizes = iter([12, 11])
    with pytest.raises(LrscopeError, match="train: the stream gives 12 examples, and others when it is gone through"):
        reading.as_part("train", Examples(lambda: few()[: next(sizes)]))


def test_a_loader_of_a_stream_drops_the_last_batch_as_it_says() -> None:
    """Where every pass leaves out the same examples; one that shuffles leaves out others, so all are kept, and that is said."""

    def size(order: Any, **options: Any) -> int:
        return reading.as_part("train", DataLoader(Examples(lambda: few(order())), 5, **options)).size

    assert size(lambda: range(N)) == N
    assert size(lambda: range(N), drop_last=True) == N // 5 * 5
    with pytest.warns(
        UserWarning, match=f"train: .* another order in each pass, so drop_last .* keeps all {N}$"
    ) as said:
        assert size(lambda: torch.randperm(N), drop_last=True) == N
    assert [warning.filename for warning in said] == [__file__]
    with pytest.raises(LrscopeError, match="train: the loader gives no examples: check its sampler and drop_last"):
        size(lambda: range(4), drop_last=True)


# -- pictures, metrics, noise -----------------------------------------------------------------------------------------------

GREY, RED = Image.new("L", (3, 2), 51), Image.new("RGB", (3, 2), (255, 0, 0))


@pytest.mark.parametrize(
    "row",
    [
        {"image": RED, "mask": GREY},
        (torch.zeros(3, 2, 3), GREY),
        {"image": np.zeros((2, 3)), "mask": GREY.convert("1")},
    ],
)
def test_a_grey_picture_that_may_be_a_mask_is_refused(row: Any) -> None:
    with pytest.raises(LrscopeError, match=r"train: batch\[.* hold grey pictures, whose pixels may be class numbers"):
        reading.as_part("train", [row] * 3)


@pytest.mark.parametrize("row", [{"image": GREY, "label": 1}, (GREY, torch.tensor([1.0, 2.0])), (RED, RED)])
def test_other_pictures_are_inputs(row: Any) -> None:
    batch = reading.as_part("train", [row] * 3).batch(torch.tensor([0]), torch.float64)
    first, given = (next(iter(found.values())) if isinstance(found, dict) else found[0] for found in (batch, row))
    assert float(first[0, 0, 0, 0]) == pytest.approx(1.0 if given is RED else 0.2)


def test_a_streamed_test_set_is_gone_through_once_for_loss_and_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    test = Sized(FEWER)
    made = streamed(train=Sized(TRAIN), test=test, metrics={"error": error, "loss": loss_each})
    assert made.batches is not None
    model, numbers = made.new_model(0).eval(), made.batches.source.numbers("test")
    model(numbers)
    before = test.passes
    found = model(numbers)
    assert test.passes == before + 1
    torch.testing.assert_close(found[:, 0], found[:, 2], msg="the loss, and a metric that is called so")
    assert set(found[:, 1].mul(8).round().tolist()) - {0.0}, "no losses"


class Scaled(nn.Module):
    """A metric with a tensor of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(1, 1))

    def forward(self, model: nn.Module, batch: Any) -> Tensor:
        found: Tensor = (model(**{n: t for n, t in batch.items() if n != "label"})["logits"][:, :1] @ self.scale)[:, 0]
        return found


@pytest.mark.parametrize("given", ["in memory", "a stream"])
def test_a_metrics_tensors_are_where_the_runs_are(given: str, tmp_path: Path) -> None:
    test = TEST if given == "in memory" else Batches(FEWER)
    made = ragged(train=TRAIN, test=test, metrics={"scaled": Scaled()})
    found = computed(made, SWEEP, ONE_RUN, tmp_path)["pretrain/test_metric"]
    assert np.isfinite(found.sel(lr=0.1)).all(), "32-bit numbers would not multiply with 64-bit ones"
    recipe = made.batches
    assert recipe is not None
    assert recipe.function("scaled", torch.device("meta"), torch.float32).scale.is_meta  # type: ignore[attr-defined]


def test_the_data_set_and_not_the_model_is_said_to_draw(tmp_path: Path) -> None:
    """Also where only some examples draw, and none of those that are tried with the model."""

    def rarely(data: dict[str, Tensor], index: int) -> dict[str, Any]:
        return heavier(text(data, index)) if index > N // 2 else text(data, index)

    for make in (masking, rarely):
        made = ragged(train=loader(TRAIN, padded, make))
        with pytest.warns(UserWarning, match="the training examples draw at random as they are fetched") as said:
            train(made, SWEEP, SINGLE, tmp_path / make.__name__)
        assert not any("this model draws" in str(each.message) for each in said)
        with pytest.raises(LrscopeError, match=r"path: .* but the training examples are drawn run by run: use path"):
            train(made, SWEEP, replace(SINGLE, path="batched"), tmp_path / f"{make.__name__} batched")
