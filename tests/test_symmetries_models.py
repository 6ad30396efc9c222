"""The scale symmetries of well-known architectures: what each implies is written down, found, and nothing else is.

The models are those of torchvision and transformers with random weights, small where their size is free. Reduced ones are in
benchmarks/reduced_models.py.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from benchmark_scripts import benchmark
from lrscope.symmetries import Symmetries, find_symmetries
from test_symmetries import drawn, seeded, span

reduced = benchmark("reduced_models")

pytestmark = pytest.mark.slow
Powers = dict[str, float]
SECONDS = 120  # of processor time: a minute on two cores


def up(*names: str) -> Powers:
    return dict.fromkeys(names, 1.0)


def down(*names: str) -> Powers:
    return dict.fromkeys(names, -1.0)


def both(*modules: str) -> list[str]:
    """Weight and bias of modules."""
    return [f"{module}.{name}" for module in modules for name in ("weight", "bias")]


def normalised(model: nn.Module) -> list[str]:
    """The weights of all convolutions with a batch norm behind them, in models where those are all without a bias."""
    return [f"{n}.weight" for n, m in model.named_modules() if isinstance(m, nn.Conv2d) and m.bias is None]


def found_in(make: Callable[[], nn.Module], batch: Any) -> Symmetries:
    model = seeded(make)
    start = time.process_time()
    found = find_symmetries(model, batch)
    assert time.process_time() - start < SECONDS
    return found


def of_tensors(found: Symmetries) -> list[Powers]:
    """Those that say something of whole tensors."""
    moving = [one for one in found if one.kind != "no effect"]
    return [one.powers for one in moving if all(part.start is None for part in one.parts)]


def of_slices(found: Symmetries) -> set[frozenset[tuple[str, float]]]:
    moving = [one for one in found if one.kind != "no effect"]
    return {frozenset(one.powers.items()) for one in moving if any(part.start is not None for part in one.parts)}


def check(found: Symmetries, expected: Iterable[Mapping[str, float]], dead: Iterable[str] = ()) -> None:
    """What was found of whole tensors spans what is expected, and no more; what has no effect is what is expected."""
    own, asked = of_tensors(found), [dict(powers) for powers in expected]
    assert span([*own, *asked]) == span(own), "something is missed"
    assert span([*own, *asked]) == span(asked), "something is invented"
    assert {name for one in found.of("no effect") for name in one.powers} == set(dead)


def has(found: Symmetries, powers: Powers, channels: int | None = None) -> None:
    """Exactly this is listed, with so many channels."""
    assert (powers, channels) in [(one.powers, one.channels) for one in found]


def images(size: int) -> Tensor:
    return drawn(4, 3, size, size)


# -- with batch norms -----------------------------------------------------------------------------------------------


def test_resnet18() -> None:
    """Each convolution alone; each block's inner norm; the norms that add into one stage's stream. The last stage's is read
    by the classifier without a norm."""
    model = seeded(lambda: models.resnet18(num_classes=10))
    found = found_in(lambda: models.resnet18(num_classes=10), images(32))
    inner = [up(*both(f"layer{s}.{b}.bn1")) for s in (1, 2, 3, 4) for b in (0, 1)]
    first = up(*both("bn1", "layer1.0.bn2", "layer1.1.bn2"))
    streams = [up(*both(f"layer{s}.0.bn2", f"layer{s}.0.downsample.1", f"layer{s}.1.bn2")) for s in (2, 3, 4)]
    streams[-1] |= down("fc.weight")
    check(found, [*map(up, normalised(model)), *inner, first, *streams])
    has(found, up("layer1.0.conv1.weight"), 64)
    has(found, up(*both("layer3.1.bn1")) | down("layer3.1.conv2.weight"), 256)
    has(found, first)
    has(found, streams[-1])
    has(found, streams[-1] | down("layer4.1.conv1.weight"), 512)
    assert [one.eval for one in found if one.kind in ("scale-invariant", "group")] == [False] * (20 + 8 + 3)


def test_vgg11_bn() -> None:
    """Each convolution alone, its bias without effect; each batch norm before another convolution; the ReLU layers at the end,
    the first of which reads a flattened image."""
    found = found_in(reduced.vgg, images(64))
    layers = dict(seeded(reduced.vgg).named_modules())
    convolutions = [name for name, m in layers.items() if isinstance(m, nn.Conv2d)]
    norms = [name for name, m in layers.items() if isinstance(m, nn.BatchNorm2d)]
    chain = [norms[-1], "classifier.0", "classifier.3", "classifier.6"]
    pairs = [up(*both(a)) | down(f"{b}.weight") for a, b in itertools.pairwise(chain)]
    alone = [up(f"{name}.weight") for name in convolutions]
    check(found, [*alone, *(up(*both(n)) for n in norms[:-1]), *pairs], [f"{name}.bias" for name in convolutions])
    for pair, channels in zip(pairs, (20, 24, 28), strict=True):
        has(found, pair, channels)


def test_mobilenet_v3() -> None:
    """Each convolution alone. Of the norms those before ReLU or before nothing: hard-swish tells scales apart. Squeeze-excitation
    has a ReLU inside, and reads the scale of what it squeezes. What is added to a stream is read by 1x1 convolutions and batch
    norms alone, which take out its constants: these biases have no effect."""
    found = found_in(reduced.mobilenet, images(64))
    linear = {i: f"features.{i}.block.{2 if i < 4 else 3}.1" for i in range(1, 12)}
    streams = [up(*(f"{linear[i]}.weight" for i in stage)) for stage in ((1,), (2, 3), (4, 5, 6), (7, 8), (9, 10, 11))]
    relu = [up(*both(f"features.{i}.block.{j}.1")) for i in (2, 3) for j in (0, 1)]
    squeezes = ["features.1.block.1", *(f"features.{i}.block.2" for i in range(4, 12))]
    inside = [up(*both(f"{s}.fc1")) | down(f"{s}.fc2.weight") for s in squeezes]
    squeezed = up(*both("features.1.block.0.1")) | down("features.1.block.1.fc1.weight")
    alone = [*map(up, normalised(seeded(reduced.mobilenet)))]
    check(found, [*alone, *streams, *relu, *inside, squeezed], [f"{name}.bias" for name in linear.values()])
    assert not any(one.eval for one in (*found.of("scale-invariant"), *found.of("no effect")))
    has(found, relu[0], 72)  # a depthwise convolution reads these, which keeps channels apart


def test_efficientnet() -> None:
    """Each convolution alone, and each stage's stream; SiLU tells scales apart everywhere else. As in MobileNetV3 the biases that
    are added to a stream are taken out again, but only a stage's first: the other blocks are left out for some examples of a
    batch, so their biases differ between examples."""
    found = found_in(reduced.efficientnet, images(33))
    model = seeded(reduced.efficientnet)
    streams, dead = [], []
    for s in range(1, 8):
        first, *others = (f"features.{s}.{b}.block.{len(m.block) - 1}.1" for b, m in enumerate(model.features[s]))
        streams.append(up(f"{first}.weight", *both(*others)))
        dead.append(f"{first}.bias")
    check(found, [*map(up, normalised(model)), *streams], dead)


# -- with layer norms -----------------------------------------------------------------------------------------------


def test_convnext() -> None:
    """Depthwise weights and biases before a norm; a norm and the layer behind it; the layer scale against the layer before it.
    A stage's stream also scales the depthwise biases, since the norm behind them sees the sum."""
    stages = reduced.CONVNEXT
    found = found_in(reduced.convnext, images(64))
    expected = [up(*both("features.0.0")), up(*both("classifier.0")) | down("classifier.2.weight")]
    for i, stage in enumerate(stages):
        blocks = [f"features.{2 * i + 1}.{b}" for b in range(stage.num_layers)]
        start = "features.0.1" if i == 0 else f"features.{2 * i}.1"
        expected.append(up(*both(start), *(n for b in blocks for n in (f"{b}.layer_scale", f"{b}.block.0.bias"))))
        if i:
            expected.append(up(*both(f"features.{2 * i}.0")) | down(f"features.{2 * i}.1.weight"))
        for b in blocks:
            expected.append(up(*both(f"{b}.block.0")))
            expected.append(up(*both(f"{b}.block.2")) | down(f"{b}.block.3.weight"))
            expected.append(up(*both(f"{b}.block.5")) | down(f"{b}.layer_scale"))
    check(found, expected)
    has(found, expected[2])
    has(found, up(*both("features.1.0.block.5")) | down("features.1.0.layer_scale"), 8)


