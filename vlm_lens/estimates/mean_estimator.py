"""Means of activations over a data set of pictures, in batches, without keeping activations."""

from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm.auto import tqdm

from vlm_lens.attachments import Here
from vlm_lens.attachments.naming.feature_shape import feature_shape
from vlm_lens.attachments.naming.hook_names import hook_names_of
from vlm_lens.attachments.naming.towers import OF_PICTURES, grid_of, place_of, towers_of
from vlm_lens.attachments.running.current_pass import CurrentPass
from vlm_lens.errors import EstimateError, HookError, InputError
from vlm_lens.estimates.identity import hash_of, name_of, pads_by_itself, preprocessing_of
from vlm_lens.estimates.items import fingerprint_after, items_of, pictures_of, pixels_of
from vlm_lens.estimates.manifest import Manifest, as_written
from vlm_lens.estimates.mean import Mean
from vlm_lens.estimates.mean_file import read_moments, write_moments
from vlm_lens.estimates.moments import Moments
from vlm_lens.estimates.moments_reader import MomentsReader
from vlm_lens.inputs import Inputs
from vlm_lens.layout import PictureLayout, Selector


class Seen(NamedTuple):
    """What was seen so far; replaced as a whole, so that an interrupt leaves whole batches."""

    moments: dict[str, Moments]
    n_items: int = 0
    items_hash: str = ""


