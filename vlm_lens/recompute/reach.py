"""What a condition writes and reads on its way through the model, and whether that is known at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool
from torch import Tensor

from vlm_lens.attachments.attachment import Attachment, Reader, Writer
from vlm_lens.attachments.running.ground import Ground
from vlm_lens.attachments.running.rows_asked import is_local
from vlm_lens.attachments.running.session import Session
from vlm_lens.recompute.rows import Marked, Marks
from vlm_lens.recompute.stations import Station, station_of


@dataclass(frozen=True, eq=False)
class Sizes:
    """How many positions each stage has.

    Attributes:
        vision: of the tower; 0 without pictures.
        features: of the projector.
        decoder: of the sequence.
        n_class_tokens: positions of the tower before the first patch.
        depth: the layers of the tower that feed the projector.
        n_depths: how many layers of the tower the projector is given.
    """

    vision: int
    features: int
    decoder: int
    n_class_tokens: int = 0
    depth: int = 0
    n_depths: int = 1


@dataclass(frozen=True, eq=False)
class StageMarks:
    """What is written, or read, in every stage."""

    vision: Marks
    projector: Bool[np.ndarray, " feature"]
    decoder: Marks
    final: Marked

    @classmethod
    def nothing(cls, sizes: Sizes) -> "StageMarks":
        """No rows anywhere."""
        vision, features, decoder = (np.zeros(n, dtype=bool) for n in (sizes.vision, sizes.features, sizes.decoder))
        return cls(Marks(vision), features, Marks(decoder), decoder.copy())

    def mark(self, station: Station, rows: Marked, sizes: Sizes) -> None:
        """Mark some rows of a station."""
        if station.stage == "patches":
            self.vision.start[sizes.n_class_tokens :] |= rows
        elif station.stage == "projector":
            self.projector[:] |= rows
        elif station.stage == "final":
            self.final[:] |= rows
        else:
            marks = self.vision if station.stage == "vision" else self.decoder
            if station.layer < 0:
                marks.start[:] |= rows
            else:
                marks.add(getattr(marks, station.side), station.layer, rows)


@dataclass(frozen=True, eq=False)
class Reach:
    """What a condition writes and reads.

    Attributes:
        written: where it acts.
        read: what its readers ask for.
        at: what stands at each hook, in order, but what was skipped.
        why_in_full: why it must be run in full; "" if its reach is known.
    """

    written: StageMarks
    read: StageMarks
    at: dict[str, list[Attachment]] = field(default_factory=dict)
    why_in_full: str = ""

    @classmethod
    def of(cls, session: Session, ground: Ground, sizes: Sizes) -> "Reach":
        """The reach of what is attached, after it was checked."""
        reach = cls(StageMarks.nothing(sizes), StageMarks.nothing(sizes))
        objects = [one for one in session.objects if not session._is_skipped(one)]
        for one in objects:
            names = session.hook_names[id(one)]
            why = _marked(reach, one, names, ground, sizes)
            if why:
                return cls(reach.written, reach.read, why_in_full=why)
            for name in names:
                reach.at.setdefault(name, []).append(one)
        return reach


def _marked(reach: Reach, one: Attachment, names: Sequence[str], ground: Ground, sizes: Sizes) -> str:
    """Mark what an object writes or reads; why that cannot be done, if it cannot."""
    rows: Mapping[str, Bool[Tensor, "batch pos"]] | None
    if isinstance(one, Writer):
        rows, side = one.touched(ground), reach.written
        if rows is None:
            return f"{one.label} does not say what it touches"
    elif isinstance(one, Reader):
        are_masks = {name.endswith("hook_mask") for name in names}
        if len(are_masks) > 1 and not is_local(one):  # masks of rows are told before a layer's other hooks
            return f"{one.label} reads masks among other activations, in their order"
        rows, side = one.asked(ground), reach.read
    else:
        return f"{one.label} runs the model again"
    folded: dict[int, Marked] = {}
    for name in names:
        station = _station_at(name, ground)
        if station is None:
            return f"{name} lies off the way"
        if station.stage in ("patches", "vision") and sizes.n_depths > 1:
            return "the projector is given several layers of the tower"
        if station.stage == "vision" and station.layer >= sizes.depth:
            if isinstance(one, Writer):
                continue  # it feeds nothing
            return f"{name} lies behind the layer that the decoder is given"
        if rows is None:
            side.mark(station, _everything(station, sizes), sizes)
            continue
        if id(rows[name]) not in folded:
            folded[id(rows[name])] = rows[name].any(dim=0).numpy()
        side.mark(station, _of_model(folded[id(rows[name])], station, sizes), sizes)
    return ""


def _station_at(name: str, ground: Ground) -> Station | None:
    """Where a hook stands; told once for all conditions."""
    memo, key = ground.planned.memo, ("station", name)
    if key not in memo:
        memo[key] = station_of(ground.model, name)
    station: Station | None = memo[key]
    return station


def _everything(station: Station, sizes: Sizes) -> Marked:
    """All rows of a station."""
    if station.stage == "patches":
        return np.ones(sizes.vision - sizes.n_class_tokens, dtype=bool)
    n = {"vision": sizes.vision, "projector": sizes.features}.get(station.stage, sizes.decoder)
    return np.ones(n, dtype=bool)


def _of_model(rows: Bool[np.ndarray, " planned_pos"], station: Station, sizes: Sizes) -> Marked:
    """Rows as long as their station: those still to be generated are none yet."""
    return rows[: sizes.decoder] if station.stage in ("decoder", "final") else rows
