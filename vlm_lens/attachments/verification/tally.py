"""What a check has covered so far, and by how much it was off at worst."""

from dataclasses import dataclass, field

from vlm_lens.attachments.here import Here
from vlm_lens.attachments.verification.finding import Finding


@dataclass(eq=False)
class Tally:
    """Counts for one object and check.

    Attributes:
        layers: the layers, or the hooks outside the layers.
        steps: the passes.
        n_heads: heads of each layer; 0 where they are not told apart.
        n: how many edges, positions or queries.
        worst: the largest deviation.
        tolerance: what it was held against.
    """

    layers: set[int | str] = field(default_factory=set)
    steps: set[int] = field(default_factory=set)
    n_heads: int = 0
    n: int = 0
    worst: float = 0.0
    tolerance: float = 0.0

    def add(self, here: Here, n: int, deviation: float = 0.0) -> None:
        """One firing of a hook; one that covered nothing counts for no step."""
        if n:
            self.layers.add(here.name if here.layer is None else here.layer)
            self.steps.add(here.step)
        self.n += n
        self.worst = max(self.worst, deviation)

    def finding(self, name: str, check: str, unit: str, is_independent: bool = True) -> Finding:
        """What it comes to."""
        sizes = (len(self.layers), self.n_heads, len(self.steps), self.n)
        return Finding(name, check, *sizes, unit, self.worst, self.tolerance, is_independent)
