"""Hooks by name: added, found again, cached, and gone when the block that added them ends."""

import difflib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vlm_lens import _tl
from vlm_lens.errors import HookError
from vlm_lens.model.hook_point import HookPoint

NamesFilter = str | Iterable[str] | Callable[[str], bool] | None

# Computed when asked for by name: each is as large as the stream times the number of heads, or a copy of it.
ONLY_WHEN_ASKED = ("hook_result", "hook_attn_in", "hook_q_input", "hook_k_input", "hook_v_input", "hook_mlp_in")

_levels = itertools.count(1)

_HEAD_SPLIT = ("hook_q", "hook_k", "hook_v", "hook_z", "hook_rot_q", "hook_rot_k", "hook_result", "hook_attn_in",
               "hook_q_input", "hook_k_input", "hook_v_input")  # fmt: skip


def position_axis(name: str) -> int:
    """Which axis of an activation is the (query) position, counted from the end."""
    return -3 if name.endswith(_HEAD_SPLIT) else -2


def names_fitting(pattern: str, names: Iterable[str]) -> list[str]:
    """The names that fit a pattern part by part: `*` does not reach over a dot."""
    wanted = pattern.split(".")
    parts_of = {name: name.split(".") for name in names}
    return [
        name for name, parts in parts_of.items() if len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))
    ]