def slices_of(weight: str, bias: str, dim: int, out: str, at: str = "") -> set[frozenset[tuple[str, float]]]:
    """Queries against keys, values against the layer behind them, where all three are in one tensor."""
    q, k, v = (f"[{at}{i * dim}:{(i + 1) * dim}]" for i in range(3))
    bare = [f"[{i * dim}:{(i + 1) * dim}]" for i in range(3)]
    return {
        frozenset((up(weight + q, bias + bare[0]) | down(weight + k)).items()),
        frozenset((up(weight + v, bias + bare[2]) | down(out)).items()),
    }


def test_vit() -> None:
    """The residual stream of two blocks is one group of 12 tensors; each norm goes with the layer that reads it."""
    found = found_in(reduced.vit, images(16))
    stream = ["class_token", *both("conv_proj"), "encoder.pos_embedding"]
    expected, slices, dead = [up(*both("encoder.ln")) | down("heads.head.weight")], set(), []
    for block in (f"encoder.layers.encoder_layer_{i}" for i in range(2)):
        attention = f"{block}.self_attention"
        stream += both(f"{attention}.out_proj", f"{block}.mlp.3")
        expected.append(up(*both(f"{block}.ln_1")) | down(f"{attention}.in_proj_weight"))
        expected.append(up(*both(f"{block}.ln_2")) | down(f"{block}.mlp.0.weight"))
        weight, bias = f"{attention}.in_proj_weight", f"{attention}.in_proj_bias"
        slices |= slices_of(weight, bias, 12, f"{attention}.out_proj.weight")
        dead.append(f"{bias}[12:24]")
    check(found, [up(*stream), *expected], dead)
    assert of_slices(found) == slices
    (group,) = found.of("group")
    assert (group.powers, group.is_stream, len(group.parts)) == (up(*stream), True, 12)


