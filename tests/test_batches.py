"""Losses of (model, batch): batches of any form train as a loop written by hand does, N examples in memory."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

import lrscope
from batch_tasks import (
    LONGEST,
    PLANS,
    SWEEP,
    TEST,
    TESTED,
    TRAIN,
    WORDS,
    Bag,
    Lstm,
    N,
    Rows,
    as_dict,
    by_words,
    check_by_hand,
    error,
    loss_each,
    mean_loss,
    task,
)
from lrscope.errors import LrscopeError
from lrscope.measures import sharpness
from lrscope.tasks.models import MLP
from lrscope.tasks.task import Task
from lrscope.trained import Trained
from tiny_tasks import (
    ALL_RUNS,
    BASE,
    BATCHED,
    CLASSES,
    ONE_RUN,
    SINGLE,
    computed,
    mlp_task,
    same_bytes,
    stopped_and_resumed,
    train,
)


@pytest.mark.parametrize("engine", [BATCHED, SINGLE], ids=lambda engine: engine.path)
@pytest.mark.parametrize("loss", [mean_loss, loss_each, by_words], ids=lambda f: f.__name__)
def test_it_trains_as_a_loop_by_hand(loss: Any, engine: Any, tmp_path: Path) -> None:
    """Means over the batch, losses of examples, and a mean over something else: 72 test examples are blocks of 64 and 8."""
    made = task(loss=loss)
    check_by_hand(train(made, SWEEP, engine, tmp_path), made, Bag, loss, tmp_path)


def test_a_packed_lstm_trains_as_a_loop_by_hand(tmp_path: Path) -> None:
    made = task(Lstm)
    check_by_hand(train(made, SWEEP, SINGLE, tmp_path), made, Lstm, mean_loss, tmp_path)


def test_a_metric_is_a_mean_over_the_test_examples(tmp_path: Path) -> None:
    made = task(metrics={"error": error, "nats": mean_loss}, validation=TEST)
    found = computed(made, SWEEP, ALL_RUNS, tmp_path)
    np.testing.assert_allclose(
        found["pretrain/test_metric"].sel(metric="nats"), found["pretrain/test_loss"], rtol=1e-12
    )
    np.testing.assert_allclose(
        found["pretrain/validation_metric"], found["pretrain/test_metric"].isel(epoch=-1), rtol=1e-12
    )
    wrong = found["pretrain/test_metric"].sel(metric="error") * TESTED
    np.testing.assert_allclose(wrong, wrong.round(), atol=1e-9)


# -- forms ----------------------------------------------------------------------------------------------------------------


def of_lists(index: int) -> dict[str, Any]:
    return {name: tensor[index].tolist() for name, tensor in TRAIN.items()}


FORMS: dict[str, Callable[[], Any]] = {
    "arrays": lambda: {name: tensor.numpy() for name, tensor in TRAIN.items()},
    "lists": lambda: {name: tensor.tolist() for name, tensor in TRAIN.items()},
    "examples": lambda: [as_dict(i) for i in range(N)],
    "a data set": lambda: Rows(of_lists),
    "a loader": lambda: DataLoader(Rows(as_dict), 5, shuffle=True),
    "a loader with an own collate_fn": lambda: DataLoader(
        Rows(as_dict), 8, collate_fn=lambda items: {name: torch.stack([i[name] for i in items]) for name in TRAIN}
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_the_same_examples_are_the_same_task(form: str) -> None:
    made = task(train=FORMS[form]())
    assert made.batches is not None
    assert made.batches.source.by_run == ""
    assert made.batches.source.digest() == task().batches.source.digest()  # type: ignore[union-attr]


def test_a_batch_has_the_form_of_the_examples() -> None:
    seen: list[Any] = []

    def loss(model: nn.Module, batch: Any) -> Tensor:
        seen.append(batch)
        (words, weight), rest = batch
        out: Tensor = model(words, weight, rest["lengths"])["logits"]
        return functional.cross_entropy(out, rest["label"])

    def nested(data: dict[str, Tensor]) -> Any:
        return (data["words"], data["weight"]), {name: data[name] for name in ("lengths", "label")}

    task(loss=loss, train=nested(TRAIN), test=nested(TEST))
    (words, weight), rest = seen[0]
    assert type(seen[0]) is tuple
    assert (words.dtype, weight.dtype, rest["label"].dtype) == (torch.int64, torch.float32, torch.int64)


def test_a_loader_of_pairs_goes_with_arrays_side_by_side() -> None:
    """PyTorch's default_collate makes lists of tuples."""

    def loss(model: nn.Module, batch: Any) -> Tensor:
        assert type(batch) is tuple
        words, label = batch
        return functional.cross_entropy(model(words), label)

    def pairs(data: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        return data["weight"][:, None], data["label"]

    loader = DataLoader(Rows(lambda i: tuple(part[i] for part in pairs(TRAIN))), 8)
    made = Task(partial(nn.Linear, 1, 2), loader, pairs(TEST), loss)
    assert made.fingerprint([0]) == Task(partial(nn.Linear, 1, 2), pairs(TRAIN), pairs(TEST), loss).fingerprint([0])


def test_the_loaders_batch_size_is_the_sweeps() -> None:
    assert task(train=FORMS["a loader"]()).batch_size == 5


def test_examples_are_held_out_for_validation() -> None:
    made = task(validation=8)
    data = made.data(0)
    assert (len(data.train_x), len(data.validation_x)) == (N - 8, 8)  # type: ignore[arg-type]
    assert sorted([*data.train_x.tolist(), *data.validation_x.tolist()]) == list(range(N))  # type: ignore[union-attr]


def test_on_the_sphere_it_is_the_task_of_inputs_and_labels(tmp_path: Path) -> None:
    """Its invariance is found by its losses, and its batch norms have population statistics."""
    whole = mlp_task()
    data = whole.data(0)
    train_batch, test_batch = {"x": data.train_x, "y": data.train_y}, {"x": data.test_x, "y": data.test_y}
    made = Task(
        partial(MLP, (5, 8, 6, CLASSES)),
        train_batch,
        test_batch,
        lambda model, batch: functional.cross_entropy(model(batch["x"]), batch["y"]),
    )
    config = replace(BASE, precision="float64")
    ours, theirs = (computed(t, config, ALL_RUNS, tmp_path / t.name) for t in (made, whole))
    for node in ("pretrain", "finetune", "average"):
        for name in ("train_loss", "test_loss"):
            np.testing.assert_allclose(ours[f"{node}/{name}"], theirs[f"{node}/{name}"], rtol=1e-9)


def test_measures_of_trained_runs_are_those_of_inputs_and_labels(tmp_path: Path) -> None:
    """Gradient norms and curvature at the end of a run."""
    x = {split: data["weight"][:, None] for split, data in (("train", TRAIN), ("test", TEST))}
    y = {split: data["label"] for split, data in (("train", TRAIN), ("test", TEST))}
    model = partial(MLP, (1, 4, 2), norm="layer")
    pairs = Task(model, (x["train"], y["train"]), (x["test"], y["test"]))
    dicts = Task(
        model,
        *({"x": x[split], "y": y[split]} for split in ("train", "test")),
        lambda model, batch: functional.cross_entropy(model(batch["x"]), batch["y"]),
    )
    found = []
    for name, made in (("pairs", pairs), ("dicts", dicts)):
        train(made, SWEEP, BATCHED, tmp_path / name)
        trained = Trained.open(tmp_path / name, made)
        state = trained.state(lr=0.5, seed=1)
        found.append(sharpness.of(trained, state, measures=("grad_norm", "grad_trace", "hessian")))
    for name, value in found[0].items():
        np.testing.assert_allclose(found[1][name], value, rtol=1e-6, err_msg=name)


# -- noise, kills, identity -------------------------------------------------------------------------------------------------


def dropping() -> nn.Module:
    return Bag(0.4)


def test_dropout_is_the_runs_own_in_any_plan(tmp_path: Path) -> None:
    made = task(dropping)
    assert made.noise == "keyed"
    found = [computed(made, SWEEP, plan, tmp_path / name) for name, plan in PLANS.items()]
    np.testing.assert_allclose(*(f["pretrain/train_loss"] for f in found), rtol=1e-9)
    plain = computed(task(), SWEEP, ALL_RUNS, tmp_path / "plain")
    assert (found[0]["pretrain/train_loss"] != plain["pretrain/train_loss"]).all()


@pytest.mark.parametrize("plan", PLANS)
def test_a_stopped_sweep_goes_on_to_the_same_bytes(plan: str, tmp_path: Path) -> None:
    unbroken = computed(task(dropping), SWEEP, PLANS[plan], tmp_path / "unbroken")
    broken = stopped_and_resumed(lambda: task(dropping), SWEEP, PLANS[plan], tmp_path / "broken", 5)
    assert same_bytes(broken, unbroken) == []


def test_examples_loss_and_metrics_make_the_task() -> None:
    other = copy.deepcopy(TRAIN)
    other["weight"][3] += 1
    tasks = [task(), task(), task(train=other), task(loss=loss_each), task(metrics={"error": error})]
    prints = [made.fingerprint([0]) for made in tasks]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 4


def test_groups_of_examples_have_losses_of_their_own(tmp_path: Path) -> None:
    made = task(loss=loss_each, train_groups=TRAIN["label"])
    found = computed(made, SWEEP, ALL_RUNS, tmp_path)["pretrain"].ds
    assert (
        found["example_group_loss"].isel(example_group=0) != found["example_group_loss"].isel(example_group=1)
    ).all()


# -- Hugging Face -----------------------------------------------------------------------------------------------------------


def bert() -> nn.Module:
    from transformers import BertConfig, BertForSequenceClassification

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    return BertForSequenceClassification(BertConfig(vocab_size=WORDS, max_position_embeddings=LONGEST, **sizes))


def gpt2() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    ends = {"bos_token_id": 0, "eos_token_id": 0, "attn_implementation": "eager"}
    return GPT2LMHeadModel(GPT2Config(vocab_size=WORDS, n_positions=LONGEST, n_embd=8, n_layer=1, n_head=2, **ends))


def own_loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    found: Tensor = model(**batch).loss
    return found


def transformer(make: Callable[[], nn.Module]) -> Task:
    """Classes of texts (BERT), or their next words."""

    def data(given: dict[str, Tensor]) -> dict[str, Tensor]:
        shown = (given["words"] > 0).long()
        labels = given["label"] if make is bert else given["words"].masked_fill(shown == 0, -100)
        return {"input_ids": given["words"], "attention_mask": shown, "labels": labels}

    return Task(make, data(TRAIN), data(TEST), own_loss)


@pytest.mark.slow
@pytest.mark.parametrize("make", [bert, gpt2], ids=lambda f: f.__name__)
def test_a_transformer_gets_its_dict(make: Callable[[], nn.Module], tmp_path: Path) -> None:
    """With attention masks, tied weights (GPT-2) and dropout; a language model's mean is over words."""
    pytest.importorskip("transformers")
    made = transformer(make)
    assert made.noise == "keyed"
    config = replace(SWEEP, precision="float32", lrs=(0.3,), seeds=1, steps=12)
    found = computed(made, config, ONE_RUN, tmp_path)["pretrain"].ds
    assert float(found["train_loss"][..., -1].mean()) < float(found["train_loss"][..., 0].mean())
    assert made.fingerprint([0]) == transformer(make).fingerprint([0])


@pytest.mark.slow
def test_a_decoder_without_fast_attention_trains_in_batches(tmp_path: Path) -> None:
    """Its dropout is the same in both plans; the library computes losses in float32."""
    pytest.importorskip("transformers")
    config = replace(SWEEP, precision="float32", steps=4)
    found = [computed(transformer(gpt2), config, plan, tmp_path / name) for name, plan in PLANS.items()]
    for name in ("train_loss", "test_loss"):
        np.testing.assert_allclose(*(f["pretrain"][name] for f in found), rtol=1e-5)


# -- refused ----------------------------------------------------------------------------------------------------------------


def summed(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return loss_each(model, batch).sum()


def detached(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return mean_loss(model, batch).detach()


def of_outputs(model: nn.Module, batch: dict[str, Tensor]) -> Any:
    return {"loss": mean_loss(model, batch)}


def twice(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return loss_each(model, batch).repeat(2)


OUTSIDE = Bag()


def of_another(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return mean_loss(model, dict(batch)) + mean_loss(OUTSIDE, batch)


def unknown_key(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return mean_loss(model, {"label": batch["labels"]})


UNEVEN = {name: tensor[: N - 1] if name == "label" else tensor for name, tensor in TRAIN.items()}
BROKEN = {**TRAIN, "weight": torch.full((N,), torch.nan)}
ACCURACY = {"classification": True}

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a sum": ({"loss": summed}, "loss: it returns the sum over the batch's examples: return their mean"),
    "no gradient": ({"loss": detached}, r"loss: it has no gradient .*leave out torch.no_grad, .detach\(\)"),
    "no tensor": (
        {"loss": of_outputs},
        "loss: it returned dict for a batch of 4: return the mean over the batch or one",
    ),
    "another length": ({"loss": twice}, r"loss: it returned shape \(8,\) for a batch of 4"),
    "another model": ({"loss": of_another}, "loss: it computes with parameters that train"),
    "a wrong key": (
        {"loss": unknown_key},
        r"loss: in eval mode .*KeyError: 'labels'.* the batch is batch\['words'\] \[4, 6\]",
    ),
    "accuracy": (ACCURACY, r"classification: accuracy cannot be read off .* metrics=\{'accuracy': lambda model, batch"),
    "a metric of outputs": (
        {"metrics": {"error": lambda outputs, labels: labels}},
        "metrics: error does not take the model",
    ),
    "features": ({"features": {"a": lambda x: x}}, "features: feature sets are versions of one tensor"),
    "lengths": ({"train": UNEVEN}, r"train: its parts differ in length \(batch\['words'\] 32, .*batch\['label'\] 31\)"),
    "NaN": ({"train": BROKEN}, r"32 of the train examples' batch\['weight'\] hold NaN"),
    "other keys": ({"test": {"words": TEST["words"]}}, r"test: its examples hold batch\['words'\], those of train"),
    "other types": (
        {"test": {**TEST, "weight": TEST["label"]}},
        r"test: batch\['weight'\] is torch.int64 .*torch.float32",
    ),
    "words": ({"train": {**TRAIN, "text": ["a"] * N}}, r"train: batch\['text'\] hold words"),
    "arrays in a list": (
        {"train": [TRAIN["words"], TRAIN["label"]]},
        "train: a list of 2 arrays may be columns or examples",
    ),
    "several lengths": (
        {"train": Rows(lambda i: {"words": TRAIN["words"][i, : 2 + i % 2]})},
        "differ in shape .*or pass a DataLoader whose collate_fn pads",
    ),
    "other parts": (
        {"train": Rows(lambda i: as_dict(i) if i else {"words": TRAIN["words"][0]})},
        r"train: example 1 holds batch\['words'\], .* example 0 batch\['words'\]: give all",
    ),
    "no data": ({"train": 3}, "train: int is not readable: pass a dict or tuple of arrays"),
    "groups of a mean": ({"train_groups": TRAIN["label"]}, "loss: it returns one number for a batch, and groups"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_honoured_is_refused(case: str) -> None:
    options, words = REFUSED[case]
    with pytest.raises(LrscopeError, match=words) as caught:
        task(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "examples", [TRAIN, [as_dict(0)], DataLoader(Rows(as_dict), 4)], ids=["dict", "list", "loader"]
)
def test_a_loss_of_outputs_says_how_dicts_are_trained_on(examples: Any) -> None:
    with pytest.raises(LrscopeError, match=r"or write the loss as loss\(model, batch\)"):
        lrscope.Task(Bag, examples, examples, loss="cross_entropy")
    with pytest.raises(LrscopeError, match=r"a loss of \(model, batch\) calls its first parameter model$"):
        lrscope.Task(Bag, examples, examples, loss=lambda net, batch: mean_loss(net, batch))  # type: ignore[misc,arg-type]
