"""Batches of any kind: what a loss of (model, batch) is given, and where it comes from.

`task` (what a `Task` needs of it), `module` (the losses of a batch as a network), `reading` (what a user hands over), `source`
(numbered examples of all splits) and its parts: `columns` (in memory, of one shape), `collated` (by a collate_fn as they are
drawn), `replayed` (ready-made batches of a stream). `trees` (dicts and tuples of tensors).
"""
