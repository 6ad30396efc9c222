"""SphereSGD and OnSphere: their rules against literal twins, and the patterns that every optimizer of PyTorch keeps to."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler as schedulers

import lrscope
from lrscope.dynamics.optimizers import SGD
from lrscope.dynamics.sphere import project
from lrscope.optim.spheres import KINDS, norms, tolerance
from sphere_problems import SHAPES, copies, descend, fill, gradients, invariant_loss, near, same, weights

Make = Callable[[Any], torch.optim.Optimizer]
HALF = (torch.float16, torch.bfloat16)
SMALL = {"eps": 1e-4}  # the default of 1e-8 is zero in float16, and Adam then divides zero by zero
# What the patterns are tried with; the learning rate of each moves weights well.
RESTING: dict[str, Make] = {
    "SphereSGD": lambda p: lrscope.SphereSGD(p, lr=0.05),
    "SphereSGD momentum": lambda p: lrscope.SphereSGD(p, lr=0.02, momentum=0.9, nesterov=True),
    "SphereSGD hyperball": lambda p: lrscope.SphereSGD(p, lr=0.05, hyperball=True),
    "SphereSGD row": lambda p: lrscope.SphereSGD(p, lr=0.05, sphere="row"),
    "SphereSGD group": lambda p: lrscope.SphereSGD(p, lr=0.05, sphere="group"),
    "SGD": lambda p: lrscope.OnSphere(torch.optim.SGD(p, lr=0.3, momentum=0.9)),
    "AdamW": lambda p: lrscope.OnSphere(torch.optim.AdamW(p, lr=0.02, weight_decay=0, **SMALL)),
    "AdamW hyperball": lambda p: lrscope.OnSphere(
        torch.optim.AdamW(p, lr=0.02, weight_decay=0, **SMALL), hyperball=True
    ),
    "SGD hyperball group": lambda p: lrscope.OnSphere(torch.optim.SGD(p, lr=0.02), sphere="group", hyperball=True),
    "RMSprop row": lambda p: lrscope.OnSphere(torch.optim.RMSprop(p, lr=0.01, **SMALL), sphere="row"),
    "Adamax group": lambda p: lrscope.OnSphere(torch.optim.Adamax(p, lr=0.01, **SMALL), sphere="group"),
}
every = pytest.mark.parametrize("make", list(RESTING.values()), ids=list(RESTING))
kinds = pytest.mark.parametrize("kind", KINDS)


def pieces(tensors: list[Tensor], kind: str) -> list[Tensor]:
    """The spheres' weights as flat tensors, by slices: a twin of `norms`."""
    if kind == "group":
        return [torch.cat([t.flatten() for t in tensors])]
    matrices = [t for t in tensors if t.dim() > 1]
    return [row.flatten() for m in matrices for row in (m if kind == "row" else [m])]


def rejoined(parts: list[Tensor], like: list[Tensor], kind: str) -> list[Tensor]:
    """The inverse of `pieces`, for those of `like` that are on spheres; others as they are."""
    if kind == "group":
        cut = parts[0].split([t.numel() for t in like])
        return [c.reshape(t.shape) for c, t in zip(cut, like, strict=True)]
    rest = iter(parts)
    out = []
    for t in like:
        if t.dim() == 1:
            out.append(t)
        else:
            out.append(torch.stack([next(rest) for _ in t]) if kind == "row" else next(rest).reshape(t.shape))
    return out


# -- the rules ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("radius", [0.3, 1.0, 7.0])
@pytest.mark.parametrize("rule", [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}])
def test_sphere_sgd_is_the_projected_sgd_of_sweeps(rule: dict[str, Any], radius: float) -> None:
    """What the engine does on the sphere: lr = ELR x radius^2, then all weights rescaled together (three_regimes, eq. 2)."""
    params = weights()
    optimizer = lrscope.SphereSGD(params, lr=0.03, sphere="group", radius=radius, **rule)
    sgd = SGD(**rule)
    flat = torch.cat([p.detach().flatten() for p in params])[None]
    state, rho = sgd.init(flat), torch.tensor([radius], dtype=flat.dtype)
    sizes = [p.numel() for p in params]
    for step in range(40):
        shaped = [c.reshape(p.shape) for c, p in zip(flat[0].split(sizes), params, strict=True)]
        gradient = torch.cat([g.flatten() for g in gradients(shaped, step)])[None]
        flat, state = sgd.update(gradient, state, flat, 0.03 * rho**2)
        flat, _ = project(flat, rho, (((0, flat.shape[1]),),))
        descend(optimizer, params, [step])
        assert near([torch.cat([p.detach().flatten() for p in params])], flat)


