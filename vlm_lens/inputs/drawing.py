"""Inputs as HTML: the pictures with their patch grids, the prompts, the coloured tokens."""

import base64
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image

from vlm_lens.layout import ImageSpan

if TYPE_CHECKING:
    from vlm_lens.inputs.inputs import Inputs

_LONGEST_EDGE = 320


def inputs_html(inputs: "Inputs") -> str:
    """Each row's pictures beside its prompt, then the layout."""
    parts = []
    image = 0
    for row, spans in enumerate(inputs.layout.images):
        for span in spans:
            if image < len(inputs.images):
                parts.append(picture_html(inputs.images[image], span))
            image += 1
        if row < len(inputs.prompts):
            parts.append(f"<pre>{escape(inputs.prompts[row])}</pre>")
    return f"<div>{''.join(parts)}{inputs.layout._repr_html_()}</div>"


def picture_html(picture: Image.Image, span: ImageSpan) -> str:
    """A picture with the borders of the patches drawn where they lie in the original."""
    width, height = picture.size
    lines = ""
    if span.geometry is not None:
        boxes = span.geometry.patch_boxes(span.grid)
        top, left = boxes[0, 0, :2]
        bottom, right = boxes[-1, -1, 2:]
        rows = sorted({*boxes[:, 0, 0].tolist(), bottom})
        columns = sorted({*boxes[0, :, 1].tolist(), right})
        lines = "".join(f"M{left:.2f} {y:.2f}H{right:.2f}" for y in rows)
        lines += "".join(f"M{x:.2f} {top:.2f}V{bottom:.2f}" for x in columns)
    scale = _LONGEST_EDGE / max(width, height)
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{max(1, width * scale):.0f}" '
        f'height="{max(1, height * scale):.0f}" role="img">'
        f'<image href="{png_data_uri(picture)}" width="{width}" height="{height}" '
        f'preserveAspectRatio="none"/>'
        f'<path d="{lines}" stroke="#fff" stroke-opacity="0.6" fill="none" '
        f'vector-effect="non-scaling-stroke" stroke-width="1"/></svg>'
    )


def png_data_uri(picture: Image.Image, longest_edge: int = _LONGEST_EDGE) -> str:
    """A picture, shrunk where it is larger, as a PNG inside the page."""
    small = picture.copy()
    small.thumbnail((longest_edge, longest_edge))
    buffer = BytesIO()
    small.save(buffer, format="PNG", optimize=False)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
