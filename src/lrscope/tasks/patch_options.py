"""What patches are written over images, as options say it (learning_order, Sec. 6 and App. H.2). Imports no PyTorch."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Any

from lrscope.errors import LrscopeError, nearest, shown
from lrscope.readers import Number, Whole, Word, read_fields
from lrscope.values import as_number, plain

ALL, UNPATCHED, SHOWN = "all", "unpatched", "shown"
FORM = "write the fraction of patched images, such as 0.8, or with more 0.8,only=0.2,size=7,train=unpatched"


@dataclass(frozen=True, kw_only=True)
class Patches:
    """A square in the middle of images that tells the class, easy to memorise and hard to fit by a line.

    Every data seed has one pattern z of normal numbers, and for each class c a pattern v_c, uniform. A patch is z + v_c or
    z - v_c, either as often. Numbers are in units of the normalised image: 0 is the mean colour, 1 a deviation.

    Attributes:
        fraction: of the training images that are patched.
        only: fraction of those that hold a patch alone, on an image of zeros; there v_c is scaled by `spread` times a uniform
            number from 0 to 1.
        size: side of the square in pixels; None: 7 of 32, the same share of other images.
        scale: standard deviation of z.
        contrast: v_c is uniform from -contrast to contrast.
        spread: largest factor of v_c where the patch is alone.
        train: `all`, or the `unpatched` images alone: what could be learned without patches; or `shown`, all images but those
            that a patch alone replaces, without their patches: what could be learned in spite of patches.

    Raises:
        LrscopeError: a value that makes no sense; names the field.
    """

    fraction: Annotated[float, Number(0, 1, above=True)] = 0.8
    only: Annotated[float, Number(0, 1)] = 0.2
    size: Annotated[int | None, Whole(1, 10_000)] = None
    scale: Annotated[float, Number(0, 1e6)] = 1.25
    contrast: Annotated[float, Number(0, 1e6, above=True)] = 0.1
    spread: Annotated[float, Number(0, 1e6, above=True)] = 1.75
    train: Annotated[str, Word((ALL, UNPATCHED, SHOWN))] = ALL

    def __post_init__(self) -> None:
        read_fields(self)
        if self.train == UNPATCHED and self.fraction == 1:
            raise LrscopeError("patches: fraction 1 leaves no unpatched image to train on: use less, or train=all")
        if self.train == SHOWN and self.fraction == self.only == 1:
            raise LrscopeError("patches: only=1 of fraction 1 leaves no image to train on: use less, or train=all")

    @property
    def kept(self) -> float:
        """The part of the training images that is trained on."""
        return {ALL: 1.0, UNPATCHED: 1 - self.fraction, SHOWN: 1 - self.fraction * self.only}[self.train]

    def __str__(self) -> str:
        """As the command line writes it."""
        more = [f"{f.name}={getattr(self, f.name)}" for f in fields(self)[1:] if getattr(self, f.name) != f.default]
        return ",".join([f"{self.fraction:g}", *more])


def parse_patches(value: Any) -> Patches:
    """Patches from a `Patches`, a fraction, or text as the command line writes it.

    Raises:
        LrscopeError: it is none of these; names the word that cannot be read.
    """
    if isinstance(value, Patches):
        return value
    value = plain(value)
    if not isinstance(value, str):
        if as_number(value) is None:
            raise LrscopeError(f"patches: {shown(value)} says nothing of patches: {FORM}")
        return _made({"fraction": value})
    first, *rest = (part.strip() for part in value.split(","))
    values: dict[str, Any] = {} if "=" in first else {"fraction": first}
    known = [f.name for f in fields(Patches)]
    for part in rest if values else [first, *rest]:
        name, equals, text = (word.strip() for word in part.partition("="))
        if not equals or not text:
            raise LrscopeError(f"patches: cannot read {shown(part)} in {shown(value)}: {FORM}")
        if name not in known:
            raise LrscopeError(f"patches: {shown(name)} is no option of patches: {nearest(name, known)}")
        if name in values:
            raise LrscopeError(f"patches: {shown(value)} says {name} twice: say it once")
        values[name] = text
    return _made(values)


def _made(values: dict[str, Any]) -> Patches:
    try:
        return Patches(**values)
    except LrscopeError as error:
        said = str(error)
        raise LrscopeError(said if said.startswith("patches:") else f"patches: {said}") from None


@dataclass(frozen=True)
class PatchReader:
    """Reads patches."""

    def read(self, name: str, value: Any) -> Patches:
        """See `Reader`."""
        del name  # its messages name it
        return parse_patches(value)

    def takes(self) -> str:
        """See `Reader`."""
        return "a fraction such as 0.8, or 0.8,only=0.2,size=7,train=unpatched"