def test_the_learning_rate_of_sphere_sgd_means_the_same_at_every_radius() -> None:
    small, large = weights(), weights()
    for params, radius in ((small, 0.1), (large, 20.0)):
        descend(lrscope.SphereSGD(params, 0.05, sphere="group", radius=radius, momentum=0.5), params, range(30))
    assert near([p / 0.1 for p in small], [p / 20.0 for p in large], 1e-10)


@kinds
def test_on_sphere_sgd_is_sgd_and_a_rescaling(kind: str) -> None:
    params = weights()
    twin = copies(params)
    optimizer = lrscope.OnSphere(torch.optim.SGD(params, lr=0.1), sphere=kind)
    radii = [piece.norm() for piece in pieces(twin, kind)]
    for step in range(30):
        moved = [t - 0.1 * g for t, g in zip(twin, gradients(twin, step), strict=True)]
        scaled = [r * piece / piece.norm() for r, piece in zip(radii, pieces(moved, kind), strict=True)]
        twin = rejoined(scaled, moved, kind)
        descend(optimizer, params, [step])
    assert near(params, twin)
    assert not near(params[:1], weights()[:1], 0.1), "it moved"


@kinds
@pytest.mark.parametrize("name", ["AdamW", "SGD", "SphereSGD"])
def test_hyperball_is_the_papers_rule(kind: str, name: str) -> None:
    """W <- R Norm(W - lr R Norm(u)) with u the optimizer's own update (arXiv 2606.16899); Adam's moments by hand."""
    params = weights()
    twin, lr = copies(params), 0.07
    if name == "SphereSGD":
        optimizer: torch.optim.Optimizer = lrscope.SphereSGD(params, lr, sphere=kind, hyperball=True)
    else:
        options = {"weight_decay": 0} if name == "AdamW" else {}
        optimizer = lrscope.OnSphere(getattr(torch.optim, name)(params, lr=lr, **options), sphere=kind, hyperball=True)
    radii = [piece.norm() for piece in pieces(twin, kind)]
    first, second = [torch.zeros_like(t) for t in twin], [torch.zeros_like(t) for t in twin]
    for step in range(30):
        updates = gradients(twin, step)
        if name == "AdamW":
            first = [0.9 * m + 0.1 * g for m, g in zip(first, updates, strict=True)]
            second = [0.999 * v + 0.001 * g * g for v, g in zip(second, updates, strict=True)]
            seen = 1 - 0.9 ** (step + 1), 1 - 0.999 ** (step + 1)
            updates = [m / seen[0] / ((v / seen[1]).sqrt() + 1e-8) for m, v in zip(first, second, strict=True)]
        free = [t - lr * u for t, u in zip(twin, updates, strict=True)]
        moved = [
            w - lr * r * u / u.norm() for w, r, u in zip(pieces(twin, kind), radii, pieces(updates, kind), strict=True)
        ]
        scaled = [r * piece / piece.norm() for r, piece in zip(radii, moved, strict=True)]
        twin = rejoined(scaled, free, kind)
        descend(optimizer, params, [step])
        assert near(params, twin, 1e-10)


def test_hyperball_keeps_updates_that_are_below_the_rounding_of_weights() -> None:
    """Gradients of 1e-9 at weights of size 1 are lost in a difference of float32 weights; their direction is not lost here."""
    params, twin = weights((4, 5), dtype=torch.float32), weights((4, 5))
    optimizer = lrscope.OnSphere(torch.optim.SGD(params, lr=0.01), hyperball=True)
    radius = twin[0].norm()
    fill(params, 0, scale=1e-9)
    gradient = params[0].grad.double()
    optimizer.step()
    moved = twin[0] - 0.01 * radius * gradient / gradient.norm()
    assert near([params[0].double()], [radius * moved / moved.norm()], 1e-6)


