"""Windows of layers that a paper gives for its own model, in a model of another depth."""

from vlm_lens.errors import InputError


def at_depth(layers: tuple[int, int], depth: int, n_layers: int) -> range:
    """Layers at the same share of the depth; at least one.

    Args:
        layers: first and last, both in, counted from 0, of a model of `depth` layers.
        depth: how many layers that model has.
        n_layers: how many there are here.

    Example:
        >>> at_depth((4, 20), 32, 32), at_depth((4, 20), 32, 6), at_depth((0, 5), 80, 6)
        (range(4, 21), range(1, 4), range(0, 1))

    Raises:
        InputError: layers that such a model does not have, or in the wrong order.
    """
    first, last = layers
    if not 0 <= first <= last < depth:
        raise InputError("Window of layers", f"first and last of 0 to {depth - 1}", f"{first}, {last}")
    scale = n_layers / depth
    start = min(round(first * scale), n_layers - 1)
    return range(start, max(start + 1, round((last + 1) * scale)))


def named_layers(layers: range) -> str:
    """Some layers in words: "3", "3 to 5", "none"."""
    if not len(layers):
        return "none"
    return str(layers[0]) if len(layers) == 1 else f"{layers[0]} to {layers[-1]}"
