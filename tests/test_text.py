"""Texts: AG News in its true format, Debian's fortunes, words to numbers, the transformer, and a sweep of it."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import data_files
from lrscope.config import SweepConfig
from lrscope.config.settings import TEXTS, load_settings
from lrscope.engine.backends.cpp.values import NotFusible
from lrscope.engine.step import StepInputs, StepState
from lrscope.errors import LrscopeError
from lrscope.tasks.builtin import named_task
from lrscope.tasks.data import DataSet, ag_news, describe, fetch, fortunes, load, names, spec
from lrscope.tasks.data.text import FIRST, PAD, UNKNOWN, encode, vocabulary, words
from lrscope.tasks.models import build
from lrscope.tasks.task import Task
from lrscope.tasks.transformer import Transformer
from system_deps import require_system
from tiny_tasks import BATCHED, ONE_RUN, SINGLE, computed, context_of, drawn, train
from trees import arrays

# -- words -----------------------------------------------------------------------------------------------------------


def test_words_and_vocabulary() -> None:
    assert words("The Fed's 3rd rate-hike, 2004 - O'Reilly_x \u00c9t\u00e9") == [
        *("the", "fed's", "3rd", "rate", "hike", "2004", "o'reilly", "x", "\u00e9t\u00e9")
    ]
    known = vocabulary([["b", "a", "c"], ["b", "c"], ["d", "b"]], size=5)
    assert known == {"b": FIRST, "c": FIRST + 1, "a": FIRST + 2}, "by frequency, then alphabet; two numbers are taken"
    assert encode(["b", "zebra", "a"], known, 5) == [2, UNKNOWN, 4, PAD, PAD]
    assert encode(["c"] * 9, known, 3) == [3, 3, 3]
    assert encode([], known, 2) == [UNKNOWN, PAD]


# -- AG News -----------------------------------------------------------------------------------------------------------

NEWS = {
    "train.csv": '"3","Wall St. Bears Claw Back (Reuters)","Reuters - Short-sellers, Wall Street\'s dwindling\\band."\n'
    '"1","He said ""no""","A quake #39;s toll &lt;b&gt; rose"\n'
    '"2","Cup final","Goals, goals, goals"\n'
    '"4","Chips","Faster goals"\n',
    "test.csv": '"4","Zebra chips","goals"\n"2","Final","?"\n',
}