def test_whole_space_with_weight_decay_is_a_sphere_with_another_learning_rate() -> None:
    """w <- (1 - lr d) w - lr g turns w as a step with ELR lr / ((1 - lr d) |w|^2): exact, for any scale-invariant loss."""
    whole, sphere = weights(), weights()
    sgd = torch.optim.SGD(whole, lr=0.2, weight_decay=0.1)
    on_sphere = lrscope.SphereSGD(sphere, lr=0.0, sphere="group")
    elrs = []

    def set_elr(_: int) -> None:
        squared = sum(p.detach().square().sum() for p in whole)
        elrs.append(float(0.2 / ((1 - 0.2 * 0.1) * squared)))
        on_sphere.param_groups[0]["lr"] = elrs[-1]

    for step in range(60):
        set_elr(step)
        descend(sgd, whole, [step])
        descend(on_sphere, sphere, [step])
    norm = torch.cat([p.detach().flatten() for p in whole]).norm()
    radius = on_sphere.param_groups[0]["radius"]
    assert near([p / norm for p in whole], [p / radius for p in sphere], 1e-10)
    assert max(elrs) > 2 * min(elrs), "the norm changed on the way"


def test_weights_on_no_sphere_are_those_of_the_plain_optimizer() -> None:
    """Scale-invariant weights do not notice: the other groups see the same gradients here, and take the same steps."""
    ours, theirs = weights((3, 3), (4,)), weights((3, 3), (4,))
    a = lrscope.SphereSGD(
        [{"params": ours[:1]}, {"params": ours[1:], "sphere": None, "lr": 0.1, "weight_decay": 0.01}], 0.1, momentum=0.9
    )
    b = torch.optim.SGD(theirs, lr=0.1, momentum=0.9, weight_decay=0.01)
    for step in range(20):
        fill(ours, step)
        fill(theirs, step)
        a.step()
        b.step()
    assert near(ours[1:], theirs[1:])
    assert not near(ours[:1], theirs[:1], 0.01)


def test_maximize_goes_up() -> None:
    for make in (
        lambda p: lrscope.SphereSGD(p, 0.01, maximize=True, sphere="group"),
        lambda p: lrscope.OnSphere(torch.optim.SGD(p, 0.1, maximize=True), sphere="group"),
    ):
        params = weights()
        before = invariant_loss(params, 0).item()
        descend(make(params), params, [0] * 20)
        assert invariant_loss(params, 0).item() > before


# -- norms and bits -------------------------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, *HALF], ids=str)
def test_zero_gradients_and_none_change_no_bit(make: Make, dtype: torch.dtype) -> None:
    params = weights((9, 7), (20, 11, 3), (6,), dtype=dtype)
    optimizer = make(params)
    before = copies(params)
    optimizer.step()
    assert same(params, before), "gradients None"
    for _ in range(5):
        for p in params:
            p.grad = torch.zeros_like(p)
        optimizer.step()
    assert same(params, before), "gradients zero"
    fill(params, 0)
    optimizer.step()
    assert not same(params[:1], before[:1])


@every
def test_projecting_again_changes_no_bit(make: Make) -> None:
    """After steps too: rescaled weights have the norm up to rounding, and are left alone."""
    for dtype in (torch.float32, torch.float64, *HALF):
        params = weights((40, 30), (3, 3, 2), (7,), dtype=dtype)
        optimizer = make(params)
        for step in range(10):
            fill(params, step)
            optimizer.step()
            before = copies(params)
            optimizer.project()
            assert same(params, before)


@every
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, *HALF], ids=str)
def test_norms_are_kept_within_the_stated_error(make: Make, dtype: torch.dtype) -> None:
    params = weights((30, 20), (4, 50), (8,), dtype=dtype)
    optimizer = make(params)
    (group,) = optimizer.param_groups
    on = [p for p in params if group["sphere"] == "group" or p.dim() > 1]
    radius = norms(copies(on), group["sphere"])
    for step in range(60):
        fill(params, step, scale=0.1)
        optimizer.step()
    off = (norms(copies(on), group["sphere"]) / radius - 1).abs().max()
    assert off <= 1.02 * tolerance(dtype)
    assert {torch.float64: 2e-15, torch.float32: 1e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}[dtype] > tolerance(
        dtype
    )


@kinds
def test_norms_are_those_of_the_pieces(kind: str) -> None:
    tensors = copies(weights(*SHAPES, (2, 3, 2, 2)))
    on = [t for t in tensors if kind == "group" or t.dim() > 1]
    assert near([norms(on, kind)], [torch.stack([piece.norm() for piece in pieces(tensors, kind)])])


