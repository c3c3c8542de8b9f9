"""What a mean was made of: kept beside it, and compared before it is used or continued."""

import json
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from vlm_lens.attachments.fingerprint import fingerprint_of
from vlm_lens.errors import EstimateError
from vlm_lens.estimates.identity import hash_of, name_of, preprocessing_of

_LIBRARIES = ("vlm-lens", "torch", "transformers", "pillow")


def versions() -> dict[str, str]:
    """The libraries that decide about the last bits."""
    found = {}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


@dataclass(frozen=True)
class Manifest:
    """Where a mean comes from.

    Attributes:
        model: the model's name.
        model_hash: tells it from others; see `identity.hash_of`.
        preprocessing: the image processor's settings; None where pixels came ready.
        pad_to_square: whether pictures were padded first.
        hooks: the names, in the model's order.
        positions: which positions, as written.
        per_position: whether these were kept apart.
        dtype: what was summed in.
        n_items: how many pictures were seen.
        items_hash: tells them, and their order, from others.
        batch_size: how many at a time; 0 where the batches came from outside.
        prompt: what the decoder was asked of every picture; None where it was not run, or each had its own.
        is_complete: False for what an interrupted estimate left.
        versions: of the libraries.
    """

    model: str
    model_hash: str
    preprocessing: dict[str, Any] | None
    pad_to_square: bool
    hooks: tuple[str, ...]
    positions: str
    per_position: bool
    dtype: str
    n_items: int = 0
    items_hash: str = ""
    batch_size: int = 0
    prompt: str | None = None
    is_complete: bool = True
    versions: dict[str, str] = field(default_factory=versions)

    @property
    def model_label(self) -> str:
        """The model, for errors."""
        return f"{self.model} ({self.model_hash})"

    @property
    def preprocessing_hash(self) -> str:
        """Tells the preprocessing from others; "" where it is unknown."""
        return "" if self.preprocessing is None else fingerprint_of(self.preprocessing)

    def check_model(self, model: Any) -> None:
        """Raise for another model, or other preprocessing.

        Raises:
            EstimateError: naming both.
        """
        advice = "Estimate it again with this model: MeanEstimator(vlm, hook).estimate(images)."
        if hash_of(model) != self.model_hash:
            what = f"Mean of {', '.join(self.hooks[:3])} belongs to another model"
            raise EstimateError(what, self.model_label, f"{name_of(model)} ({hash_of(model)})", advice)
        here = preprocessing_of(model)
        if here is None or self.preprocessing is None or here == self.preprocessing:
            return
        names = sorted({*here, *self.preprocessing})
        differing = [name for name in names if here.get(name) != self.preprocessing.get(name)]
        made, given = ({name: one.get(name) for name in differing} for one in (self.preprocessing, here))
        raise EstimateError(
            f"Mean of {', '.join(self.hooks[:3])} was made with other preprocessing",
            f"{made} ({self.preprocessing_hash})",
            f"{given} ({fingerprint_of(here)})",
            advice,
        )

    def check_continues(self, other: "Manifest") -> None:
        """Raise if an estimate cannot go on from, or be merged with, another.

        Raises:
            EstimateError: with what differs.
        """
        for name in ("model_hash", "preprocessing", "pad_to_square", "hooks", "positions", "per_position", "dtype"):
            mine, given = getattr(self, name), getattr(other, name)
            if mine != given:
                raise EstimateError("Estimates do not go together", f"{name} {mine!r}", repr(given))

    def to_json(self) -> str:
        """As text, for a file."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """From text."""
        content = json.loads(text)
        return cls(**{**content, "hooks": tuple(content["hooks"])})