@pytest.fixture
def news(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a tiny AG News."""
    monkeypatch.setenv("LRSCOPE_DATA", str(tmp_path))
    (tmp_path / "ag-news").mkdir()
    for name, content in NEWS.items():
        (tmp_path / "ag-news" / name).write_text(content, encoding="utf-8")
    return tmp_path / "ag-news"


def test_ag_news_is_read_as_it_is_published(news: Path) -> None:
    texts, labels = ag_news.read(news / "train.csv", 4, "")
    assert labels.tolist() == [2, 0, 1, 3]
    assert words(texts[0])[-4:] == ["wall", "street's", "dwindling", "band"]
    assert words(texts[1]) == ["he", "said", "no", "a", "quake's", "toll", "b", "rose"]
    data = load("ag-news")
    assert (data.train_x.shape, data.test_x.shape) == ((4, 64), (2, 64))
    assert (data.train_y.tolist(), data.test_y.tolist()) == ([2, 0, 1, 3], [3, 1])
    goals = FIRST  # the most frequent word of the training texts
    assert (data.train_x[2] == goals).sum() == 3
    assert data.test_x[0].tolist()[:4] == [UNKNOWN, int(data.train_x[3, 0]), goals, PAD], "zebra is in no training text"


def test_ag_news_keeps_its_test_set_and_draws_its_training_set(news: Path) -> None:
    one, other = (load("ag-news", data_seed=seed, train_size=2) for seed in (0, 1))
    assert len(one.train_x) == 2
    assert torch.equal(one.test_y, other.test_y)
    assert len({tuple(load("ag-news", data_seed=s, train_size=2).train_y.tolist()) for s in range(8)}) > 1
    with pytest.raises(LrscopeError, match=r"train_size: 5 .* from 1 to 4, all that 'ag-news' has"):
        load("ag-news", train_size=5)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ('"5","a","b"\n', r"record 1 is not class 1 to 4, title, description"),
        ('"1","a","b"\n"2","a"\n', "record 2 is not"),
        ("class,title,description\n", "record 1 is not"),
        ('"1","a","b\n', "unexpected end of data"),
        ("", "it is empty"),
        (b'"1","\xff","b"\n', "can't decode byte"),
    ],
)
def test_damaged_news_are_named(news: Path, content: str | bytes, why: str) -> None:
    (news / "test.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(LrscopeError, match=rf"ag-news/test\.csv is damaged .*{why}.*run `lrscope data fetch ag-news`"):
        load("ag-news")


def test_missing_news_are_fetched_on_request_alone(news: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    online = {name: content.encode() for name, content in NEWS.items()}
    asked = data_files.serve(monkeypatch, online)
    (news / "test.csv").unlink()
    assert not row("ag-news").available
    with pytest.raises(LrscopeError, match=r"'ag-news' is not in .*; run `lrscope data fetch ag-news`"):
        load("ag-news")
    assert asked == []
    with pytest.raises(LrscopeError, match="could not be downloaded"):  # not the official files
        fetch("ag-news")
    monkeypatch.setattr(ag_news, "SUMS", {name: data_files.md5(content) for name, content in online.items()})
    assert fetch("ag-news") == f"ag-news is in {news}"
    assert len(load("ag-news").test_x) == 2
    asked.clear()
    fetch("ag-news")
    assert asked == []


def row(name: str) -> Any:
    return next(row for row in describe() if row.name == name)


# -- fortunes ------------------------------------------------------------------------------------------------------------


def test_fortunes_are_cookies_between_percent_signs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fortunes, "SYSTEM", tmp_path)
    for number, topic in enumerate(fortunes.TOPICS):
        (tmp_path / topic).write_text(f"One {topic},\n100% of it\n%\nTwo\n%\n%\nThree of {number}\n%\nsame\n%\n")
    texts, labels = fortunes.cookies()
    assert texts[:2] == ["One computers,\n100% of it", "Three of 0"], "those that occur twice are left out"
    assert labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    data = load("fortunes", train_size=5)
    assert (len(data.train_x), len(data.test_x)) == (5, 3)
    (tmp_path / "people").write_bytes(b"\xff\n%\n")
    with pytest.raises(LrscopeError, match=r"people is damaged .*; run `sudo apt-get install --reinstall fortunes`"):
        load("fortunes")
    (tmp_path / "people").unlink()
    assert not row("fortunes").available
    for call in (load, fetch):
        with pytest.raises(LrscopeError, match=r"'fortunes' is not in .*; run `sudo apt-get install fortunes`$"):
            call("fortunes")


@cache
def real(data_seed: int = 0, **options: Any) -> DataSet:
    require_system("/usr/share/games/fortunes/people", "fortunes")
    return load("fortunes", data_seed=data_seed, **options)


@pytest.mark.slow
def test_debians_fortunes() -> None:
    data, again, other = real(), load("fortunes"), real(1)
    assert data.train_x.shape == (3072, 32)
    assert data.test_x.shape == (1024, 32)
    assert data.train_x.dtype == torch.int64
    assert torch.equal(data.train_x, again.train_x)
    assert not torch.equal(data.train_x, other.train_x)
    assert int(data.train_x.max()) == spec("fortunes").vocabulary - 1
    assert int(data.test_x.max()) < spec("fortunes").vocabulary
    shares = torch.bincount(torch.cat([data.train_y, data.test_y]), minlength=4) / 4096
    assert shares.min() > 0.1
    assert shares.max() < 0.35
    assert torch.equal(load("fortunes", train_size=100).test_y, data.test_y), "test texts do not depend on train_size"
    noisy = load("fortunes", label_noise=0.5)
    assert noisy.train_group_names == ("clean", "corrupted")
    with pytest.raises(LrscopeError, match="pool=2 needs images"):
        load("fortunes", pool=2)


# -- the model -------------------------------------------------------------------------------------------------------------


def net() -> Any:
    return drawn(partial(Transformer, 20, 6, 3)).double()


X = torch.tensor([[5, 3, 9, PAD, PAD, PAD], [2, 2, 19, 4, 1, 7], [8, PAD, PAD, PAD, PAD, PAD]])


def test_its_size_is_the_papers() -> None:
    make = partial(build, "transformer", outputs=4)
    model = drawn(partial(make, data="fortunes", shape=(32,), width=None))
    assert isinstance(model, Transformer)
    assert model.words.weight.shape == (2048, 32)
    assert model.attention.query.weight.shape == (32, 32)
    assert [m.normalized_shape for m in model.feed_forward.modules() if isinstance(m, torch.nn.LayerNorm)] == [
        (128,),
        (32,),
    ]
    other = drawn(partial(make, data="ag-news", shape=(64,), width=8))
    assert other.words.weight.shape == (4096, 8)


def test_padding_changes_nothing() -> None:
    """Neither more of it nor what the embedding of padding is."""
    model = net()
    expected = model(X)
    longer = drawn(partial(Transformer, 20, 9, 3)).double()
    longer.load_state_dict({k: v for k, v in model.state_dict().items() if k != "positions"}, strict=False)
    torch.testing.assert_close(longer(torch.nn.functional.pad(X, (0, 3))), expected)
    with torch.no_grad():
        model.words.weight[PAD] = torch.arange(32)  # a constant would be lost in the layer norms
    torch.testing.assert_close(model(X), expected)
    with torch.no_grad():
        model.words.weight[5] *= -1
    assert not torch.allclose(model(X)[0], expected[0])


def test_texts_of_a_batch_do_not_meet_but_words_have_places() -> None:
    model = net()
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(model(X[order]), model(X)[order])
    assert not torch.allclose(model(X[1:2]), model(X[1:2].flip(1)))


def test_each_feed_forward_layer_has_its_norm_behind_it() -> None:
    """The scaling below alone would not miss the inner one: ReLU is homogeneous and the outer norm comes after it."""
    model, called = net(), []
    for name, module in model.feed_forward.named_children():
        module.register_forward_hook(lambda *_, name=name: called.append(name))
    model(X)
    assert called == ["inner", "inner_norm", "outer", "outer_norm"]


@pytest.mark.parametrize("name", ["inner", "outer"])
def test_feed_forward_weights_are_scale_invariant(name: str) -> None:
    """What the extra layer norms are for; attention and embeddings are not."""
    model = net()
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = 1e-30
    expected = model(X)
    with torch.no_grad():
        getattr(model.feed_forward, name).weight.mul_(7.0)
    torch.testing.assert_close(model(X), expected)
    with torch.no_grad():
        model.attention.query.weight.mul_(7.0)
    assert not torch.allclose(model(X), expected)


@pytest.mark.parametrize(
    ("data", "model", "message"),
    [
        ("fortunes", "mlp", "model: 'mlp' needs numbers, but data 'fortunes' is text: use model transformer"),
        (
            "fortunes",
            "convnet",
            r"'convnet' needs images, but data 'fortunes' has shape \(32,\): use model transformer",
        ),
        ("digits", "transformer", "model: 'transformer' needs text, but data 'digits' is none: use model mlp"),
    ],
)
def test_models_and_data_that_do_not_fit(data: str, model: str, message: str) -> None:
    with pytest.raises(LrscopeError, match=message):
        build(model, data=data, shape=spec(data).shape, outputs=4, width=None)


# -- trained ---------------------------------------------------------------------------------------------------------------

CONFIG = SweepConfig(
    lrs=(3e-2, 1e-1),
    seeds=1,
    steps=6,
    batch_size=8,
    space="whole",
    momentum=0.9,  # three_regimes' Transformer, as the weight decay
    weight_decay=1e-3,
    random_points=2,
)


def made_up(count: int, key: int) -> tuple[Tensor, Tensor]:
    """Texts [N, 6] of words below 20; the label is the rest of the first word by 3."""
    x = torch.randint(FIRST, 20, (count, 6), generator=torch.Generator().manual_seed(key))
    y = x[:, 0] % 3
    x[torch.arange(6) >= 1 + torch.arange(count)[:, None] % 6] = PAD
    return x, y


def text_task(**options: Any) -> Task:
    return Task(partial(Transformer, 20, 6, 3, width=8), made_up(48, 0), made_up(20, 1), name="texts", **options)


@pytest.mark.slow
def test_batched_and_single_agree(tmp_path: Path) -> None:
    """With integers as inputs, through every phase, to rtol 1e-9."""
    config = replace(CONFIG, precision="float64", finetune_lrs=(1e-2,), finetune_steps=6, average=(2,), average_every=3)
    task = text_task(train_groups=torch.arange(48) % 2)
    batched = train(task, config, BATCHED)
    single = computed(task, config, ONE_RUN, tmp_path)
    for name, array in arrays(single).items():
        if name != "seconds":
            np.testing.assert_allclose(array, batched[name], rtol=1e-9, atol=1e-12, err_msg=str(name))


def test_the_sphere_and_augmentation_are_refused() -> None:
    with pytest.raises(
        LrscopeError,
        match=r"cannot be made scale-invariant, only 2 of .*: outputs change when words, attention.*--space whole",
    ):
        train(text_task(), SweepConfig(lrs=(1e-2,), steps=2, batch_size=8))
    with pytest.raises(LrscopeError, match="augment: crops and flips need images"):
        train(text_task(), replace(CONFIG, augment=True))


def test_generated_code_leaves_it_to_another_path(tmp_path: Path) -> None:
    """Asked for compiled steps of our own generator, the net is refused as any that it does not know."""
    context = context_of(text_task(), CONFIG, tmp_path, SINGLE)
    material = context.material(0)
    weights, frozen = material.initial_weights([1, 2])
    program = context.program("batched", True, True)
    state = StepState(
        weights,
        program.optimizer.init(weights),
        material.squares(weights),
        torch.zeros(2, 5 + 2 * len(context.net.groups)),
    )
    index = torch.arange(16).view(1, 2, 8)
    with pytest.raises(NotFusible):
        program.steps(
            state,
            StepInputs(frozen, material.train_x, material.train_y, torch.ones(1, 2), weights.norm(dim=1), index),
        )


@pytest.mark.slow
def test_fortunes_are_learned_above_chance() -> None:
    require_system("/usr/share/games/fortunes/people", "fortunes")
    task = named_task("fortunes", "transformer", train_size=1024, test_size=512)
    config = replace(CONFIG, lrs=(1e-1,), steps=None, epochs=3, batch_size=32)
    result = train(task, config, SINGLE)
    guess = float(torch.bincount(task.data(0).test_y).max()) / 512
    assert result["pretrain/test_accuracy"].values[0, 0, 0, -1] > guess + 0.1
    assert result["pretrain/test_loss"].values[0, 0, 0, -1] < json.loads(result.attrs["task"])["constant_loss"]


# -- the command line ------------------------------------------------------------------------------------------------------


def test_settings_know_the_texts() -> None:
    assert tuple(name for name in names() if spec(name).is_text) == TEXTS
    for name in TEXTS:
        assert load_settings(None, {"data": name}).model == "transformer"
    assert {row.name for row in describe() if len(row.shape) == 1} == {"ticks", *TEXTS}