def test_norms_of_many_weights_are_exact() -> None:
    """A plain running sum of 4 million float32 squares is off by 1e-4, one that is rounded to 16 bits by 1e-3."""
    for dtype in (torch.float32, *HALF):
        (big,) = weights((2048, 2048), dtype=dtype)
        for kind in ("matrix", "row", "group"):
            exact = big.detach().double().flatten(*((1, 1) if kind == "row" else (0, 1)))
            assert near([norms([big.detach()], kind).double()], [exact.norm(dim=-1).reshape(-1)], 1e-6)


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_16_bit_weights_are_rescaled_by_a_factor_of_32_bits(dtype: torch.dtype) -> None:
    """The weights' own rounding averages out over 10,000 of them; that of a common factor would not."""
    for scale in (1.013, 1.11, 1.37):
        params = weights((100, 100), dtype=dtype)
        radius = norms(copies(params), "matrix")
        optimizer = lrscope.SphereSGD(params, 0.1)
        with torch.no_grad():
            params[0].copy_(scale * params[0].double())
        optimizer.project()
        assert (norms(copies(params), "matrix") / radius - 1).abs() < 0.06 * torch.finfo(dtype).eps


def test_a_radius_that_is_given_is_taken_up_at_once() -> None:
    params = weights((3, 4), (5, 2))
    optimizer = lrscope.OnSphere(torch.optim.SGD(params, lr=0.1), radius=2.5)
    assert near([norms(copies(params), "matrix")], [torch.tensor([2.5, 2.5], dtype=torch.float64)])
    optimizer.add_param_group({"params": weights((2, 2), seed=5), "radius": [4.0]})
    assert optimizer.param_groups[1]["params"][0].norm().item() == pytest.approx(4)


def test_project_brings_weights_back() -> None:
    params = weights((3, 4))
    optimizer = lrscope.SphereSGD(params, 0.1)
    before = copies(params)
    with torch.no_grad():
        params[0].mul_(3)
    optimizer.project()
    assert near(params, before)


def test_a_step_that_fails_leaves_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """With normalised updates the weights are zero while the optimizer steps."""
    params = weights((3, 4))
    inner = torch.optim.SGD(params, lr=0.1)
    optimizer = lrscope.OnSphere(inner, hyperball=True)
    before = copies(params)

    def fails(*_: Any) -> None:
        raise KeyboardInterrupt

    inner.register_step_pre_hook(fails)
    with pytest.raises(KeyboardInterrupt):
        optimizer.step()
    assert same(params, before)


# -- PyTorch's patterns ---------------------------------------------------------------------------------------------------


@every
def test_resuming_is_exact(make: Make) -> None:
    """Weights and state dict through a file into new objects: the rest of the run is the same to the bit, radii included."""
    straight = weights()
    run = make(straight)
    descend(run, straight, range(12))
    file = io.BytesIO()
    torch.save({"weights": copies(straight), "optimizer": run.state_dict()}, file)
    descend(run, straight, range(12, 30))
    kept = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    resumed = weights(seed=7)
    again = make(resumed)
    with torch.no_grad():
        for p, old in zip(resumed, kept["weights"], strict=True):
            p.copy_(old)
    again.load_state_dict(kept["optimizer"])
    descend(again, resumed, range(12, 30))
    assert same(resumed, straight)
    assert same([again.param_groups[0]["radius"]], [run.param_groups[0]["radius"]])


@every
def test_state_dicts_are_the_same_twice_and_independent(make: Make) -> None:
    params = weights()
    optimizer = make(params)
    descend(optimizer, params, range(3))
    first = copy.deepcopy(optimizer.state_dict())
    second = optimizer.state_dict()
    assert str(first) == str(second)
    assert set(second) == {"state", "param_groups"}
    assert second["param_groups"][0]["params"] == [0, 1, 2]


@every
def test_copies_and_pickles_go_on_alike(make: Make) -> None:
    params = weights()
    optimizer = make(params)
    descend(optimizer, params, range(5))
    copied, unpickled = copy.deepcopy((params, optimizer)), pickle.loads(pickle.dumps((params, optimizer)))
    descend(optimizer, params, range(5, 15))
    for other_params, other in (copied, unpickled):
        descend(other, other_params, range(5, 15))
        assert same(other_params, params)


def test_a_state_without_spheres_can_be_loaded() -> None:
    """A run that was begun with AdamW goes on on the sphere through the weights that it has then."""
    plain = weights()
    adam = torch.optim.AdamW(plain, lr=0.02, weight_decay=0)
    descend(adam, plain, range(10))
    params = weights(seed=3)
    optimizer = lrscope.OnSphere(torch.optim.AdamW(params, lr=0.5, weight_decay=0))
    with torch.no_grad():
        for p, old in zip(params, plain, strict=True):
            p.copy_(old)
    optimizer.load_state_dict(adam.state_dict())
    assert optimizer.param_groups[0]["lr"] == 0.02
    assert same([optimizer.param_groups[0]["radius"]], [norms(copies(plain[:2]), "matrix")])
    assert optimizer.state[params[0]]["step"] == 10
    descend(optimizer, params, range(3))
    assert near([norms(copies(params[:2]), "matrix")], [norms(copies(plain[:2]), "matrix")])