class MeanEstimator:
    """Streams the mean and variance of activations; only counts, means and squared deviations are held.

    For hooks of the vision tower and the projector only these are run; for the decoder's, each picture needs a prompt,
    and the layers behind the last wanted one are left out.

    Args:
        model: the model.
        hook: a hook, several, or a pattern such as `"blocks.*.hook_resid_post"`.
        positions: which positions count; "image" are the patches.
        per_position: keep the positions of a picture apart: a mean `[patch *features]` (`[pos *features]` inside a
            vision tower, the class token first).
        layers: of a pattern's matches.
        dtype: what is summed in, float64 or float32.
        pad_to_square: pad pictures with the mean colour first, as LLaVA's own code does. `Inputs` must be made so.

    Raises:
        EstimateError: a model that sees no pictures.
        HookError: a hook that does not exist, or has no vector for each position.

    Example:
        >>> import numpy as np
        >>> from vlm_lens import HookedVLM, MeanEstimator
        >>> pictures = [np.full((96, 96, 3), grey, dtype=np.uint8) for grey in (0, 128, 255)]
        >>> MeanEstimator(HookedVLM.demo()).estimate(pictures, shows_progress=False)
        Mean(projector.hook_out, N=432, 3 pictures, vlm)
    """

    def __init__(
        self,
        model: Any,
        hook: Any = "projector.hook_out",
        positions: Selector = "image",
        per_position: bool = False,
        *,
        layers: Any = "all",
        dtype: torch.dtype = torch.float64,
        pad_to_square: bool = False,
    ) -> None:
        _check_sees(model)
        self.model, self.pad_to_square = model, pad_to_square
        self.hook_names = hook_names_of(model, hook, layers)
        for name in self.hook_names:
            if feature_shape(model, name) is None or place_of(model, name) == "none":
                raise HookError(f"Mean of {name}", "a hook with a vector for each position", name)
        if dtype not in (torch.float32, torch.float64):
            raise EstimateError("Mean is summed in", "torch.float32 or torch.float64", dtype)
        self.reader = MomentsReader(positions, self.hook_names, per_position, dtype)
        self.positions = as_written(positions)
        self.seen = Seen({})

    @property
    def is_of_pictures(self) -> bool:
        """Whether every hook fires before the decoder, which then need not run."""
        return all(place_of(self.model, name) in OF_PICTURES for name in self.hook_names)

    def update(self, images: Any, prompt: str | Sequence[str] | None = None) -> "MeanEstimator":
        """Take in one batch.

        Args:
            images: pictures (PIL, paths, arrays), one or several; pixels `[image channel height width]`; or `Inputs`.
            prompt: for hooks of the decoder one for all pictures, or one for each.

        Raises:
            InputError: pictures that cannot be opened, or no prompt for the decoder.
            EstimateError: activations that are NaN or infinite, inputs that are padded otherwise than `pad_to_square`.
        """
        if isinstance(images, Mapping):
            self.manifest().check_pictures(pictures_of(images))
            found = self._moments_of_inputs(images)
            self._add(found, len(images["pixel_values"]), [images])
            return self
        if items := list(items_of(images)):
            found = (
                self._moments_of_pictures(images, items)
                if self.is_of_pictures
                else self._moments_of_inputs(self._prepared(items, prompt))
            )
            self._add(found, len(items), items)
        return self

    def merged(self, other: "MeanEstimator") -> "MeanEstimator":
        """Both estimates as one, as if one had seen all pictures; exact but for rounding.

        Raises:
            EstimateError: where models, preprocessing, hooks, positions or dtypes differ.
        """
        self.manifest().check_continues(other.manifest())
        both = MeanEstimator(
            self.model, self.hook_names, self.reader.positions, self.reader.per_position,
            dtype=self.reader.dtype, pad_to_square=self.pad_to_square,
        )  # fmt: skip
        mine, given = self.seen, other.seen
        if not mine.moments or not given.moments:
            both.seen = mine if mine.moments else given
            return both
        moments = {hook: one.merged(given.moments[hook]) for hook, one in mine.moments.items()}
        items_hash = fingerprint_after(mine.items_hash, given.items_hash)
        both.seen = Seen(moments, mine.n_items + given.n_items, items_hash)
        return both

    def result(self) -> Mean:
        """The mean of what was seen.

        Raises:
            EstimateError: where nothing was.
        """
        if not self.seen.moments:
            raise EstimateError("Mean does not exist yet", "at least one picture", "none", "Call update(images).")
        return Mean(self.seen.moments, self.manifest())

    def estimate(
        self,
        images: Any,
        prompt: str | None = None,
        *,
        batch_size: int = 16,
        out: str | Path | None = None,
        save_every: int = 100,
        shows_progress: bool = True,
    ) -> Mean:
        """The mean over a data set; it starts anew, or goes on from a file that an interrupted one left.

        An interrupt or an error saves the whole batches seen so far; the same call goes on behind them, to the same
        bits as without the interrupt. What was seen is compared with the pictures given (files by name and size,
        others by contents), and a finished file with more pictures is continued.

        Args:
            images: pictures, or `(picture, prompt)` pairs, read once, in order; or one picture, path or array.
            prompt: for hooks of the decoder, where the pictures come without.
            batch_size: pictures at a time.
            out: a safetensors file to write, and to go on from; None keeps the result in memory alone.
            save_every: batches between two saves.
            shows_progress: show a bar.

        Raises:
            InputError: what is no picture, or cannot be opened, no prompt for the decoder.
            EstimateError: a file of other pictures, another model, batch size or preprocessing.
        """
        if batch_size < 1 or save_every < 1:
            raise InputError("Estimate failed", "batch_size and save_every of 1 or more", (batch_size, save_every))
        path = None if out is None else Path(out)
        self.seen = Seen({}) if path is None or not path.exists() else self._resumed(path, batch_size, prompt)
        save = partial(self._save, path, batch_size=batch_size, prompt=prompt)
        items = items_of(images)
        n_total = len(items) if isinstance(items, Sized) else None
        with tqdm(total=n_total, desc=f"mean of {self._what}", unit="picture", disable=not shows_progress) as bar:
            rest = self._behind_those_seen(iter(items), bar)
            try:
                for number, batch in enumerate(_in_batches(rest, batch_size), start=1):
                    self._take(batch, prompt)
                    bar.update(len(batch))
                    if number % save_every == 0:
                        save(is_complete=False)
            except BaseException:  # an interrupt too: what was seen is kept, and the error goes on
                save(is_complete=False)
                raise
        mean = self.result()
        save(is_complete=True)
        return replace(mean, manifest=self.manifest(batch_size=batch_size, prompt=prompt))

    def manifest(self, **facts: Any) -> Manifest:
        """Where the mean comes from, so far."""
        return Manifest(
            model=name_of(self.model),
            model_hash=hash_of(self.model),
            preprocessing=preprocessing_of(self.model),
            pad_to_square=self.pad_to_square or pads_by_itself(self.model),
            hooks=tuple(self.hook_names),
            positions=self.positions,
            per_position=self.reader.per_position,
            dtype=str(self.reader.dtype).removeprefix("torch."),
            n_items=self.seen.n_items,
            items_hash=self.seen.items_hash,
            **facts,
        )

    def __repr__(self) -> str:
        return f"MeanEstimator({self._what}, {self.seen.n_items:,} pictures so far)"

    @property
    def _what(self) -> str:
        n_more = len(self.hook_names) - 1
        return self.hook_names[0] + (f" and {n_more} more" if n_more else "")

    # One batch

    def _take(self, batch: list[Any], prompt: str | None) -> None:
        """One batch of a data set, its pictures with or without prompts."""
        has_prompts = isinstance(batch[0], tuple)
        images = [item[0] for item in batch] if has_prompts else batch
        prompts = [item[1] for item in batch] if has_prompts else prompt
        if self.is_of_pictures:
            found = self._moments_of_pictures(images, images)
        else:
            found = self._moments_of_inputs(self._prepared(images, prompts))
        self._add(found, len(batch), batch)

    def _add(self, found: dict[str, Moments], n_items: int, items: Sequence[Any]) -> None:
        before = self.seen
        items_hash = before.items_hash
        for item in items:
            items_hash = fingerprint_after(items_hash, item)
        moments = {hook: before.moments[hook].merged(new) if before.moments else new for hook, new in found.items()}
        self.seen = Seen(moments, before.n_items + n_items, items_hash)

    def _moments_of_pictures(self, images: Any, items: list[Any]) -> dict[str, Moments]:
        is_pixels = isinstance(images, Tensor) and images.ndim == 4 and images.is_floating_point()
        return self._encoded(images if is_pixels else pixels_of(self.model, items, self.pad_to_square))

    @torch.no_grad()
    def _encoded(self, pixels: Tensor) -> dict[str, Moments]:
        """The moments of pictures, by the encoder (and projector) alone."""
        model = self.model
        tower = towers_of(model)["vision"].transformer
        current = CurrentPass(model, None, PictureLayout.unknown(len(pixels), grid_of(tower), 0))
        found: dict[str, Moments] = {}

        def read(activation: Tensor, hook: Any) -> None:
            found[hook.name] = self.reader.read(activation, Here.at(model, hook, activation, current))

        read.reads_only = True  # type: ignore[attr-defined]
        encode = next(
            (getattr(model, name) for name in ("encode_images", "encode_image") if hasattr(model, name)), model
        )
        with model.hooks(fwd_hooks=[(name, read) for name in self.hook_names]):
            encode(pixels.to(tower.ln_final.w.device))
        return {name: found[name] for name in self.hook_names}

    def _prepared(self, items: list[Any], prompt: str | Sequence[str] | None) -> Inputs:
        if prompt is None:
            rule = "a prompt, as the decoder is run"
            raise InputError(f"Mean of {self._what}", rule, "none", 'Pass prompt="Describe this image.".')
        prompts = [prompt] * len(items) if isinstance(prompt, str) else list(prompt)
        prepared: Inputs = self.model.prepare(items, prompts, pad_to_square=self.pad_to_square)
        return prepared

    def _moments_of_inputs(self, inputs: Mapping[str, Tensor]) -> dict[str, Moments]:
        """The moments of prompts, by the layers that are needed."""
        if self.is_of_pictures:
            return self._encoded(inputs["pixel_values"])
        depths = [self.model.hook_dict[name].layer() for name in self.hook_names]
        behind = any(depth is None and name.startswith(("ln_final", "unembed"))
                     for name, depth in zip(self.hook_names, depths, strict=True))  # fmt: skip
        inner = [d + 1 for name, d in zip(self.hook_names, depths, strict=True)
                 if d is not None and place_of(self.model, name) == "decoder"]  # fmt: skip
        is_cut = not behind and "decoder" in towers_of(self.model)
        options = {"stop_at_layer": max(inner, default=0)} if is_cut else {}
        found: dict[str, Moments] = self.model.run(inputs, self.reader, **options)[self.reader]
        return {name: found[name] for name in self.hook_names}

    # A data set

    def _behind_those_seen(self, items: Iterator[Any], bar: Any) -> Iterator[Any]:
        """The items that were not seen yet, after those that were have been compared.

        Raises:
            EstimateError: where they are others.
        """
        seen = self.seen
        n, found = 0, ""
        for item in islice(items, seen.n_items):
            n, found = n + 1, fingerprint_after(found, item)
        if n < seen.n_items or found != seen.items_hash:
            got = f"{n:,} pictures" if n < seen.n_items else "other pictures, or in another order"
            advice = "Give the same pictures in the same order, or another file."
            raise EstimateError("Estimate cannot go on", f"the {seen.n_items:,} pictures seen so far", got, advice)
        bar.update(n)
        return items

    def _resumed(self, path: Path, batch_size: int, prompt: str | None) -> Seen:
        moments, manifest = read_moments(path)
        self.manifest().check_continues(manifest)
        for name, given in (("batch_size", batch_size), ("prompt", prompt)):
            if getattr(manifest, name) != given:
                rule = f"{name} {getattr(manifest, name)!r}, as in {path.name}"
                raise EstimateError("Estimate cannot go on", rule, repr(given), "Use the same, or another file.")
        return Seen(moments, manifest.n_items, manifest.items_hash)

    def _save(self, path: Path | None, *, is_complete: bool, **facts: Any) -> None:
        if path is not None and self.seen.moments:
            write_moments(path, self.seen.moments, self.manifest(is_complete=is_complete, **facts))


def _check_sees(model: Any) -> None:
    """Raise for a model of text alone.

    Raises:
        EstimateError: with how its mean is taken.
    """
    if "vision" not in towers_of(model):
        advice = (
            "Average the activations of a run: model.run(tokens, names_filter=hook).cache[hook].mean(dim=(0, 1)); "
            "MeanAblation takes that tensor."
        )
        rule = "a model that sees pictures"
        raise EstimateError("MeanEstimator cannot run", rule, f"a {type(model).__name__} of text alone", advice)


def _in_batches(items: Iterator[Any], batch_size: int) -> Iterator[list[Any]]:
    while batch := list(islice(items, batch_size)):
        yield batch