class HookedRoot(_tl.HookedRootModule):
    """TransformerLens's root module, which refuses names that do not exist and says the nearest."""

    hook_dict: dict[str, HookPoint]  # type: ignore[assignment]

    def take_mode_of(self, module: nn.Module) -> None:
        """Evaluate, or train, as one of the checkpoint's modules does: transformer_lens's patching asks every module.

        The checkpoint's own modules keep their modes.
        """
        for own in self.modules():
            if isinstance(own, nn.ModuleList) or type(own).__module__.startswith("vlm_lens."):
                own.training = module.training

    def nearest_names(self, name: str) -> str:
        """The hook names most like this one, to be offered in an error."""
        return " or ".join(map(repr, difflib.get_close_matches(name, self.hook_dict, n=3, cutoff=0.0)))

    def check_hook_name(self, name: str) -> None:
        """Raise if no hook has this name.

        Raises:
            HookError: with the nearest names there are.
        """
        if name not in self.hook_dict:
            rule = f"one of the {len(self.hook_dict)} names in hook_dict"
            raise HookError(
                f"Hook {name!r} does not exist", rule, repr(name), f"Did you mean {self.nearest_names(name)}?"
            )

    def known_name(self, name: str) -> str:
        """The name in `hook_dict` for a name of any TransformerLens.

        The bridge of TransformerLens 4, and so its path patching, has the heads' own inputs one level deeper:
        `blocks.3.attn.hook_q_input` for `blocks.3.hook_q_input`.

        Raises:
            HookError: for a name that does not exist.
        """
        shallow = name.replace(".attn.hook_", ".hook_")
        if name not in self.hook_dict and name.endswith("_input") and shallow in self.hook_dict:
            return shallow
        self.check_hook_name(name)
        return name

    def selected_names(self, names_filter: NamesFilter) -> list[str]:
        """The hook names that a filter selects; None selects all but those that are computed only when asked for.

        Raises:
            HookError: for a name that does not exist.
        """
        if names_filter is None:
            return [name for name in self.hook_dict if not name.endswith(ONLY_WHEN_ASKED)]
        if callable(names_filter):
            return [name for name in self.hook_dict if names_filter(name)]
        wanted = [names_filter] if isinstance(names_filter, str) else names_filter
        names = {name for one in wanted for name in self.names_like(one)}
        return [name for name in self.hook_dict if name in names]

    def names_like(self, pattern: str) -> list[str]:
        """The hook names that fit a pattern, whose `*` stands for anything within one part of a name.

        `"blocks.*.hook_resid_post"` is the decoder's stream after every layer, and leaves the vision tower's alone.

        Raises:
            HookError: for a name that does not exist, or a pattern that none fits.
        """
        if "*" not in pattern:
            return [self.known_name(pattern)]
        names = names_fitting(pattern, self.hook_dict)
        if not names:
            rule, advice = f"one of the {len(self.hook_dict)} names", f"Did you mean {self.nearest_names(pattern)}?"
            raise HookError("No hook fits the pattern", rule, repr(pattern), advice)
        return names

    def add_hook(
        self,
        name: str | Callable[[str], bool],
        hook: Any,
        dir: Literal["fwd", "bwd"] = "fwd",
        is_permanent: bool = False,
        level: int | None = None,
        prepend: bool = False,
    ) -> None:
        """Add a hook at a name, or at every name that a predicate accepts; see `HookedRootModule.add_hook`.

        Raises:
            HookError: for a name that does not exist, or a predicate that accepts none.
        """
        for point in self._points(name):
            point.add_hook(hook, dir=dir, is_permanent=is_permanent, level=level, prepend=prepend)

    def _points(self, name: str | Callable[[str], bool]) -> list[HookPoint]:
        if isinstance(name, str):
            return [self.hook_dict[self.known_name(name)]]
        points = [point for hook_name, point in self.hook_dict.items() if name(hook_name)]
        if not points:
            rule = f"a predicate that accepts one of {len(self.hook_dict)} names"
            raise HookError("No hook point was selected", rule, "one that accepts none", "See hook_dict for the names.")
        return points

    @contextmanager
    def hooks(
        self,
        fwd_hooks: Sequence[tuple[str | Callable[[str], bool], Any]] = (),
        bwd_hooks: Sequence[tuple[str | Callable[[str], bool], Any]] = (),
        reset_hooks_end: bool = True,
        clear_contexts: bool = False,
    ) -> Iterator["HookedRoot"]:
        """Hooks that stand until the block ends, also by an error; see `HookedRootModule.hooks`.

        A model and its towers share hook points, so the level that marks a block's hooks is counted for all models
        together: one block never takes away another's.
        """
        outer, self.context_level = self.context_level, next(_levels)
        level = self.context_level
        points: list[HookPoint] = []
        try:
            for name, hook in fwd_hooks:
                points += self._points(name)
                self.add_hook(name, hook, "fwd", level=level)
            for name, hook in bwd_hooks:
                points += self._points(name)
                self.add_hook(name, hook, "bwd", level=level)
            yield self
        finally:
            if reset_hooks_end:
                for point in points:  # and not every point of the model, which costs a generation more than its steps
                    point.remove_hooks("both", including_permanent=False, level=level)
                if clear_contexts:
                    self.clear_contexts()
            self.context_level = outer

    def run_with_hooks(
        self,
        *model_args: Any,
        fwd_hooks: Sequence[tuple[str | Callable[[str], bool], Any]] = (),
        bwd_hooks: Sequence[tuple[str | Callable[[str], bool], Any]] = (),
        reset_hooks_end: bool = True,
        clear_contexts: bool = False,
        **model_options: Any,
    ) -> Any:
        """Run with hooks that are gone afterwards; see `HookedRootModule.run_with_hooks`.

        The model is called as a module, so that whatever is attached to it is told of the run.
        """
        with self.hooks(fwd_hooks, bwd_hooks, reset_hooks_end, clear_contexts):
            return self(*model_args, **model_options)

    def add_caching_hooks(
        self,
        names_filter: NamesFilter = None,
        incl_bwd: bool = False,
        device: torch.device | str | None = None,
        remove_batch_dim: bool = False,
        cache: dict[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Hooks that save what passes from now on, until `reset_hooks`; the dictionary they save to."""
        saved, forward, backward = self.get_caching_hooks(names_filter, incl_bwd, device, remove_batch_dim, cache)
        self.is_caching = True
        for name, hook in forward:
            self.add_hook(name, hook, "fwd")
        for name, hook in backward:
            self.add_hook(name, hook, "bwd")
        return saved

    def get_caching_hooks(
        self,
        names_filter: NamesFilter = None,
        incl_bwd: bool = False,
        device: torch.device | str | None = None,
        remove_batch_dim: bool = False,
        cache: dict[str, Tensor] | None = None,
        pos_slice: Any = None,
    ) -> tuple[dict[str, Tensor], list[Any], list[Any]]:
        """Hooks that save what passes, and the dictionary they save to; they are known to change nothing."""
        saved: dict[str, Tensor] = {} if cache is None else cache
        options = (device, remove_batch_dim, _tl.Slice.unwrap(pos_slice))
        names = self.selected_names(names_filter)
        forward = [(name, self._saving_hook(saved, name, "", *options)) for name in names]
        backward = [(name, self._saving_hook(saved, name, "_grad", *options)) for name in names] if incl_bwd else []
        return saved, forward, backward

    def _saving_hook(
        self, saved: dict[str, Tensor], name: str, suffix: str, device: Any, remove_batch_dim: bool, pos_slice: Any
    ) -> Callable[..., None]:
        is_whole = not self.slices_positions_of(name)
        options = (device, remove_batch_dim and not is_whole, _tl.Slice.unwrap(None if is_whole else pos_slice))
        save = partial(_save, saved, name + suffix, position_axis(name), *options)
        save.reads_only = not suffix  # type: ignore[attr-defined]
        return save

    def slices_positions_of(self, name: str) -> bool:
        """Whether `pos_slice` and `remove_batch_dim` speak of this activation."""
        return True


def _save(
    saved: dict[str, Tensor],
    key: str,
    axis: int,
    device: Any,
    remove_batch_dim: bool,
    pos_slice: Any,
    value: Tensor,
    hook: HookPoint,
) -> None:
    """Keep what passes. What is kept must outlive a writer's edit in place of the same tensor."""
    kept = value.detach().to(device)
    kept = kept[0] if remove_batch_dim and kept.shape[0] == 1 else kept
    kept = pos_slice.apply(kept, dim=axis)
    is_view = kept.untyped_storage().data_ptr() == value.untyped_storage().data_ptr()
    is_part = kept.numel() < value.numel()  # a view of a part would keep the whole alive
    saved[key] = kept.clone() if is_view and (is_part or not hook.only_reads) else kept
