"""Layouts and regions as HTML fragments for a notebook. All text is escaped."""

from collections.abc import Sequence
from html import escape
from itertools import groupby

from jaxtyping import Bool
from torch import Tensor

from vlm_lens.layout.roles import ROLE_COLOURS, Role


def region_html(patches: Bool[Tensor, "patch_row patch_col"], caption: str) -> str:
    """A grid with the region's patches filled."""
    n_rows, n_cols = patches.shape
    filled = "".join(
        f'<rect x="{column}" y="{row}" width="1" height="1"/>' for row, column in patches.nonzero().tolist()
    )
    lines = "".join(f"M0 {row}H{n_cols}" for row in range(n_rows + 1))
    lines += "".join(f"M{column} 0V{n_rows}" for column in range(n_cols + 1))
    return (
        f'<figure style="margin:0;display:inline-block">'
        f'<svg viewBox="0 0 {n_cols} {n_rows}" width="{max(96, min(240, 12 * n_cols))}" '
        f'role="img" aria-label="{escape(caption)}">'
        f'<rect width="{n_cols}" height="{n_rows}" fill="#fff"/>'
        f'<g fill="#d9480f">{filled}</g>'
        f'<path d="{lines}" stroke="#adb5bd" stroke-width="0.04" fill="none"/></svg>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def tokens_html(strings: Sequence[str], roles: Sequence[Role]) -> str:
    """The tokens of one row on their role's colour; image and padding runs are folded."""
    parts: list[str] = []
    position = 0
    for role, run in groupby(zip(roles, strings, strict=True), key=lambda pair: pair[0]):
        texts = [text for _, text in run]
        if role in ("image", "pad"):
            parts.append(_token(f"{role} x {len(texts)}", role, position, italic=True))
        else:
            parts += [_token(text, role, position + i) for i, text in enumerate(texts)]
        position += len(texts)
    return '<div style="font-family:monospace;line-height:1.9;color:#000;background:#fff">' + "".join(parts) + "</div>"


def legend_html(roles: Sequence[Role]) -> str:
    """The colours of the given roles."""
    return (
        '<div style="font-size:smaller">'
        + " ".join(
            f'<span style="background:{ROLE_COLOURS[role]};color:#000;padding:0 4px">{role}</span>' for role in roles
        )
        + "</div>"
    )


def _token(text: str, role: Role, position: int, italic: bool = False) -> str:
    shown = escape(text).replace("\n", "&#8629;").replace(" ", "&nbsp;") or "&middot;"
    style = f"background:{ROLE_COLOURS[role]};padding:1px 2px;margin:1px;border-radius:2px"
    if italic:
        style += ";font-style:italic"
    return f'<span title="{position}: {role}" style="{style}">{shown}</span>'
