"""TransformerLens 4's `TransformerBridge`, with its own hooks; its patching module loops over full passes as well."""

import io
import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import Any
from unittest.mock import patch

import torch
from tokenizers import Tokenizer, models
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from benchmarks.conditions import Blocked, Change, Replaced
from benchmarks.model import twin
from benchmarks.rivals.rival import CannotDo, Output, Rival, Setup, read_lens

Hook = tuple[str, Callable[..., Any]]


class Bridge(Rival):
    """The bridge over a LLaVA in memory: it rewrites the modules that it is given, so it gets its own."""

    name = "TransformerLens bridge"

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        with tempfile.TemporaryDirectory() as folder:  # it asks for a folder or the hub, although the model is there
            setup.model.config.save_pretrained(folder)
            words = Tokenizer(models.WordLevel({"<s>": 0, "</s>": 1, "word": 2}, unk_token="word"))
            special = dict(bos_token="<s>", eos_token="</s>", pad_token="</s>")
            PreTrainedTokenizerFast(tokenizer_object=words, **special).save_pretrained(folder)
            self.model: Any = booted(folder, twin(setup.model), getattr(torch, setup.sizes.dtype))

    def logits(self) -> Output:
        return {"logits": self._run()[0]}

    def residual_cache(self) -> Output:
        logits, cache = self._cached(lambda name: name.startswith("blocks.") and name.endswith("hook_resid_post"))
        layers = range(self.setup.sizes.decoder_layers)
        return {"logits": logits[0]} | {
            f"resid_post.{one}": cache[f"blocks.{one}.hook_resid_post"][0] for one in layers
        }

    def full_cache(self) -> Output:
        logits, cache = self._cached(None)
        self.note = f"{len(cache)} tensors"
        return {"logits": logits[0]} | dict(cache)

    def last_logits(self, changes: Sequence[Change]) -> Output:
        with self.model.hooks(fwd_hooks=self._hooks(changes)):
            return {"logits": self._run(logits_to_keep=1)[0, -1]}

    def generated(self, changes: Sequence[Change]) -> Output:
        n_new, inputs = self.setup.sizes.new_tokens, self.setup.inputs
        with self.model.hooks(fwd_hooks=self._hooks(changes)):
            tokens = self.model.generate(
                inputs["input_ids"],
                pixel_values=inputs["pixel_values"],
                max_new_tokens=n_new,
                do_sample=False,
                stop_at_eos=False,
                return_type="tokens",
                verbose=False,
            )
        return {"tokens": tokens[0, -n_new:]}

    def lens(self, changes: Sequence[Change], patches: Sequence[int]) -> Output:
        positions = self.setup.image_positions[list(patches)]
        states: list[Tensor] = []

        def keep(state: Tensor, hook: Any) -> None:
            states.append(state[0, positions])

        names = [f"blocks.{layer}.hook_resid_post" for layer in range(self.setup.sizes.decoder_layers)]
        reads: list[Hook] = [(name, keep) for name in ("blocks.0.hook_resid_pre", *names)]
        with self.model.hooks(fwd_hooks=self._hooks(changes) + reads):
            self._run(logits_to_keep=1)
        return read_lens(states, self.model.ln_final, self.model.unembed, self.setup.target)

    def _run(self, **options: Any) -> Tensor:
        inputs = self.setup.inputs
        return self.model(inputs["input_ids"], pixel_values=inputs["pixel_values"], **options)

    def _cached(self, names_filter: Any) -> tuple[Tensor, Any]:
        inputs = self.setup.inputs
        return self.model.run_with_cache(
            inputs["input_ids"], pixel_values=inputs["pixel_values"], names_filter=names_filter
        )

    def _hooks(self, changes: Sequence[Change]) -> list[Hook]:
        return [hook for change in changes for hook in self._hooks_of(change)]

    def _hooks_of(self, change: Change) -> list[Hook]:
        if isinstance(change, Replaced):
            return [("vision_projector.hook_out", writing(change))]
        if change.tower == "vision":
            raise CannotDo("its vision tower's scores and pattern are read-only: writing them changes nothing")
        return [(f"blocks.{layer}.attn.hook_attn_scores", closing(change, self.setup)) for layer in change.layers]


def booted(folder: str, model: Any, dtype: torch.dtype) -> Any:
    """The bridge over a model in memory; it may start no process meanwhile.

    Where a LLaVA's processor cannot be loaded, 4.3 runs `pip install torchvision` by itself, into the environment that
    it runs in, and torch is replaced along with it.
    """
    from transformer_lens.model_bridge import TransformerBridge

    refused = OSError("a benchmark installs nothing")
    with (
        patch("subprocess.check_call", side_effect=refused),
        redirect_stdout(io.StringIO()),
        redirect_stderr(io.StringIO()),
    ):
        return TransformerBridge.boot_transformers(folder, hf_model=model, dtype=dtype)


def closing(change: Blocked, setup: Setup) -> Callable[..., Any]:
    """A hook of the scores that closes edges."""
    made: dict[tuple[int, int], Tensor] = {}

    def close(scores: Tensor, hook: Any) -> Tensor:
        shape = scores.shape[-2], scores.shape[-1]
        if shape not in made:
            made[shape] = ~change.allowed(setup.sizes.n_positions, *shape, scores.device)
        return scores.masked_fill_(made[shape], -torch.inf)

    return close


def writing(change: Replaced) -> Callable[..., Any]:
    def write(features: Tensor, hook: Any) -> Tensor:
        features[:, list(change.patches)] = change.vector.to(features)
        return features

    return write
