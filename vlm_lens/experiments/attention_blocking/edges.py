"""Between which positions attention is blocked: table 2's rows."""

from typing import Any

from vlm_lens.layout import Region, TokenLayout

OBJECT, OBJECT_1, OBJECT_2 = "object -> last", "object + 1 -> last", "object + 2 -> last"
REST, TO_ROW, ROWS_TO_ROW = "image - (object + 1) -> last", "object + 1 -> last row", "image - last row -> last row"
SOURCES = (OBJECT, OBJECT_1, OBJECT_2, REST, TO_ROW, ROWS_TO_ROW)


def blocked_edges(layout: TokenLayout, found: Region, blocks_own_row: bool) -> dict[str, tuple[Any, Any]]:
    """For each source the queries and keys between which attention is blocked; sources without any edge are left out.

    Args:
        layout: of the prompt, one picture.
        found: the object's patches; of an object without any nothing is blocked.
        blocks_own_row: whether the last row of patches loses the source's patches that lie in itself.
    """
    if not found:
        return {}
    row = layout.patches(rows=-1)
    near = found.dilate(1)
    into_row = near if blocks_own_row else near - row
    edges = {
        OBJECT: ("last", found),
        OBJECT_1: ("last", near),
        OBJECT_2: ("last", found.dilate(2)),
        REST: ("last", ~near),
        TO_ROW: ("last_row", into_row),
        ROWS_TO_ROW: ("last_row", ~row),
    }
    return {source: edge for source, edge in edges.items() if len(edge[1])}