def test_swin() -> None:
    """A stream for each stage; the layer that merges patches reads a norm and writes the next stream."""
    found = found_in(reduced.swin, images(32))
    expected = [up(*both("features.0.0")), up(*both("norm")) | down("head.weight")]
    expected.append(up(*both("features.2.norm")) | down("features.2.reduction.weight"))
    slices, dead = set(), []
    for start, dim, blocks in (
        (both("features.0.2"), 12, ["features.1.0", "features.1.1"]),
        (["features.2.reduction.weight"], 24, ["features.3.0"]),
    ):
        expected.append(up(*start, *both(*(f"{b}.{n}" for b in blocks for n in ("attn.proj", "mlp.3")))))
        for block in blocks:
            expected.append(up(*both(f"{block}.norm1")) | down(f"{block}.attn.qkv.weight"))
            expected.append(up(*both(f"{block}.norm2")) | down(f"{block}.mlp.0.weight"))
            weight, bias = f"{block}.attn.qkv.weight", f"{block}.attn.qkv.bias"
            slices |= slices_of(weight, bias, dim, f"{block}.attn.proj.weight")
            dead.append(f"{bias}[{dim}:{2 * dim}]")
    check(found, expected, dead)
    assert of_slices(found) == slices


# -- language models ------------------------------------------------------------------------------------------------

IDS = torch.randint(3, 50, (4, 7), generator=torch.Generator().manual_seed(0))


