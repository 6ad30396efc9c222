"""Task: what is trained. Data, model factory, loss - nothing of engines or papers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any, cast

import torch
from torch import Tensor, nn

from lrscope.errors import LrscopeError, shown
from lrscope.tasks.bands import as_normalisation
from lrscope.tasks.batches import task as of_batches
from lrscope.tasks.batches.module import Recipe, column
from lrscope.tasks.checks import check_alike, check_data
from lrscope.tasks.data import held_out
from lrscope.tasks.data.dataset import DataSet
from lrscope.tasks.examples import Examples, Pair, as_tensors, batch_size_of
from lrscope.tasks.factory import Drawing
from lrscope.tasks.features import Features, with_features
from lrscope.tasks.groups import given_groups, group_sizes
from lrscope.tasks.identity import attributes, digest
from lrscope.tasks.labels import as_labels, constant_loss
from lrscope.tasks.losses import CLASSIFICATION, LOSSES, Loss, check_loss, name_of, named_loss
from lrscope.tasks.metrics import Metric, checked_metrics, try_metrics
from lrscope.tasks.noise import Noise, noise_of
from lrscope.tasks.outputs import changes_its_input, check_outputs, give_copies
from lrscope.tasks.validation import Size, checked_size, is_size

NOISE_TRIED = (4, 64)  # ours: examples on which the model is run to see whether it draws noise
NOISE_RULE = b"noise: keyed random numbers, 1"  # to be counted up if a run's noise becomes another one


class Task:
    """What is trained: a model factory, training and test examples, a loss.

    Args:
        model: a function without arguments that returns a freshly initialised `nn.Module`; or a module, whose layers
            are then initialised anew for every seed by their `reset_parameters`.
        train: (inputs [N, ...], labels [N, ...]), each a tensor, an array, a data frame or column, or lists of numbers; a
            `Dataset` of (input, label); or a `DataLoader`, which is honoured as given (`tasks.examples`). For a loss of (model,
            batch) examples and batches of any form (`tasks.batches`).
        test: the same for held-out examples.
        loss: `cross_entropy` (class numbers or probabilities [N, K]), `binary_cross_entropy` (one logit; 0, 1 or
            probabilities), `mse`, or a function of (outputs [B, ...], targets [B, ...]) that returns one loss per example [B]. A
            function whose first parameter is called `model` gets the model and a batch, and returns one loss per example [B] or
            their mean [].
        classification: does accuracy make sense? Known for the named losses; must be given for a function of (outputs, targets).
        name: a short name for tables and the report.
        train_groups: a partition of the training examples: a whole number from 0 on for each, in the data's order [N]. Loss
            and accuracy are logged for each group.
        train_group_names: names of the groups 0, 1, ...; left out, their numbers.
        test_groups, test_group_names: the same for the test examples.
        features: modified test sets by name, on which accuracy is measured at the end of every phase: a function of the
            test inputs for each name, or bands and masks of images (`tasks.features.with_features`).
        normalisation: (mean, std) per channel that images [N, C, H, W] were given, for bands; left out, they are taken as
            they are.
        validation: examples to choose by, so that the test set only reports. A fraction of the training examples or a whole
            number of them, which are then held out of training (drawn anew for each data seed); examples of your own in any
            form that `train` takes; 0 for none. None holds out a tenth if that gives at least 500 examples.
        optimizer: a function of (parameters, learning rate) that returns a `torch.optim` optimizer, such as `lambda params, lr:
            torch.optim.NAdam(params, lr)`; sweeps then train with it, one run at a time. It is called before every step, with
            that step's learning rate. Left out, sweeps choose by their option `optimizer`.
        metrics: functions of (outputs [B, ...], labels [B, ...]) by name that return one number per example [B]. Their means over
            the test set are logged beside loss and accuracy, those over the validation set and of averaged weights too. With a
            loss of (model, batch) they are functions of these as well, and may return a mean.

    Raises:
        LrscopeError: data with NaN, sizes that do not match, outputs that do not fit the labels, dropout and the like.
    """

    loader_batch_size: int | None = None  # what a DataLoader of training examples states
    optimizer: Callable[[list[Tensor], float], torch.optim.Optimizer] | None = None
    metrics: Mapping[str, Metric] = MappingProxyType({})
    batches: Recipe | None = None  # of a loss of (model, batch)
    copies_input = False  # the forward pass changes its input in place, so it gets a copy
    _unusual: Mapping[str, object] = MappingProxyType({})  # what numbers depend on beside data, loss and model

    def __init__(
        self,
        model: Callable[[], nn.Module] | nn.Module,
        train: Examples,
        test: Examples,
        loss: str | Loss = "cross_entropy",
        *,
        classification: bool | None = None,
        name: str | None = None,
        train_groups: Tensor | Sequence[int] | None = None,
        train_group_names: Sequence[str] | None = None,
        test_groups: Tensor | Sequence[int] | None = None,
        test_group_names: Sequence[str] | None = None,
        features: Features | None = None,
        normalisation: tuple[Sequence[float], Sequence[float]] | None = None,
        validation: Size | Examples = None,
        optimizer: Callable[[list[Tensor], float], torch.optim.Optimizer] | None = None,
        metrics: Mapping[str, Metric] | None = None,
    ) -> None:
        if classification not in (None, True, False):
            raise LrscopeError(
                f"classification: {shown(classification)} is neither True nor False: pass one, or leave it out"
            )
        if optimizer is not None and not callable(optimizer):
            raise LrscopeError(
                f"optimizer: {shown(optimizer)} is not a function of (parameters, learning rate): pass one, such as "
                "lambda params, lr: torch.optim.NAdam(params, lr)"
            )
        self.optimizer = optimizer
        self.metrics = checked_metrics(metrics)
        named = type(model).__name__ if isinstance(model, nn.Module) else getattr(model, "__name__", "task")
        self.name = str(name or named)
        size, own = (validation, None) if is_size(validation) else (0, validation)
        given = {"train": train, "test": test, **({} if own is None else {"validation": own})}
        if of_batches.takes_model(loss):
            of_batches.refuse(classification=classification, features=features, normalisation=normalisation)
            pairs, labels, classes = self._read_batches(loss, given)
        else:
            self._set_loss(loss, classification)
            pairs = {split: as_tensors(split, examples) for split, examples in given.items()}
            labels, classes = as_labels(self.loss_name, self.classification, {s: y for s, (_, y) in pairs.items()})
        self.loader_batch_size = self._stated_batch_size(train)
        if self.batches is not None:
            size = of_batches.held_out_of(self.batches, cast(Size, size))
        train_x = pairs["train"][0]
        fixed = DataSet(
            name=self.name,
            train_x=train_x,
            train_y=labels["train"],
            test_x=pairs["test"][0],
            test_y=labels["test"],
            classes=classes,
            loss=self.loss_name,
            **given_groups(train_groups, train_group_names, len(labels["train"]), "train"),
            **given_groups(test_groups, test_group_names, len(labels["test"]), "test"),
            normalisation=None if normalisation is None else as_normalisation(normalisation, tuple(train_x.shape[1:])),
        )
        if own is not None:
            fixed = held_out.given(fixed, (pairs["validation"][0], labels["validation"]))
        self._unusual = self._beside(fixed)
        check_data(fixed)
        if features is not None:
            if not self.classification:
                raise LrscopeError(
                    "features: they are measured in accuracy, which a regression has not: leave them out"
                )
            fixed = with_features(fixed, features)
        by_data_seed = held_out.by_data_seed(fixed, checked_size(size))
        self._data: Callable[[int], DataSet] = by_data_seed or (lambda data_seed: fixed)
        self.varies_with_data_seed = by_data_seed is not None
        self.drawing = Drawing.of(model, self._example, self._wrapped)
        self._check_outputs(fixed)

    def _stated_batch_size(self, train: Any) -> int | None:
        """What a loader states; 1 for ready-made batches."""
        return 1 if self.batches is not None and self.batches.source.train.whole else batch_size_of(train)

    def _set_loss(self, loss: str | Loss, classification: bool | None) -> None:
        """A loss of (outputs, labels), by name or as a function."""
        if isinstance(loss, str):
            self.loss, self.loss_name = named_loss(loss), loss
        else:
            if classification is None:
                raise LrscopeError(
                    "classification: not given, and the loss is a function: pass True (accuracy is measured) or False; a loss of "
                    "(model, batch) calls its first parameter model"
                )
            check_loss(loss)
            self.loss, self.loss_name = loss, name_of(loss)
        self.classification = self.loss_name in CLASSIFICATION if classification is None else classification

    def _read_batches(self, loss: Any, given: Mapping[str, Any]) -> tuple[dict[str, Pair], dict[str, Tensor], int]:
        """A loss of (model, batch): numbers of examples in the place of inputs, and labels that nobody reads."""
        check_loss(loss)
        self.batches = of_batches.read(given, loss, cast(Any, self.metrics))
        self.metrics = MappingProxyType(self.batches.columns())
        self.loss, self.loss_name, self.classification = column, name_of(loss), False
        numbers = {split: self.batches.source.numbers(split) for split in given}
        labels = {split: torch.zeros_like(n) for split, n in numbers.items()}
        return {split: (n, labels[split]) for split, n in numbers.items()}, labels, 0

    def _beside(self, fixed: DataSet) -> Mapping[str, object]:
        """What numbers depend on beside data, loss and model, where it is not as usual."""
        found: dict[str, object] = {}
        if self.classification != (self.loss_name in CLASSIFICATION):
            found["classification"] = self.classification
        if fixed.normalisation is not None:
            found["normalisation"] = fixed.normalisation
        if self.optimizer is not None:
            found["optimizer"] = digest(self.optimizer)
        if self.metrics:
            found["metrics"] = [(n, digest(m)) for n, m in self.metrics.items()]
        return found

    @classmethod
    def from_data(
        cls,
        name: str,
        factory: Callable[[], nn.Module],
        data: Callable[[int], DataSet],
        *,
        classification: bool | None = None,
    ) -> Task:
        """A task whose examples, those for validation among them, depend on a data seed: `data(data_seed)` returns them. Whether
        accuracy makes sense is known for the cross-entropies."""
        first = data(0)
        task = cls.__new__(cls)
        task.loss = named_loss(first.loss)
        task.loss_name = first.loss
        usual = first.loss in CLASSIFICATION
        task.classification = usual if classification is None else classification
        if task.classification != usual:
            task._unusual = {"classification": task.classification}
        task.name = name
        cache = {0: first}

        def lookup(data_seed: int) -> DataSet:
            if data_seed not in cache:
                found = data(data_seed)
                try:
                    check_data(found)
                    task._check_outputs(found)
                    check_alike(first, found)
                except LrscopeError as error:
                    raise LrscopeError(f"data seed {data_seed}: {error}") from error
                cache[data_seed] = found
            return cache[data_seed]

        task._data = lookup
        task.varies_with_data_seed = True
        check_data(first)
        task.drawing = Drawing.of(factory, task._example)
        task._check_outputs(first)
        return task

    def data(self, data_seed: int) -> DataSet:
        """The examples for a data seed, on the CPU."""
        return self._data(data_seed)

    @property
    def batch_size(self) -> int | None:
        """Examples per step that a `DataLoader` of training examples states, at most all there are; None where none does."""
        return None if self.loader_batch_size is None else min(self.loader_batch_size, len(self.data(0).train_x))

    def new_model(self, seed: int) -> nn.Module:
        """A model whose initialisation depends on `seed` alone; the global random state is left as it was."""
        model = self._wrapped(self.drawing.draw(seed, self._example))
        if self.copies_input:
            model.register_forward_pre_hook(give_copies)
        return model

    def _wrapped(self, model: nn.Module) -> nn.Module:
        """The model as the engine takes it: of one tensor to one tensor."""
        return model if self.batches is None else self.batches.wrapped(model)

    @cached_property
    def noise(self) -> Noise:
        """What the passes of the model and its loss draw (`tasks.noise`), and the examples as they are fetched."""
        if self.draws_examples:
            return "global"
        data = self.data(0)
        for few in NOISE_TRIED:
            try:
                return noise_of(self.new_model(0), self.loss, data.train_x[:few], data.train_y[:few])
            except Exception:  # a user's code may raise anything, and fewer examples than it wants are one reason
                continue
        return "none"

    @property
    def draws_examples(self) -> bool:
        """Do training examples draw from global generators as they are fetched, as random transforms do?"""
        return self.batches is not None and self.batches.source.draws

    @property
    def _example(self) -> Tensor:
        """One training example [1, ...], for lazy layers."""
        return self.data(0).train_x[:1]

    def _check_outputs(self, data: DataSet) -> None:
        if self.batches is not None:
            groups = data.train_groups is not None or data.test_groups is not None
            of_batches.try_out(self.batches, lambda: of_batches.network(self.new_model(0)), by_example=groups)
            return
        if not self.copies_input:
            self.copies_input = changes_its_input(self.new_model(0), data)
        check_outputs(self.new_model(0), self.loss, self.classification, data)
        if self.metrics:
            try_metrics(self.metrics, self.new_model(0), data)

    def fingerprint(self, data_seeds: Iterable[int]) -> str:
        """A hash of the data, the loss and the model - values and code (`tasks/identity`), the weights of seed 0 - and of
        whether accuracy is measured. Two tasks that share it train alike."""
        sha = hashlib.sha256(self.loss_name.encode())
        for data_seed in data_seeds:
            data = self.data(data_seed)
            for tensor in (data.train_x, data.train_y, data.test_x, data.test_y, data.feature_x):
                if tensor is not None:
                    sha.update(str(tuple(tensor.shape)).encode())
                    sha.update(tensor.contiguous().numpy().tobytes())
            for field, tensor in held_out.fields(data):
                sha.update(repr((field, tuple(tensor.shape))).encode())
                sha.update(tensor.contiguous().numpy().tobytes())
            if data.feature_names:
                sha.update(repr(("features", data.feature_names)).encode())
            if data.train_groups is not None:
                sha.update(repr(data.train_group_names).encode())
                for tensor in (data.train_groups, data.clean_train_y):
                    sha.update(b"none" if tensor is None else tensor.contiguous().numpy().tobytes())
            if data.test_groups is not None:
                sha.update(repr(("test groups", data.test_group_names)).encode())
                sha.update(data.test_groups.contiguous().numpy().tobytes())
        if self._unusual:
            sha.update(repr(sorted(self._unusual.items())).encode())
        if self.loss_name not in LOSSES:
            sha.update(digest(self.loss).encode())
        if self.noise == "keyed":
            sha.update(NOISE_RULE)
        model = of_batches.network(self.new_model(0))
        if self.batches is not None:
            sha.update(repr(of_batches.identity(self.batches)).encode())
        if not _own(model):
            sha.update(self._digest(model).encode())
            return sha.hexdigest()[:16]
        sha.update(repr(model).encode())
        for name, value in model.state_dict().items():
            sha.update(name.encode())
            sha.update(value.detach().cpu().contiguous().to(torch.float64).numpy().tobytes())
        return sha.hexdigest()[:16]

    def _digest(self, model: nn.Module) -> str:
        """The digest of a model of seed 0; refused where another one's is another, as its sweep would not be known again."""
        ours, again = digest(model), of_batches.network(self.new_model(0))
        if ours == digest(again):
            return ours
        one, other = attributes(model), attributes(again)
        names = ", ".join(n for n in one if one[n] != other.get(n)) or "something that it holds"
        raise LrscopeError(
            f"model: {names} is another one at each call under one seed, so a finished sweep would not be known again: leave it "
            "out of the model, or make it depend on the seed alone"
        )

    def summary(self) -> dict[str, Any]:
        """JSON-ready description: name, kind, classes, shapes, sizes."""
        data = self.data(0)
        return {
            "name": self.name,
            "kind": "classification" if self.classification else "regression",
            "loss": self.loss_name,
            "classes": data.classes,
            "input_shape": list(data.train_x.shape[1:]),
            **({} if self.batches is None else {"batch": of_batches.summary(self.batches)}),
            "train_size": len(data.train_x),
            "test_size": len(data.test_x),
            "validation": held_out.summary(data),
            "probes": 0 if data.feature_x is None else len(data.feature_x),
            **({"metrics": list(self.metrics)} if self.metrics else {}),
            **self._example_groups(data),
            **self._constant_prediction(data),
        }

    def _repr_html_(self) -> str:
        """The summary as a notebook shows it."""
        from lrscope.notebook import task_html

        return task_html(self.summary())

    def _example_groups(self, data: DataSet) -> dict[str, Any]:
        """Sizes of the example groups; whether labels from before label noise are known."""
        train = group_sizes(data.train_groups, data.train_group_names)
        test = group_sizes(data.test_groups, data.test_group_names)
        return {
            **({"example_groups": train} if train else {}),
            **({"true_labels": True} if train and data.clean_train_y is not None else {}),
            **({"test_groups": test} if test else {}),
        }

    def _constant_prediction(self, data: DataSet) -> dict[str, float]:
        """Training loss of the best constant prediction, for named cross-entropies: what guessing gets."""
        found = constant_loss(data.loss, data.train_y)
        return {} if found is None else {"constant_loss": found}


def _own(model: nn.Module) -> bool:
    """Is it one of lrscope's own models, whose text says all that its weights do not?"""
    own = type(model).__module__.startswith("lrscope.")
    return own and all(type(m).__module__.startswith(("lrscope.", "torch.nn.modules.")) for m in model.modules())
