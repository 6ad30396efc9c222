"""Dynamics: scale invariance, the sphere, schedules, the optimizer's arithmetic."""
