"""Variants of one run: of each only what its interventions change and somebody reads."""

from vlm_lens.recompute.in_turn import shared_runs
from vlm_lens.recompute.shared_run import Outcome, SharedRun

__all__ = ["Outcome", "SharedRun", "shared_runs"]
