"""The hooks that an attachment names, and the layers and heads among them."""

import operator
from collections.abc import Iterable
from typing import Any, Literal

from vlm_lens.attachments.naming.towers import Tower, n_heads_at, place_of, towers_of
from vlm_lens.errors import EmptySelectionError, HookError, VlmLensError
from vlm_lens.layout import Except

OnEmpty = Literal["raise", "skip"]


def layers_of(layers: Any, n_layers: int, what: str = "Layers", on_empty: OnEmpty = "raise") -> tuple[int, ...]:
    """The layers that a selection means, ascending.

    Args:
        layers: "all", an int (negative from the end), a slice whose bounds exist, a range or list of ints, a tuple of
            two floats, the depths (0.0 to 1.0) between which a layer begins: `(0.5, 1.0)` is the second half; or some
            of these without others: `Except("all", but=range(4, 21))`.
        n_layers: the layers of the tower.
        what: is named in errors.
        on_empty: "skip" leaves out layers that do not exist.

    Raises:
        EmptySelectionError: none, or a layer that does not exist.
        HookError: something that means no layers.
    """
    if isinstance(layers, str) and layers == "all":
        return tuple(range(n_layers))
    if isinstance(layers, Except):
        without = set(layers_of(layers.but, n_layers, what, on_empty))
        kept = tuple(one for one in layers_of(layers.positions, n_layers, what, on_empty) if one not in without)
        if not kept:
            raise EmptySelectionError(what, f"layers from 0 to {n_layers - 1}", f"none ({layers!r})")
        return kept
    if isinstance(layers, slice):
        if on_empty == "raise":
            _check_bounds(layers, n_layers, what, "layers", EmptySelectionError)
        chosen: list[int] = list(range(n_layers)[layers])
    elif isinstance(layers, tuple) and len(layers) == 2 and all(isinstance(bound, float) for bound in layers):
        start, stop = layers
        if not 0.0 <= start <= stop <= 1.0:
            raise HookError(what, "depths with 0.0 <= start <= stop <= 1.0", layers)
        chosen = [layer for layer in range(n_layers) if start <= layer / n_layers < stop]
    else:
        advice = "Two depths are a tuple of floats: (0.5, 1.0)."
        chosen = [_integer(layer, what, "layers", advice) for layer in (layers if _is_several(layers) else [layers])]
    outside = [layer for layer in chosen if not -n_layers <= layer < n_layers]
    inside = tuple(sorted({layer % n_layers for layer in chosen if -n_layers <= layer < n_layers}))
    if outside and on_empty == "raise" or not inside:
        got = ", ".join(map(str, outside[:8])) if outside else f"none ({layers!r})"
        raise EmptySelectionError(what, f"layers from 0 to {n_layers - 1} (or {-n_layers} to -1)", got)
    return inside


def heads_of(heads: Any, n_heads: int, what: str = "Heads") -> tuple[int, ...] | None:
    """The heads that a selection means, ascending; None for all.

    Raises:
        HookError: none, or a head that does not exist.
    """
    if heads is None or isinstance(heads, str) and heads == "all":
        return None
    if isinstance(heads, slice):
        _check_bounds(heads, n_heads, what, "heads", HookError)
    chosen = range(n_heads)[heads] if isinstance(heads, slice) else heads if _is_several(heads) else [heads]
    numbers = [_integer(head, what, "heads") for head in chosen]
    outside = [head for head in numbers if not -n_heads <= head < n_heads]
    if outside or not numbers:
        got = ", ".join(map(str, outside)) if outside else "none"
        raise HookError(what, f"heads from 0 to {n_heads - 1}", got)
    return tuple(sorted({head % n_heads for head in numbers}))


def check_heads(model: Any, hook_name: str, heads: Any) -> None:
    """Raise for heads that a hook's activations do not have.

    Raises:
        HookError: heads where none are told apart, one that does not exist, a query head where keys are grouped.
    """
    if heads is None or isinstance(heads, str) and heads == "all":
        return
    n_heads = n_heads_at(model, hook_name)
    if n_heads is None:
        raise HookError(f"Heads at {hook_name}", "a hook that tells heads apart, such as hook_z", heads)
    is_key_side = hook_name.endswith(("hook_k", "hook_v", "hook_rot_k", "hook_k_input", "hook_v_input"))
    what = f"Heads at {hook_name}" + (" (grouped: these are key heads, not query heads)" if is_key_side else "")
    heads_of(heads, n_heads, what)


