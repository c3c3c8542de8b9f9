"""One condition on its way through the model."""

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vlm_lens.attachments.attachment import Attachment, Reader
from vlm_lens.attachments.running.session import Session
from vlm_lens.recompute.edges import Edges
from vlm_lens.recompute.reach import Reach
from vlm_lens.recompute.rows import TowerRows
from vlm_lens.recompute.stations import Station

Rows = Int[np.ndarray, " _"]

NONE: Rows = np.zeros(0, dtype=np.int64)


@dataclass(eq=False)
class Variant:
    """One condition: what stands where, which rows it computes, and what it has computed so far.

    Attributes:
        session: its objects, and what its readers keep.
        reach: what it writes and reads.
        vision, decoder: the rows it computes in each tower; the tower's None without pictures.
        features_changed: the rows of the projector that it computes.
        ending: the rows after the last layer that it computes, of those wanted.
        vision_edges, decoder_edges: who may attend to whom.
        stream: the stream that it has computed, `[batch row d_model]`, at `stream_rows`; None while all is shared.
        features: the vectors of its pictures; None while they are shared.
        logits: at the rows that were wanted.
    """

    session: Session
    reach: Reach
    vision: TowerRows | None = None
    decoder: TowerRows | None = None
    features_changed: Rows = field(default_factory=lambda: NONE)
    ending: Rows = field(default_factory=lambda: NONE)
    vision_edges: Edges | None = None
    decoder_edges: Edges | None = None
    stream: Tensor | None = None
    stream_rows: Rows = field(default_factory=lambda: NONE)
    features: Tensor | None = None
    logits: Tensor | None = None

    def standing(self, name: str) -> list[Attachment]:
        """What stands at a hook, in order."""
        return self.reach.at.get(name, [])

    def own_rows(
        self, shared: Float[Tensor, "batch row d_model"], shared_rows: Rows, wanted: Rows
    ) -> Float[Tensor, "batch wanted_row d_model"]:
        """Some rows of its stream: its own where it has computed them, the shared run's elsewhere.

        Args:
            shared: the stream that all share.
            shared_rows: which positions these are, ascending.
            wanted: the positions wanted, all of them in one or the other.
        """
        places = np.minimum(np.searchsorted(shared_rows, wanted), len(shared_rows) - 1)
        rows = shared[:, torch.from_numpy(places).to(shared.device)]
        is_wanted = np.isin(self.stream_rows, wanted, assume_unique=True)
        if self.stream is None or not is_wanted.any():
            return rows
        target = torch.from_numpy(np.searchsorted(wanted, self.stream_rows[is_wanted])).to(rows.device)
        own = self.stream if is_wanted.all() else self.stream[:, torch.from_numpy(np.flatnonzero(is_wanted))]
        return rows.index_copy(1, target, own.to(rows.device))

    def let_go(self) -> None:
        """Hold nothing more of a run that has ended; what its readers keep is the session's."""
        self.stream = self.features = self.logits = None
        self.stream_rows = NONE

    def computes_at(self, station: Station) -> bool:
        """Whether it has rows of its own at a station; if not, it is there what all share."""
        if station.stage == "projector":
            return len(self.features_changed) > 0
        if station.stage == "final":
            return len(self.ending) > 0
        rows = self.decoder if station.stage == "decoder" else self.vision
        if rows is None:
            return False
        if station.layer < 0:
            return len(rows.started) > 0
        if station.layer >= len(rows.entered) or rows.entered[station.layer] is None:
            return False
        return station.side != "asking" or len(rows.asking[station.layer]) > 0

    def readers(self, name: str) -> list[Reader]:
        """The readers at a hook."""
        return [one for one in self.standing(name) if isinstance(one, Reader)]
