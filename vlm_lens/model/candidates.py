"""Texts that a picture is compared with, already as vectors."""

from collections import Counter
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from vlm_lens.errors import InputError


@dataclass(frozen=True, eq=False)
class Candidates:
    """Named vectors in the space that pictures and texts share: made once, compared with often.

    Attributes:
        names: what each is called in results, each name once.
        vectors: each text's projected vector, of any length: it is scaled to 1 where it is compared.

    Raises:
        InputError: no candidate, another number of names than of vectors, or a name given twice.
    """

    names: tuple[str, ...]
    vectors: Float[Tensor, "candidate d_embed"] = field(repr=False)

    def __post_init__(self) -> None:
        if not self.names or len(self.names) != len(self.vectors):
            rule = f"a name for each of {len(self.vectors)} vectors, and at least one"
            raise InputError("Candidates", rule, f"{len(self.names)} names")
        name, n_times = Counter(self.names).most_common(1)[0]
        if n_times > 1:
            raise InputError("Candidates", "each name once", f"{name!r} {n_times} times", "Give names=.")

    def __len__(self) -> int:
        return len(self.names)
