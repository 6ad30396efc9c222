"""Batches of any kind: what a loss of (model, batch) is given, and where it comes from.

`task` (what a `Task` needs of it), `module` (the losses of a batch as a network), `source` (batches of numbered examples),
`columns` (examples in memory, all of one shape), `trees` (dicts and tuples of tensors).
"""