def test_the_state_of_other_spheres_is_refused() -> None:
    params = weights()
    rows = lrscope.SphereSGD(params, 0.1, sphere="row").state_dict()
    optimizer = lrscope.SphereSGD(params, 0.1)
    rows["param_groups"][0]["sphere"] = "matrix"
    with pytest.raises(lrscope.LrscopeError, match="radius: the state of param group 0 has 5 radii, but there are 2"):
        optimizer.load_state_dict(rows)


@every
def test_param_groups_can_be_added(make: Make) -> None:
    params, more = weights((3, 4)), weights((2, 2), (3,), seed=4)
    optimizer = make(params)
    optimizer.add_param_group({"params": more, "lr": 0.0})
    before = copies(more)
    for step in range(3):
        fill([*params, *more], step)
        optimizer.step()
    assert len(optimizer.param_groups) == 2
    assert same(more, before), "its learning rate is 0"
    optimizer.param_groups[1]["lr"] = 0.1
    fill([*params, *more], 9)
    optimizer.step()
    assert not same(more, before)
    assert (
        more[0].norm().item() == pytest.approx(before[0].norm().item())
        or optimizer.param_groups[1]["sphere"] == "group"
    )


@every
def test_closures_are_evaluated_and_their_loss_returned(make: Make) -> None:
    ours, theirs = weights(), weights()
    with_closure, without = make(ours), make(theirs)
    for step in range(5):

        def closure(step: int = step) -> Tensor:
            with_closure.zero_grad()
            loss = invariant_loss(ours, step)
            loss.backward()
            return loss

        expected = invariant_loss(theirs, step).item()
        assert with_closure.step(closure).item() == pytest.approx(expected, rel=1e-12)
        descend(without, theirs, [step])
    assert same(ours, theirs)


SCHEDULERS: dict[str, Callable[[Any], Any]] = {
    "from 0": lambda o: schedulers.LambdaLR(o, lambda step: step / 10),  # as warm-ups begin
    "cosine": lambda o: schedulers.CosineAnnealingLR(o, 10),
    "sequence": lambda o: schedulers.SequentialLR(
        o, [schedulers.ConstantLR(o, 0.5, 3), schedulers.ExponentialLR(o, 0.7)], [3]
    ),
}


@every
@pytest.mark.parametrize("schedule", list(SCHEDULERS.values()), ids=list(SCHEDULERS))
def test_schedulers_take_it(make: Make, schedule: Callable[[Any], Any]) -> None:
    """Their learning rates are those of the param groups, and training follows them."""
    params, by_hand = weights(), weights()
    optimizer, twin = make(params), make(by_hand)
    scheduler = schedule(optimizer)
    for step in range(6):
        lr = optimizer.param_groups[0]["lr"]
        assert scheduler.get_last_lr() == [lr]
        twin.param_groups[0]["lr"] = lr
        descend(optimizer, params, [step])
        descend(twin, by_hand, [step])
        scheduler.step()
    assert same(params, by_hand)


def test_schedulers_that_know_more() -> None:
    optimizer = lrscope.OnSphere(torch.optim.SGD(weights(), lr=0.1, momentum=0.9))
    plateau = schedulers.ReduceLROnPlateau(optimizer, patience=0)
    for _ in range(3):
        plateau.step(1.0)
    assert optimizer.param_groups[0]["lr"] < 0.1
    schedulers.OneCycleLR(optimizer, 1.0, total_steps=10)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1 / 25)


@every
def test_hooks_are_called_and_see_projected_weights(make: Make) -> None:
    params = weights((3, 4))
    optimizer = make(params)
    radius = params[0].norm().item()
    seen: list[Any] = []
    optimizer.register_step_pre_hook(lambda o, args, kwargs: seen.append("before"))
    optimizer.register_step_post_hook(lambda o, args, kwargs: seen.append(params[0].norm().item()))
    optimizer.register_state_dict_post_hook(lambda o, state: {**state, "more": 1})
    optimizer.register_load_state_dict_post_hook(lambda o: seen.append("loaded"))
    fill(params, 0)
    optimizer.step()
    assert seen == ["before", pytest.approx(radius, rel=1e-12)]
    assert optimizer.state_dict()["more"] == 1
    optimizer.load_state_dict(optimizer.state_dict())
    assert seen[-1] == "loaded"