def hook_names_of(model: Any, hook: Any, layers: Any = "all", on_empty: OnEmpty = "raise") -> list[str]:
    """The hook names that a pattern and a selection of layers mean, in the order of the model.

    Args:
        model: the model.
        hook: a name, several, or a pattern in which `*` stands for anything: `"blocks.*.hook_resid_post"`.
        layers: which layers of a pattern's matches, counted in the tower of each; see `layers_of`.
        on_empty: "skip" leaves out layers that do not exist.

    Raises:
        HookError: for a name that does not exist, or a pattern that matches none.
        EmptySelectionError: for a layer that does not exist, or layers of which the hooks are in none.
    """
    wanted = [hook] if isinstance(hook, str) else list(hook) if isinstance(hook, Iterable) else [hook]
    if not wanted or not all(isinstance(one, str) for one in wanted):
        advice = "Each is a string: hook='blocks.4.hook_resid_post', or hook='blocks.*.hook_resid_post', layers=[4]."
        raise HookError("Hook is not understood", "the name of a hook, several, or a pattern", repr(hook), advice)
    for one in wanted:
        _check_has_projector(model, one)
    names = {name for one in wanted for name in model.names_like(one)}
    if not (isinstance(layers, str) and layers == "all"):
        names = _in_layers(model, names, layers, f"Layers of {hook!r}", on_empty)
    return [name for name in model.hook_dict if name in names]


def _in_layers(model: Any, names: set[str], layers: Any, what: str, on_empty: OnEmpty) -> set[str]:
    """Those of some hooks that are in chosen layers, which each tower counts by itself.

    Raises:
        HookError: hooks outside the layers alone.
        EmptySelectionError: layers that a tower has not, or in which none of the hooks is.
    """
    depths = {name: depth for name in names if (depth := model.hook_dict[name].layer()) is not None}
    if not depths:
        raise HookError(what, "a hook inside a layer", "one outside the layers")
    found: set[str] = set()
    places = {name: place_of(model, name) for name in depths}
    for place in sorted(set(places.values())):
        tower = towers_of(model)[place]
        mine = {name for name in depths if places[name] == place}
        of_tower = f"{what} of the {tower.name} tower" if len(set(places.values())) > 1 else what
        try:
            chosen = layers_of(layers, tower.transformer.cfg.n_layers, of_tower, on_empty)
        except EmptySelectionError:
            if on_empty == "raise":
                raise
            continue
        found |= {name for name in mine if depths[name] in chosen}
    if not found:
        rule = f"some of the layers that these hooks are in ({', '.join(map(str, sorted(set(depths.values()))))})"
        raise EmptySelectionError(what, rule, f"layers={layers!r}", "A pattern is in all of them: 'blocks.*.hook_z'.")
    return found


def hooks_in_layers(tower: Tower, hook: str, layers: Any, on_empty: OnEmpty = "raise") -> list[str]:
    """One hook of a tower in some of its layers: `hooks_in_layers(tower, "attn.hook_mask", range(3))`."""
    chosen = layers_of(layers, tower.transformer.cfg.n_layers, f"Layers of the {tower.name} tower", on_empty)
    return [tower.hook_name(layer, hook) for layer in chosen]


def _check_has_projector(model: Any, pattern: str) -> None:
    """Raise for a hook of the projector, the default of ablations, in a model that has none.

    Raises:
        HookError: with a hook to name instead.
    """
    if not pattern.startswith("projector.") or any(name.startswith("projector.") for name in model.hook_dict):
        return
    stream = next((name for name in model.hook_dict if name.endswith("hook_resid_post")), None)
    advice = f"Name one: hook={stream!r}." if stream else ""
    got = f"a {type(model).__name__}, without projector"
    raise HookError(f"Hook {pattern!r} does not exist", "a hook of this model", got, advice)


def _check_bounds(given: slice, n: int, what: str, kind: str, error: type[VlmLensError]) -> None:
    """Raise for a slice with a bound outside, which Python would clip.

    Raises:
        VlmLensError: of the given class, with the bounds that there may be.
    """
    bounds = [_integer(bound, what, kind) for bound in (given.start, given.stop) if bound is not None]
    if any(not -n <= bound <= n for bound in bounds):
        raise error(what, f"{kind} from 0 to {n - 1}: bounds from {-n} to {n}, or open ones", given)


def _is_several(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str)


def _integer(value: Any, what: str, kind: str, advice: str = "") -> int:
    if isinstance(value, bool | float):
        raise HookError(what, "whole numbers", repr(value), advice)
    try:
        return operator.index(value)
    except TypeError:
        depths = ", or a tuple of two depths" if kind == "layers" else ""
        raise HookError(what, f"'all', numbers or a range of {kind}{depths}", repr(value)) from None
