"""When to decay: the quality at the end against the time at which the learning rate falls, and where waiting stops to pay.

Read `saturation` (the rule, on arrays), `types` (what is found), `decay_curve` (of a result).
"""

from lrscope.decay.decay_curve import decay_curve, decay_curves
from lrscope.decay.types import DecayCurve, DecayTime, Saturation

__all__ = ["DecayCurve", "DecayTime", "Saturation", "decay_curve", "decay_curves"]