@pytest.mark.parametrize("hyperball", [False, True])
def test_implementations_of_the_optimizer_agree(hyperball: bool) -> None:
    """foreach, fused and plain, and a learning rate that is a tensor."""
    found = []
    for options in ({"foreach": False}, {"foreach": True}, {"fused": True}, {"lr": torch.tensor(0.01)}):
        params = weights(dtype=torch.float32)
        inner = torch.optim.AdamW(params, **{"lr": 0.01, "weight_decay": 0, **options})
        optimizer = lrscope.OnSphere(inner, hyperball=hyperball)
        for step in range(10):
            fill(params, step)
            optimizer.step()
        found.append(copies(params))
    assert all(near(one, found[0], 1e-5) for one in found[1:])


@pytest.mark.parametrize("hyperball", [False, True])
@pytest.mark.parametrize(
    "name",
    [
        "Adadelta",
        "Adafactor",
        "Adagrad",
        "Adam",
        "AdamW",
        "Adamax",
        "Muon",
        "NAdam",
        "RAdam",
        "RMSprop",
        "Rprop",
        "SGD",
    ],
)
def test_every_optimizer_of_pytorch(name: str, hyperball: bool) -> None:
    params = weights((6, 4), (3, 5), dtype=torch.float32)
    options = {"weight_decay": 0} if name in ("AdamW", "Muon") else {}
    optimizer = lrscope.OnSphere(getattr(torch.optim, name)(params, lr=0.02, **options), hyperball=hyperball)
    before = copies(params)
    for step in range(5):
        fill(params, step)
        optimizer.step()
    for p, old in zip(params, before, strict=True):
        assert p.norm().item() == pytest.approx(old.norm().item(), rel=2e-6)
        turned = torch.nn.functional.cosine_similarity(p.flatten(), old.flatten(), dim=0)
        assert turned < 0.9999 or not hyperball
        assert not torch.equal(p, old)


def test_optimizers_of_pytorch_are_all_tried_or_refused() -> None:
    names = {name for name in dir(torch.optim) if isinstance(getattr(torch.optim, name), type)} - {"Optimizer"}
    (mark,) = [m for m in test_every_optimizer_of_pytorch.pytestmark if m.args[0] == "name"]
    from lrscope.optim.on_sphere import REFUSED

    assert names == {*mark.args[1], *REFUSED}


def test_a_scaler_that_skips_leaves_the_weights() -> None:
    for make in (RESTING["SphereSGD momentum"], RESTING["AdamW"], RESTING["AdamW hyperball"]):
        params = weights(dtype=torch.float32)
        optimizer = make(params)
        scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
        for step in range(6):
            before = copies(params)
            optimizer.zero_grad()
            factor = float("inf") if step == 3 else 1.0
            scaler.scale(sum((p * (step + p)).sum() for p in params) * factor).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(params, 1.0)
            scaler.step(optimizer)
            scaler.update()
            assert same(params, before) == (step == 3)
        assert scaler.get_scale() == 128.0


def test_gradients_can_be_accumulated() -> None:
    for make in RESTING.values():
        whole, parts = weights(), weights()
        one, other = make(whole), make(parts)
        for step in range(4):
            one.zero_grad()
            (invariant_loss(whole, step) + invariant_loss(whole, step + 50)).backward()
            one.step()
            other.zero_grad()
            invariant_loss(parts, step).backward()
            invariant_loss(parts, step + 50).backward()
            other.step()
        assert near(whole, parts, 1e-10)


@every
def test_it_is_an_optimizer_and_prints(make: Make) -> None:
    optimizer = make(weights())
    assert isinstance(optimizer, torch.optim.Optimizer)
    assert "sphere: " in repr(optimizer)
    assert "radius: tensor(" in repr(optimizer)


def test_named_weights_and_generators_are_taken() -> None:
    with torch.random.fork_rng():
        model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    optimizer = lrscope.SphereSGD(model.named_parameters(), lr=0.1)
    assert optimizer.param_groups[0]["param_names"][0] == "0.weight"
    assert len(lrscope.SphereSGD(model.parameters(), lr=torch.tensor(0.1)).param_groups[0]["radius"]) == 2
