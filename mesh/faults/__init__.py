"""What goes wrong on purpose: faults of lines and nodes, staged by a scenario or named in a plan.

Rules kept in this room:
1. Everything is decided from what is handed in: parties, a line, a time, a random stream. The same seed brings the
   same faults.
2. What a scenario stages itself comes first; a plan decides about the rest.
3. A plan is read strictly: what is not understood is an error, never left out.
"""

from mesh.faults.disturbance import Disturbance, Fates, Rule, change, drop, repeat
from mesh.faults.fault import Crash
from mesh.faults.force import Effect, Faults, InForce, recorded_effects
from mesh.faults.plan import Plan, read_plan, recorded_plan

__all__ = [
    "Crash",
    "Disturbance",
    "Effect",
    "Fates",
    "Faults",
    "InForce",
    "Plan",
    "Rule",
    "change",
    "drop",
    "read_plan",
    "recorded_effects",
    "recorded_plan",
    "repeat",
]
