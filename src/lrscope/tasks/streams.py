"""Random streams by name: every draw has its own generator, and global random state is never touched."""

from __future__ import annotations

import hashlib

import torch


def stream_seed(*parts: str | int) -> int:
    """The 63-bit seed of the stream named by `parts`, for instance `stream_seed("order", seed, epoch)`.

    The first 63 bits of SHA-256 of `lrscope/part/part/...`: the same on every machine, with no arithmetic between seeds
    that could make two streams meet (as `seed + epoch` does).
    """
    if any("/" in part for part in parts if isinstance(part, str)):
        raise ValueError(f"a part of a stream's name holds '/': {parts!r}")
    name = "/".join(("lrscope", *map(str, parts)))
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


def generator(*parts: str | int) -> torch.Generator:
    """A fresh CPU generator at the start of the stream named by `parts`.

    torch's CPU generator keeps the low 32 bits of a seed only, so among n streams two coincide with a chance of about
    n^2 / 2^33: of no consequence for batch orders, and 1e-5 for a few hundred initialisations.
    """
    return torch.Generator().manual_seed(stream_seed(*parts))
