"""Engine: plans a sweep, trains its chunks, keeps them on disk. It never asks what a task is."""
