"""Dynamics: scale invariance, the sphere, schedules, optimizers, statistics."""
