"""The experiments on the bundled model and scenes: which data, and which options differ from the preset's."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Reproduced:
    """A run of `make reproduce`.

    Attributes:
        experiment: its name.
        data: which scenes.
        options: what differs from the default preset, and why stands in `told`.
        told: why these data and options.
        reads: options that name the folder of another run, and whose.
    """

    experiment: str
    data: str
    options: Mapping[str, Any] = field(default_factory=dict)
    told: str = ""
    reads: Mapping[str, str] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """The same on a command line."""
        read = {name: f"runs/{other}" for name, other in self.reads.items()}
        chosen = "".join(f" --set {name}={_written(value)}" for name, value in {**self.options, **read}.items())
        return f"python -m vlm_lens run {self.experiment} --data {self.data}{chosen} --out runs/{self.experiment}"


def _written(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    told = str(value).lower() if isinstance(value, bool) else str(value)
    return f'"{told}"' if " " in told else told


_PARTS = {"least_share": 0.02}
_ANIMALS = "Scenes are smaller drawings than photographs are: objects from 2% of the picture on."

RUNS: tuple[Reproduced, ...] = (
    Reproduced("part-identification", "scenes,n=160", _PARTS, _ANIMALS),
    Reproduced("part-identification-clip", "scenes,n=100", {**_PARTS, "template": "a photo of a {}."}, _ANIMALS),
    Reproduced("part-attention", "scenes,n=24", _PARTS, _ANIMALS),
    Reproduced("part-segmentation", "scenes,n=150", told="No trained segmenter is bundled."),
    Reproduced(
        "part-mentions",
        "scenes,n=1000",
        told="The texts are the scenes' descriptions, of which the bundled model learned such ones.",
        reads={"opi": "part-identification"},
    ),
    Reproduced("object-ablation", "scenes,n=200,surfaces=true"),
    Reproduced("correspondence", "scenes,n=400"),
    Reproduced("attention-blocking", "scenes,n=150,surfaces=true"),
    Reproduced("information-flow", "scenes,n=100", {"max_new_tokens": 80}),
    Reproduced("attention-shares", "scenes,n=100", {"max_new_tokens": 80}),
    Reproduced("top-k-context", "scenes,n=60", {"max_new_tokens": 80}),
    Reproduced("localisation", "scenes,n=100", {"max_new_tokens": 80}),
    Reproduced(
        "reprompting",
        "scenes,n=150",
        {"llm": "self"},
        "Scenes ask one kind of question, whether something is there. No language model is bundled: the decoder reads "
        "its own description, without a picture.",
    ),
)
