"""The tools, in the order of the tables; one that is not installed is named with how to get it."""

from importlib.util import find_spec

from benchmarks.rivals.bridge import Bridge
from benchmarks.rivals.collected import Collected
from benchmarks.rivals.ours import Ours
from benchmarks.rivals.plain import Transformers
from benchmarks.rivals.rival import CannotDo, Rival, Setup
from benchmarks.rivals.traced import Traced

BASELINE = "transformers sdpa"
OPTIONAL: dict[str, tuple[str, type[Traced] | type[Collected]]] = {
    "nnsight": ("nnsight", Traced),
    "pyvene": ("pyvene", Collected),
}


class Missing(Rival):
    """A tool that is not installed here."""

    def __init__(self, name: str) -> None:
        self.name, self.reason = name, "not installed here: pip install 'vlm-lens[bench]'"


def rivals(setup: Setup, chosen: tuple[str, ...] = ()) -> list[Rival]:
    """Everyone at the table over the same weights: the baseline first, this library last.

    Args:
        setup: the model and the prompt.
        chosen: names of those wanted; none for all. The baseline always comes.
    """
    makers = {
        BASELINE: lambda: Transformers(setup, "sdpa"),
        "transformers eager": lambda: Transformers(setup, "eager"),
        Bridge.name: lambda: Bridge(setup),
    }
    for name, (package, make) in OPTIONAL.items():
        makers[name] = (lambda make=make: make(setup)) if find_spec(package) else (lambda name=name: Missing(name))
    makers[Ours.name] = lambda: Ours(setup)
    return [make() for name, make in makers.items() if not chosen or name in (BASELINE, *chosen)]


__all__ = ["BASELINE", "CannotDo", "Missing", "Ours", "Rival", "Setup", "rivals"]
