"""Data as people hold it: arrays, frames, lists, data sets, streams and loaders are read as they are, or refused by name."""

from __future__ import annotations

import io
import json
import random
import warnings
from array import array
from collections.abc import Callable, Iterator
from itertools import count, islice
from typing import Any

import numpy as np
import pandas
import pytest
import scipy.sparse
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    get_worker_info,
)
from torch.utils.data.distributed import DistributedSampler

import lrscope
from lrscope.errors import LrscopeError
from lrscope.tasks import examples as reading
from lrscope.tasks.arrays import own_tensor
from lrscope.tasks.examples import as_tensors
from lrscope.tasks.task import Task
from tiny_tasks import CLASSES, SHORT, examples, same_bytes, train

Pair = tuple[Tensor, Tensor]
X, Y = examples(24, (5,))
XT, YT = examples(12, (5,), key="test")
DATA = TensorDataset(X, Y)
HALF = list(range(3, 15))


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 6), nn.LayerNorm(6), nn.ReLU(), nn.Linear(6, CLASSES))


class Rows(Dataset[Any]):
    """A map-style data set that makes its rows when asked."""

    def __init__(self, make: Callable[[int], Any], size: int = 24) -> None:
        self.make, self.size = make, size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Any:
        return self.make(index)


class Stream(IterableDataset[Any]):
    """A stream of what a function gives, as often as it is asked for."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make

    def __iter__(self) -> Iterator[Any]:
        return iter(self.make())


def pairs() -> Iterator[Pair]:
    return zip(X, Y, strict=True)


def frame(x: Tensor = X) -> pandas.DataFrame:
    return pandas.DataFrame(x.numpy(), columns=list("abcde"))


# -- what is read as the same ----------------------------------------------------------------------------------------

SAME: dict[str, Callable[[], Any]] = {
    "arrays": lambda: (X.numpy(), Y.numpy()),
    "arrays in a list": lambda: [X.numpy(), Y.numpy()],
    "array and list": lambda: (X.numpy(), Y.tolist()),
    "lists": lambda: (X.tolist(), Y.tolist()),
    "a list of rows": lambda: (list(X), Y.tolist()),
    "a list of arrays": lambda: (list(X.numpy()), list(Y.numpy())),
    "Python's arrays": lambda: (X, array("i", Y.tolist())),
    "a list of pairs": lambda: list(pairs()),
    "a tuple of pairs": lambda: tuple(pairs()),
    "frame and column": lambda: (frame(), pandas.Series(Y.numpy())),
    "frame and frame": lambda: (frame(), pandas.DataFrame({"label": Y.numpy()})),
    "nullable columns": lambda: (frame().convert_dtypes(), pandas.Series(Y.numpy()).astype("Int64")),
    "codes of a category": lambda: (frame(), pandas.Series(Y.numpy()).astype("category").cat.codes),
    "float64": lambda: (X.double(), Y),
    "gradients wanted": lambda: (X.clone().requires_grad_(), Y),
    "a parameter": lambda: (nn.Parameter(X.clone()), Y),
    "not contiguous": lambda: (X.T.contiguous().T, torch.stack([Y, Y], 1)[:, 0]),
    "backwards": lambda: (X.flip(0).numpy()[::-1], Y),
    "big-endian": lambda: (X.numpy().astype(">f4"), Y.numpy().astype(">i8")),
    "read-only": lambda: (np.broadcast_to(X.numpy(), X.shape), Y),
    "small whole numbers": lambda: (X, Y.to(torch.uint8)),
    "unsigned": lambda: (X, Y.numpy().astype(np.uint16)),
    "labels as floats": lambda: (X, Y.double()),
    "labels as floats of half size": lambda: (X, Y.half()),
    "labels in a column": lambda: (X, Y[:, None]),
    "one-hot labels": lambda: (X, nn.functional.one_hot(Y)),
    "one-hot floats": lambda: (X, nn.functional.one_hot(Y).double()),
    "data set": lambda: DATA,
    "rows of arrays": lambda: Rows(lambda i: (X[i].numpy(), int(Y[i]))),
    "rows of lists": lambda: Rows(lambda i: [X[i].tolist(), float(Y[i])]),
    "stream": lambda: Stream(pairs),
    "loader": lambda: DataLoader(DATA, batch_size=5),
    "loader, shuffled": lambda: DataLoader(DATA, batch_size=5, shuffle=True),
    "loader, shuffled, last batch dropped": lambda: DataLoader(DATA, batch_size=5, shuffle=True, drop_last=True),
    "loader, workers": lambda: DataLoader(DATA, batch_size=5, shuffle=True, num_workers=2),
    "loader, rows made by workers": lambda: DataLoader(
        Rows(lambda i: (X[i].tolist(), int(Y[i]))), 5, num_workers=2, collate_fn=listed
    ),
    "loader, own generator": lambda: DataLoader(DATA, 5, shuffle=True, generator=torch.Generator().manual_seed(5)),
    "loader of a stream": lambda: DataLoader(Stream(pairs), batch_size=5),
    "loader of a stream, workers": lambda: DataLoader(Stream(pairs), batch_size=24, num_workers=1),
    "loader, batches as they are": lambda: DataLoader(TensorDataset(X[None], Y[None]), batch_size=None),
    "loader, all weights alike": lambda: DataLoader(DATA, 5, sampler=WeightedRandomSampler([1.0] * 24, 24, False)),
    "loader, one process of one": lambda: DataLoader(DATA, 5, sampler=DistributedSampler(DATA, 1, 0)),
    "loader, own collate": lambda: DataLoader(Rows(lambda i: (X[i] * 2, Y[i])), 5, collate_fn=halved),
}


def listed(items: list[Any]) -> Any:
    return [x for x, _ in items], [y for _, y in items]


def halved(items: list[Pair]) -> Pair:
    return torch.stack([x / 2 for x, _ in items]), torch.stack([y for _, y in items])


@pytest.mark.parametrize("form", SAME)
def test_the_same_examples_are_the_same_task(form: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        task = Task(model, SAME[form](), (XT, YT))
    data = task.data(0)
    assert torch.equal(data.train_x, X)
    assert torch.equal(data.train_y, Y)
    assert (data.train_x.dtype, data.train_y.dtype, data.classes) == (torch.float32, torch.int64, CLASSES)
    assert task.fingerprint([0]) == Task(model, (X, Y), (XT, YT)).fingerprint([0])


def test_whole_numbers_as_inputs_keep_their_type() -> None:
    words = torch.arange(24)[:, None] % 7
    same: list[tuple[Any, torch.dtype]] = [(words, torch.int64), (words.int(), torch.int32), (words > 2, torch.bool)]
    wider = [words.to(kind) for kind in (torch.uint16, torch.uint32, torch.uint64)]
    for given, kind in [*same, *((t, torch.int64) for w in wider for t in (w, w.numpy()))]:
        x, _ = as_tensors("train", (given, Y))
        assert x.dtype == kind
        assert torch.equal(x, words.to(kind) if kind != torch.bool else words > 2)


def test_a_models_words_about_whole_numbers_name_their_type() -> None:
    pixels = (X * 10).to(torch.uint8)
    with pytest.raises(LrscopeError, match=r"shape \(4, 5\) and type torch\.uint8 .* such as by x\.float\(\)"):
        Task(model, (pixels, Y), (pixels[:9], Y[:9]))


# -- nobody changes anybody's data -----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["arrays", "frame and column", "data set", "loader", "a list of rows", "float64"])
def test_later_changes_of_the_users_data_do_not_reach_the_task(form: str) -> None:
    given = SAME[form]()
    before = Task(model, given, (XT, YT))
    saved = before.data(0).train_x.clone()
    parts = given if isinstance(given, tuple | list) else (DATA.tensors[0],)
    kept = X.clone()
    try:
        if isinstance(parts[0], pandas.DataFrame):
            parts[0].iloc[:, :] = 0.0
        else:
            for row in parts[0]:
                row *= 0
        assert torch.equal(before.data(0).train_x, saved)
    finally:
        X.copy_(kept)


class Scaling(nn.Module):
    """Works in place on its input, in train mode only if asked."""

    def __init__(self, *, always: bool) -> None:
        super().__init__()
        self.inner, self.always = model(), always

    def forward(self, x: Tensor) -> Tensor:
        if self.always or self.training:
            x.mul_(0.5)
        out: Tensor = self.inner(x)
        return out


class Tidy(Scaling):
    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x * 0.5 if self.always or self.training else x)
        return out


@pytest.mark.slow
@pytest.mark.parametrize("always", [True, False])
@pytest.mark.parametrize("path", ["batched", "single"])
def test_a_forward_that_changes_its_input_trains_as_one_that_does_not(path: str, always: bool) -> None:
    x, xt = X.clone(), XT.clone()
    options = {"lrs": [1e-2, 1e-1], "space": "whole", "epochs": 2, "batch_size": 8, "seeds": 2, "random_points": 2}
    options |= {
        "path": path,
        "compile": False,
        "progress": False,
        "jobs": 1,
        "finetune_lrs": [1e-3],
        "finetune_epochs": 1,
    }
    found = [
        lrscope.sweep(
            Task(lambda kind=kind: kind(always=always), (x, Y), (xt, YT), features={"a": torch.neg}), **options
        )
        for kind in (Scaling, Tidy)
    ]
    assert same_bytes(*found) == []
    assert torch.equal(x, X)
    assert torch.equal(xt, XT)


def test_only_models_that_change_their_input_get_copies() -> None:
    assert not Task(model, (X, Y), (XT, YT)).copies_input
    task = Task(lambda: nn.Sequential(nn.ReLU(inplace=True), *model()), (X, Y), (XT, YT))
    assert task.copies_input
    before = X.clone()
    task.new_model(0)(X)
    assert torch.equal(X, before)


# -- which examples a loader gives -----------------------------------------------------------------------------------


def read(loader: Any) -> Pair:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return as_tensors("train", loader)


class Twice(SequentialSampler):
    """Names every third example a second time, in every epoch."""

    def __iter__(self) -> Iterator[int]:
        return iter([*range(24), *range(0, 24, 3)])


class Halves(BatchSampler):
    """A sampler of batches of its own."""

    def __iter__(self) -> Iterator[list[int]]:
        yield from (HALF[:4], HALF[4:])


WHICH: dict[str, tuple[Callable[[], Any], list[int]]] = {
    "a split by sampler": (lambda: DataLoader(DATA, 5, sampler=SubsetRandomSampler(HALF)), HALF),
    "a split by a list": (lambda: DataLoader(DATA, 5, sampler=HALF), HALF),
    "a split by Subset": (lambda: DataLoader(Subset(DATA, HALF), 5, shuffle=True), HALF),
    "examples twice": (lambda: DataLoader(DATA, 5, sampler=Twice(DATA)), sorted([*range(24), *range(0, 24, 3)])),
    "the same ones dropped": (lambda: DataLoader(DATA, 5, drop_last=True), list(range(20))),
    "one process of two, in order": (
        lambda: DataLoader(DATA, 5, sampler=DistributedSampler(DATA, 2, 1, shuffle=False)),
        list(range(1, 24, 2)),
    ),
    "a stream's last batch dropped": (lambda: DataLoader(Stream(pairs), 5, drop_last=True), list(range(20))),
}


@pytest.mark.parametrize("case", WHICH)
def test_a_loader_says_which_examples_there_are(case: str) -> None:
    make, index = WHICH[case]
    x, y = read(make())
    assert torch.equal(x, X[index])
    assert torch.equal(y, Y[index])


class Prepared(Dataset[Pair]):
    """Can be read where it was prepared, as one whose file each worker process opens."""

    ready = False

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, i: int) -> Pair:
        assert self.ready, "not prepared"
        return X[i], Y[i]


def prepare(_: int) -> None:
    info = get_worker_info()
    assert info is not None
    info.dataset.ready = True


def test_worker_processes_are_prepared_as_the_loader_says() -> None:
    x, y = as_tensors("train", DataLoader(Prepared(), 5, num_workers=1, worker_init_fn=prepare))
    assert torch.equal(x, X)
    assert torch.equal(y, Y)


def test_batches_of_a_users_own_are_said_to_be_drawn_anew() -> None:
    loader = DataLoader(DATA, batch_sampler=Halves(SequentialSampler(DATA), 4, False))
    with pytest.warns(UserWarning, match="train: lrscope draws its batches at random.* how Halves puts them together"):
        x, _ = as_tensors("train", loader)
    assert torch.equal(x, X[HALF])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        as_tensors("test", loader)


class Forever(SequentialSampler):
    def __iter__(self) -> Iterator[int]:
        return (i % 24 for i in count())


class OtherLoader(DataLoader[Any]):
    """A loader that gives its batches in its own way, as wrappers of other libraries do."""

    def __iter__(self) -> Any:
        for x, y in super().__iter__():
            yield x * 3, y


class Weighing(OtherLoader):
    def __iter__(self) -> Any:
        yield X[torch.randint(24, (8,))], Y[torch.randint(24, (8,))]


def test_a_loader_of_another_make_is_gone_through_as_it_is() -> None:
    x, y = read(OtherLoader(DATA, batch_size=5))
    assert torch.equal(x, X * 3)
    assert torch.equal(y, Y)
    x, y = read(OtherLoader(DATA, batch_size=5, shuffle=True))
    assert sorted(x.tolist()) == sorted((X * 3).tolist())
    with pytest.raises(LrscopeError, match="train: the loader gives other examples when it is gone through again"):
        as_tensors("train", Weighing(DATA, batch_size=5))


def with_noise(items: list[Pair]) -> Pair:
    x, y = default_collate(items)
    return x + torch.randn(x.shape), y


def standardised(items: list[Pair]) -> Pair:
    x, y = default_collate(items)
    return x - x.mean(0), y


def mixed(items: list[Pair]) -> Pair:
    x, y = default_collate(items)
    hot = nn.functional.one_hot(y, CLASSES).float()
    return (x + x.flip(0)) / 2, (hot + hot.flip(0)) / 2


def padded(items: list[Pair]) -> Pair:
    return nn.utils.rnn.pad_sequence([x[: 2 + int(y)] for x, y in items], batch_first=True), default_collate(items)[1]


def filled(items: list[Pair]) -> Pair:
    return nn.utils.rnn.pad_sequence([x for x, _ in items], batch_first=True), default_collate([y for _, y in items])


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "weights": (
        lambda: DataLoader(DATA, 5, sampler=WeightedRandomSampler([1.0, 2.0] * 12, 24)),
        "the loader's WeightedRandomSampler draws other examples in every epoch.*shuffle=True or a Subset",
    ),
    "with replacement": (
        lambda: DataLoader(DATA, 5, sampler=RandomSampler(DATA, replacement=True)),
        "RandomSampler draws other examples in every epoch",
    ),
    "a part, drawn anew": (
        lambda: DataLoader(DATA, 5, sampler=RandomSampler(DATA, num_samples=10)),
        "RandomSampler draws other examples in every epoch",
    ),
    "one process of two": (
        lambda: DataLoader(DATA, 5, sampler=DistributedSampler(DATA, 2, 0)),
        "DistributedSampler draws other examples in every epoch",
    ),
    "without end": (lambda: DataLoader(DATA, 5, sampler=Forever(DATA)), "the loader's Forever does not end"),
    "no examples": (lambda: DataLoader(DATA, 50, drop_last=True), "the loader gives no examples: check .* drop_last"),
    "random collating": (lambda: DataLoader(DATA, 5, collate_fn=with_noise), "collate_fn gives examples another form"),
    "collating by batch": (lambda: DataLoader(DATA, 5, collate_fn=standardised), "collate_fn gives examples another f"),
    "mixing": (lambda: DataLoader(DATA, 5, collate_fn=mixed), "collate_fn gives .*it pads, mixes or draws at random"),
    "padding": (lambda: DataLoader(DATA, 5, collate_fn=padded), "collate_fn gives examples another form"),
    "padding that shows in single examples alone": (
        lambda: DataLoader(Rows(lambda i: (X[i][: 3 if i % 3 else 5], Y[i])), 6, collate_fn=filled),
        "collate_fn gives examples another form",
    ),
    "dicts": (
        lambda: DataLoader(Rows(lambda i: {"pixels": X[i], "label": Y[i]}), 5),
        r"batch 0 of the loader is a dict \(pixels, label\): give the loader a collate_fn .* or pass pairs of its data set",
    ),
    "tuples of tensors": (
        lambda: DataLoader(DATA, 5, collate_fn=lambda items: tuple(zip(*items, strict=True))),
        r"batch 0 of the loader has lists of 5 and 5: return one tensor of inputs and one of labels \(torch\.stack",
    ),
    "three parts": (
        lambda: DataLoader(TensorDataset(X, X, Y), 5),
        "batch 0 of the loader has 3 parts: give .input, lab",
    ),
    "no labels": (lambda: DataLoader(TensorDataset(X), 5), "batch 0 of the loader has 1 part: give"),
    "two inputs": (
        lambda: DataLoader(Rows(lambda i: ((X[i], X[i]), Y[i])), 5),
        "the input of batch 0 of the loader is several arrays: a model gets one tensor",
    ),
    "differing shapes": (
        lambda: DataLoader(Rows(lambda i: (X[i][: 3 + i // 12], Y[i])), 5),
        "batch 2 of the loader cannot be read .*the examples differ in shape, so crop or pad",
    ),
    "shapes by batch": (
        lambda: DataLoader(Rows(lambda i: (X[i][: 3 + i // 12], Y[i])), 12),
        r"the inputs differ in shape from batch to batch \(\(3,\) and \(4,\)\)",
    ),
    "pictures": (
        lambda: DataLoader(Rows(lambda i: (Image.new("L", (4, 4)), 0)), 5),
        r"cannot be read .*TypeError.*torchvision's ToTensor\(\)",
    ),
    "a fault of the data set's": (
        lambda: DataLoader(Rows(lambda i: 1 // 0), 5),
        "batch 0 .*ZeroDivisionError.*repair",
    ),
    "single examples": (
        lambda: DataLoader(DATA, batch_size=None),
        r"shape \(5,\) and labels of shape \(\): give batches",
    ),
    "a spent stream": (lambda: DataLoader(Stream(list), 5), "the loader gives no batches: .*a stream may be spent"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_loader_that_cannot_be_honoured_is_refused(case: str) -> None:
    make, words = REFUSED[case]
    with pytest.raises(LrscopeError, match=f"^train: .*{words}") as caught:
        as_tensors("train", make())
    assert "\n" not in str(caught.value)


def test_generators_of_the_user_stay_as_they_were() -> None:
    own, samplers = torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)
    before = own.get_state(), samplers.get_state()
    as_tensors("train", DataLoader(DATA, 5, shuffle=True, generator=own))
    as_tensors("train", DataLoader(DATA, 5, sampler=RandomSampler(DATA, generator=samplers)))
    sampler = DistributedSampler(DATA, 1, 0)
    as_tensors("train", DataLoader(DATA, 5, sampler=sampler))
    assert all(torch.equal(a, b) for a, b in zip(before, (own.get_state(), samplers.get_state()), strict=True))
    assert sampler.epoch == 0


# -- the loader's batch size -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_loaders_batch_size_is_the_sweeps_unless_it_says_otherwise() -> None:
    options: dict[str, Any] = {"lrs": [1e-2, 1e-1], "seeds": 1, "steps": 2, "space": "whole", "jobs": 1}
    options |= {"progress": False, "random_points": 1, "path": "batched", "compile": False}

    def size(task: Task, **more: Any) -> int:
        return int(json.loads(lrscope.sweep(task, **options, **more).attrs["config"])["batch_size"])

    task = Task(model, DataLoader(DATA, 6, shuffle=True), DataLoader(TensorDataset(XT, YT), 3))
    assert task.batch_size == 6
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert size(task) == 6
        assert size(task, batch_size=8) == 8
    assert Task(model, DataLoader(DATA, 500), (XT, YT)).batch_size == 24
    assert (
        Task(model, DataLoader(DATA, batch_sampler=BatchSampler(RandomSampler(DATA), 7, True)), (XT, YT)).batch_size
        == 7
    )
    assert Task(model, (X, Y), (XT, YT)).batch_size is None
    with pytest.warns(UserWarning, match="batch_size: the config says 8, the train loader 6; the config counts"):
        train(task, SHORT)


# -- random transforms -----------------------------------------------------------------------------------------------

JITTER: dict[str, Callable[[], Any]] = {
    "torch": lambda: Rows(lambda i: (X[i] + torch.randn(5), Y[i])),
    "NumPy": lambda: Rows(lambda i: (X[i] + np.random.normal(), Y[i])),
    "Python": lambda: Rows(lambda i: (X[i] * random.random(), Y[i])),
    "in some": lambda: Rows(lambda i: (X[i] * (1 if i < 20 else random.random()), Y[i])),
    "labels": lambda: Rows(lambda i: (X[i], random.randrange(3))),
    "behind a loader": lambda: DataLoader(Rows(lambda i: (X[i] + torch.randn(5), Y[i])), 5, shuffle=True),
    "of a loader of another make": lambda: OtherLoader(Rows(lambda i: (X[i] + torch.randn(5), Y[i])), 5),
    "of a stream": lambda: Stream(lambda: ((x + torch.randn(5), y) for x, y in pairs())),
    "of a loader of a stream": lambda: DataLoader(Stream(lambda: ((x + torch.randn(5), y) for x, y in pairs())), 5),
}


@pytest.mark.parametrize("case", JITTER)
def test_random_transforms_are_found_and_read_alike_every_time(case: str) -> None:
    with pytest.warns(
        UserWarning, match="train: reading the same example twice gives different .*augment=True"
    ) as said:
        first = as_tensors("train", JITTER[case]())
    assert said[0].filename == __file__, "the user's line, not lrscope's"
    with pytest.warns(UserWarning, match="a transform is random"):
        again = as_tensors("train", JITTER[case]())
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


class Once(IterableDataset[Any]):
    """A stream that can be gone through once."""

    def __init__(self, again: Callable[[], Any]) -> None:
        self.rows, self.again = iter(pairs()), again

    def __iter__(self) -> Iterator[Any]:
        found, self.rows = self.rows, None
        return iter(self.again()) if found is None else found


def no_more() -> Any:
    raise RuntimeError("it was read")


@pytest.mark.parametrize("again", [list, no_more], ids=["nothing", "an error"])
def test_a_stream_that_can_be_read_once_is_read(again: Callable[[], Any]) -> None:
    x, y = read(Once(again))
    assert torch.equal(x, X)
    assert torch.equal(y, Y)


def test_a_stream_may_give_its_examples_in_any_order_but_no_others() -> None:
    shuffled = Stream(lambda: (DATA[int(i)] for i in torch.randperm(24)))
    assert sorted(read(shuffled)[0].tolist()) == sorted(X.tolist())
    for drawn in (lambda: (DATA[int(i)] for i in torch.randint(24, (24,))), lambda: pairs_of(random.sample(HALF, 8))):
        with pytest.raises(LrscopeError, match="train: the stream gives other examples when it is gone through again"):
            as_tensors("train", Stream(drawn))


def pairs_of(places: list[int]) -> list[Pair]:
    return [DATA[i] for i in places]


# -- what is refused -------------------------------------------------------------------------------------------------


def broken_picture() -> Image.Image:
    """A file that is cut off."""
    whole = io.BytesIO()
    Image.new("RGB", (40, 40), (9, 8, 7)).save(whole, "PNG")
    return Image.open(io.BytesIO(whole.getvalue()[:60]))


MODES = {
    "1": (1, 1.0),
    "L": (51, 0.2),
    "LA": ((51, 255), [0.2, 1.0]),
    "RGB": ((51, 0, 255), [0.2, 0.0, 1.0]),
    "RGBA": ((51, 0, 255, 0), [0.2, 0.0, 1.0, 0.0]),
}


@pytest.mark.parametrize("mode", MODES)
def test_pictures_are_read_as_torchvision_reads_them(mode: str) -> None:
    """[C, H, W] from 0 to 1, in a list as well as in a data set."""
    color, channels = MODES[mode]
    picture = Image.new(mode, (3, 2))
    picture.putpixel((2, 1), color)  # column, row
    for given in ([(picture, 0), (picture, 1)], ([picture, picture], [0, 1])):
        x, _ = as_tensors("train", given)
        assert x.dtype == torch.float32
        assert tuple(x.shape) == (2, torch.tensor(channels).numel(), 2, 3)
        torch.testing.assert_close(x[1, :, 1, 2], torch.tensor(channels).reshape(-1))
        assert float(x[1, :, 0, 0].abs().sum()) == 0


WRONG: dict[str, tuple[Any, str]] = {
    "a tensor alone": (X, r"Tensor has no labels beside it: pass the two as \(inputs, labels\)"),
    "an array alone": (X.numpy(), "ndarray has no labels beside it"),
    "a frame alone": (frame(), "DataFrame has no labels beside it"),
    "a dict": ({"x": X, "y": Y}, r"a dict \(x, y\) does not say what is input.*data\['x'\], data\['y'\]"),
    "a number": (3, "int is not readable: pass .inputs, labels. as tensors or arrays, a Dataset or a DataLoader"),
    "nothing": (None, "NoneType is not readable"),
    "a generator": (pairs(), "zip is not readable"),
    "three parts": ((X, X, Y), r"it has 3 parts: pass two, \(inputs, labels\)"),
    "two inputs": (((X, X), Y), "the inputs are 2 arrays side by side: a model gets one tensor, so join them"),
    "two inputs in a list": (([X, X], Y), "the inputs are 2 arrays side by side"),
    "inputs by name": (({"a": X}, Y), r"the inputs are a dict \(a\): a model gets one tensor"),
    "two lists of two": ([[1.0, 2.0], [0, 1]], "may be .inputs, labels. or two examples: write a tuple"),
    "rows with dicts": ([{"x": 1, "y": 0}] * 3, r"example 0 is a dict \(x, y\): pass pairs"),
    "rows of three": ([(1, 2, 3)] * 4, r"example 0 has 3 parts: give \(input, label\)"),
    "rows with two inputs": (Rows(lambda i: ((X[i], X[i]), 0)), "the input of example 0 is several arrays"),
    "rows with words": ([("a b", 0)] * 3, "the inputs of example 0 hold str, which are no numbers"),
    "pictures by palette": (
        [(Image.new("P", (4, 4)), 0)] * 3,
        r"hold pictures of mode P.*: convert them .*convert\('RGB'\)",
    ),
    "pictures as labels": (
        [(X[0], Image.new("L", (4, 4)))] * 3,
        r"the labels of example 0 are pictures, whose pixels may be class numbers .*: pass class numbers by numpy\.array",
    ),
    "pictures by palette as labels": ([(X[0], Image.new("P", (4, 4)))] * 3, "the labels of example 0 are pictures"),
    "pictures as labels in a list": ((X[:2], [Image.new("RGB", (4, 4))] * 2), "the labels are pictures"),
    "pictures as labels of a loader": (
        DataLoader([(X[0], Image.new("L", (4, 4)))] * 3, 3, collate_fn=lambda rows: (X[:3], [y for _, y in rows])),
        "the labels of batch 0 are pictures",
    ),
    "pictures of two sizes": (
        ([Image.new("L", (4, 4)), Image.new("L", (4, 5))], [0, 1]),
        r"differ in shape .\(1, 4, 4\) and \(1, 5, 4\).: crop or pad",
    ),
    "pictures that are broken": ([(broken_picture(), 0)] * 3, "hold a picture that cannot be read .*: repair it"),
    "a fault of the data set's": (Rows(lambda i: {}["no"]), "example 0 cannot be read .KeyError: 'no'.: repair"),
    "no rows": ([], "the data set is empty"),
    "ragged": (([[1.0], [1.0, 2.0]], [0, 1]), "the inputs differ in length or hold no numbers: crop or pad"),
    "ragged tensors": (([X[0], X[1][:3]], [0, 1]), r"the inputs differ in shape \(\(5,\) and \(3,\)\)"),
    "words": ((X, ["a", "b"] * 12), "the labels hold words, such as 'a': number them first, as numpy.unique"),
    "words in an array": ((X, np.array(["a", "b"] * 12)), "the labels hold words"),
    "words in a column": ((frame(), pandas.Series(["a", "b"] * 12)), "the labels hold words"),
    "objects": ((np.array([object()] * 24), Y), r"the inputs hold objects \(object\): pass numbers"),
    "missing": ((X, [None, *Y.tolist()[1:]]), r"the labels hold objects \(NoneType, int\)"),
    "a column that is no number": (
        (frame().assign(city="x"), Y),
        r"the inputs have columns that are no numbers: city \(.*\): encode them .*get_dummies",
    ),
    "rows in another order": (
        (frame().sample(frac=1, random_state=0), pandas.Series(Y.numpy())),
        r"the rows of inputs and labels have different names \(index\)",
    ),
    "dates": ((np.array(["2020-01-01"] * 24, dtype="datetime64[D]"), Y), r"are of type datetime64\[D\]: pass real"),
    "complex": ((X * 1j, Y), "the inputs are complex: pass real numbers"),
    "complex arrays": ((X.numpy() * 1j, Y), "the inputs are complex"),
    "sparse": ((X.to_sparse(), Y), r"the inputs are a sparse_coo tensor: pass them with \.to_dense\(\)"),
    "a sparse matrix": ((scipy.sparse.csr_matrix(X.numpy()), Y), r"are a sparse matrix: pass them with \.toarray\(\)"),
    "without values": ((X.to("meta"), Y), "the inputs are on the meta device"),
    "masked": ((np.ma.masked_less(X.numpy(), 0), Y), "the inputs have masked values: fill them in"),
    "one number": (
        (torch.tensor(1.0), torch.tensor(0)),
        "the inputs are a single number: pass one row for each example",
    ),
    "too large": ((X.double() * 1e300, Y), "the inputs hold values beyond 3.4e38"),
    "too large whole numbers": ((X, np.full(24, 2**64 - 1, dtype=np.uint64)), "the labels hold 18446744073709551615"),
    "lengths": ((X, Y[:5]), "24 inputs but 5 labels"),
    "a data set for inputs": ((DATA, DATA), "the inputs hold TensorDataset, which are no numbers"),
    "a set": (({1, 2}, Y), "the inputs hold set, which are no numbers"),
    "a class": (Rows, "type is not readable"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_read_is_said_in_one_sentence(case: str) -> None:
    given, words = WRONG[case]
    with pytest.raises(LrscopeError, match=f"^train: .*{words}") as caught:
        as_tensors("train", given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("test", "words"),
    [
        (
            (XT.to(torch.uint8), YT),
            "the test inputs are torch.uint8, the train inputs torch.float32: give both one type",
        ),
        ((XT[:, :0], YT), r"the test inputs have shape \(0,\), which holds no numbers"),
        ((XT[:, None], YT), r"the test inputs have shape \(1, 5\), the train inputs \(5,\)"),
        ((XT * float("nan"), YT), r"12 of the test inputs hold NaN or infinity \(the first is number 0\)"),
    ],
)
def test_test_inputs_are_of_the_kind_of_the_training_inputs(test: Any, words: str) -> None:
    with pytest.raises(LrscopeError, match=words):
        Task(model, (X, Y), test)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((frame(), pandas.Series([None, *Y.tolist()[1:]], dtype="Int64")), "1 of the train labels hold NaN"),
        (
            (frame().convert_dtypes().mask(np.tile(np.arange(24)[:, None] > 20, 5)), Y),
            r"3 of the train inputs .* is number 21\)",
        ),
    ],
)
def test_what_is_missing_in_a_frame_is_refused(given: Any, words: str) -> None:
    with pytest.raises(LrscopeError, match=words):
        Task(model, given, (XT, YT))


def test_examples_that_do_not_fit_into_memory_are_refused_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """An example of X and Y has 28 bytes; 10,000 of them are refused where 100,000 bytes may be filled."""
    read: list[int] = []

    class Many(Dataset[Any]):
        def __len__(self) -> int:
            return 10_000

        def __getitem__(self, i: int) -> Any:
            read.append(i)
            return X[i % 24], Y[i % 24]

    for module in ("examples", "loaders"):
        monkeypatch.setattr(f"lrscope.tasks.{module}.memory_for_streams", lambda: 100_000)
    words = r"train: 10,000 examples of .* take .* GB, more than half of this machine's memory .*: pass fewer of them"
    with pytest.raises(LrscopeError, match=words):
        as_tensors("train", Many())
    assert read == [0]
    with pytest.raises(LrscopeError, match=words):
        as_tensors("train", DataLoader(Many(), 5))
    assert len(read) <= 6
    assert len(as_tensors("train", torch.utils.data.Subset(Many(), range(100)))[0]) == 100


def test_a_stream_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "memory_for_streams", lambda: 100_000)
    endless = Stream(lambda: ((X[i % 24], Y[i % 24]) for i in count()))
    with pytest.raises(LrscopeError, match=r"train: the stream has not ended after .* examples, .*islice"):
        as_tensors("train", endless)
    assert len(as_tensors("train", list(islice(endless, 100)))[0]) == 100
    monkeypatch.setattr("lrscope.tasks.loaders.memory_for_streams", lambda: 100_000)
    with pytest.raises(LrscopeError, match=r"train: the stream has not ended after .* batches"):
        as_tensors("train", DataLoader(endless, 5))
    with pytest.raises(LrscopeError, match=r"train: example 24 cannot be read .RuntimeError: broken"):
        as_tensors("train", Stream(broken))
    with pytest.raises(LrscopeError, match="train: the stream is empty"):
        as_tensors("train", Stream(list))


def broken() -> Iterator[Pair]:
    yield from pairs()
    raise RuntimeError("broken\nin two lines")


def test_a_tensor_is_a_copy_whatever_it_came_from() -> None:
    given = X.numpy().copy()
    for value in (given, X, pandas.DataFrame(given), list(given), given[0, 0]):
        tensor = own_tensor("a: it", value)
        before = tensor.clone()
        tensor += 1
        assert torch.equal(own_tensor("a: it", value), before)
