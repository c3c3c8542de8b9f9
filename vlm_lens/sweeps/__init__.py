"""Many interventions on one input, each computed from where it begins to matter: conditions, plan, run, results."""

from vlm_lens.sweeps.cell import Cell
from vlm_lens.sweeps.conditions import Grid
from vlm_lens.sweeps.plan import SweepPlan
from vlm_lens.sweeps.readings import Generated, Logits
from vlm_lens.sweeps.results import SweepResult
from vlm_lens.sweeps.sweep import Sweep
from vlm_lens.sweeps.verb import Sweeps

__all__ = ["Cell", "Generated", "Grid", "Logits", "Sweep", "SweepPlan", "SweepResult", "Sweeps"]
