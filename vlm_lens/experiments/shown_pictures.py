"""Pictures among the rows of a run, so that figures need neither model nor data."""

import base64
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from vlm_lens.data import Example
from vlm_lens.experiments.context import Context
from vlm_lens.layout import TokenLayout
from vlm_lens.plotting.patch_picture import PatchPicture
from vlm_lens.plotting.seen_picture import seen_picture

_SIDE = 240
_QUALITY = 88


def is_shown(context: Context, example: Example, n: int) -> bool:
    """Whether a picture is among the first of the data, whose maps are kept."""
    return example.id in {one.id for one in context.data[:n]}


def picture_row(example: Example, layout: TokenLayout) -> dict[str, Any]:
    """What the model saw of a picture as a row: a JPEG as text, and its patch grid."""
    span = layout.image_span()
    picture = Image.fromarray(seen_picture(example.image, span))
    picture.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, format="JPEG", quality=_QUALITY)
    told = base64.b64encode(file.getvalue()).decode("ascii")
    return {"example": example.id, "n_rows": span.grid.n_rows, "n_cols": span.grid.n_cols, "jpeg": told}


def patch_pictures(rows: pd.DataFrame) -> Mapping[str, PatchPicture]:
    """The pictures that rows hold, by example."""
    found = {}
    for row in rows.to_dict("records"):
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(row["jpeg"]))).convert("RGB"))
        found[str(row["example"])] = PatchPicture(pixels, int(row["n_rows"]), int(row["n_cols"]))
    return found


def map_of(cells: pd.DataFrame, value: str = "attention") -> Any:
    """The map that rows with `patch_row` and `patch_col` hold: `[patch_row patch_col]`."""
    return cells.pivot(index="patch_row", columns="patch_col", values=value).to_numpy(float)