def test_gpt2() -> None:
    """Embeddings are the head's weights too: the last norm makes up for the stream's factor."""
    import transformers

    config = transformers.GPT2Config(vocab_size=50, n_positions=16, n_embd=12, n_layer=2, n_head=2)
    found = found_in(lambda: transformers.GPT2LMHeadModel(config), {"input_ids": IDS})
    stream = ["transformer.wte.weight", "transformer.wpe.weight"]
    expected, slices, dead = [], set(), []
    for block in ("transformer.h.0", "transformer.h.1"):
        stream += both(f"{block}.attn.c_proj", f"{block}.mlp.c_proj")
        expected.append(up(*both(f"{block}.ln_1")) | down(f"{block}.attn.c_attn.weight"))
        expected.append(up(*both(f"{block}.ln_2")) | down(f"{block}.mlp.c_fc.weight"))
        weight, bias = f"{block}.attn.c_attn.weight", f"{block}.attn.c_attn.bias"
        slices |= slices_of(weight, bias, 12, f"{block}.attn.c_proj.weight", ":, ")
        dead.append(f"{bias}[12:24]")
    tied = up(*stream) | down(*both("transformer.ln_f"))
    check(found, [tied, *expected], dead)
    has(found, tied)
    assert of_slices(found) == slices


def test_bert() -> None:
    """Its norms come after the sums: a norm's weight and bias go with what is added to its output before the next norm, against
    the layers that read it."""
    import transformers

    config = transformers.BertConfig(
        vocab_size=50, hidden_size=12, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48,
        max_position_embeddings=16,
    )  # fmt: skip
    batch = {"input_ids": IDS, "attention_mask": (torch.arange(28) % 7 < 6).long().reshape(4, 7)}
    found = found_in(lambda: transformers.BertForSequenceClassification(config), batch)
    embeddings = "bert.embeddings"
    expected = [up(*(f"{embeddings}.{kind}_embeddings.weight" for kind in ("word", "position", "token_type")))]
    before, dead = f"{embeddings}.LayerNorm", []
    for layer in ("bert.encoder.layer.0", "bert.encoder.layer.1"):
        own, out = f"{layer}.attention.self", f"{layer}.attention.output"
        reads = [f"{own}.{name}.weight" for name in ("query", "key", "value")]
        expected.append(up(*both(before, f"{out}.dense")) | down(*reads))
        expected.append(up(*both(f"{own}.query")) | down(f"{own}.key.weight"))
        expected.append(up(*both(f"{own}.value")) | down(f"{out}.dense.weight"))
        expected.append(
            up(*both(f"{out}.LayerNorm", f"{layer}.output.dense")) | down(f"{layer}.intermediate.dense.weight")
        )
        dead.append(f"{own}.key.bias")
        before = f"{layer}.output.LayerNorm"
    expected.append(up(*both(before)) | down("bert.pooler.dense.weight"))
    check(found, expected, dead)
    has(found, expected[0])
    has(found, expected[2], 12)


def test_llama() -> None:
    """Norms without biases, rotated queries and keys, keys and values shared by two heads, gated layers."""
    import transformers

    config = transformers.LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=16,
    )  # fmt: skip
    found = found_in(lambda: transformers.LlamaForCausalLM(config), {"input_ids": IDS})
    stream, expected = ["model.embed_tokens.weight"], [up("model.norm.weight") | down("lm_head.weight")]
    for layer in ("model.layers.0", "model.layers.1"):
        q, k, v, o = (f"{layer}.self_attn.{name}_proj.weight" for name in "qkvo")
        gate, wide, narrow = (f"{layer}.mlp.{name}_proj.weight" for name in ("gate", "up", "down"))
        stream += [o, narrow]
        expected += [up(f"{layer}.input_layernorm.weight") | down(q, k, v), up(q) | down(k), up(v) | down(o)]
        expected += [up(f"{layer}.post_attention_layernorm.weight") | down(gate, wide), up(wide) | down(narrow)]
    check(found, [up(*stream), *expected])
    has(found, up(*stream))
    has(found, up("model.layers.0.mlp.up_proj.weight") | down("model.layers.0.mlp.down_proj.weight"), 40)
