"""What a mean was made of: kept beside it, and compared before it is used or continued."""

import json
import warnings
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from vlm_lens.attachments.naming.described import described
from vlm_lens.attachments.naming.fingerprint import fingerprint_of
from vlm_lens.errors import EstimateError
from vlm_lens.estimates.identity import hash_of, name_of, preprocessing_of
from vlm_lens.layout import PictureLayout

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


def as_written(positions: Any) -> str:
    """Positions in a few words; what these leave out is told by a fingerprint."""
    is_plain = isinstance(positions, str | int | slice | range)
    return repr(positions) if is_plain else f"{described(positions)} ({fingerprint_of(positions)})"


@dataclass(frozen=True)
class Manifest:
    """Where a mean comes from.

    Attributes:
        model: the model's name.
        model_hash: tells it from others; see `identity.hash_of`.
        preprocessing: the image processor's settings; None for a model without one. Pixels that came ready are taken
            to be made so.
        pad_to_square: whether pictures were padded first.
        hooks: the names, in the model's order.
        positions: which positions, as written; what is long by its fingerprint.
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
        """Raise for another model, or other preprocessing; warn where the preprocessing cannot be told.

        Raises:
            EstimateError: naming both.
        """
        advice = "Estimate it again with this model: MeanEstimator(vlm, hook).estimate(images)."
        if hash_of(model) != self.model_hash:
            what = f"Mean of {', '.join(self.hooks[:3])} belongs to another model"
            raise EstimateError(what, self.model_label, f"{name_of(model)} ({hash_of(model)})", advice)
        here = preprocessing_of(model)
        if here is None or self.preprocessing is None:
            without = "the model at hand" if here is None else "the model that it was made with"
            what = f"Mean of {', '.join(self.hooks[:3])}"
            unknown = "whether its pictures were prepared alike is unknown"
            warnings.warn(f"{what}: {unknown}, as {without} has no image processor.", stacklevel=3)
            return
        if here == self.preprocessing:
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

    def check_pictures(self, pictures: PictureLayout | None) -> None:
        """Raise for pictures that were padded to squares where those of the mean were not, or the reverse.

        A square picture is the same either way, and pixels that came ready do not tell.

        Raises:
            EstimateError: with the first such picture.
        """
        for one in () if pictures is None else pictures.pictures:
            geometry = None if one.span is None else one.span.geometry
            is_padded = None if geometry is None else geometry.is_padded_to_square
            if is_padded is not None and is_padded != self.pad_to_square:
                raise EstimateError(
                    f"Mean of {', '.join(self.hooks[:3])} is of pictures prepared in another way",
                    f"pad_to_square={self.pad_to_square}",
                    f"pad_to_square={is_padded} ({one.label})",
                    "Give MeanEstimator(..., pad_to_square=) and prepare(..., pad_to_square=) the same.",
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
