"""Optimizers for a training loop of one's own, whose weights stay on spheres: `torch.optim` optimizers in every respect.

Read `spheres` (norms and projections), `param_groups` (what a param group of PyTorch says about its spheres), `on_sphere`.
"""

from lrscope.optim.found import sphere_groups
from lrscope.optim.on_sphere import OnSphere
from lrscope.optim.sphere_sgd import SphereSGD

__all__ = ["OnSphere", "SphereSGD", "sphere_groups"]
