"""The verbs of generation: all at once, or token by token."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from vlm_lens.errors import InputError
from vlm_lens.inputs import Inputs
from vlm_lens.inputs.entries import entries_of
from vlm_lens.model.config import TransformerConfig
from vlm_lens.model.fixed_step import check_fits
from vlm_lens.model.generation import Generation, Step, check_prompts, generated, stream_tokens
from vlm_lens.model.hooked_root import NamesFilter
from vlm_lens.model.sampling import Sampling

# Steps that are run before a GPU is asked whether every row has ended.
_UNASKED = 8


class Generates:
    """What a decoder can do once it has tokens to continue."""

    cfg: TransformerConfig
    padded_tokens: Callable[..., tuple[Tensor, Tensor]]
    selected_names: Callable[[NamesFilter], list[str]]

    def generate(
        self,
        inputs: Any,
        *,
        max_new_tokens: int = 50,
        do_sample: bool = False,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        eos_token_id: int | Iterable[int] | None = None,
        names_filter: NamesFilter = None,
        return_cache: bool = False,
        use_cache: bool = True,
        static_cache: bool = False,
        on_token: Callable[[Step], None] | None = None,
        around: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> Generation:
        """Continue the prompts, greedily or by sampling; hooks that stand are seen at every step.

        Args:
            inputs: what the model takes: text, tokens, or a mapping as the processor returns it.
            max_new_tokens: at most so many tokens.
            do_sample, temperature, top_k, top_p, seed: see `Sampling`.
            eos_token_id: a row ends with this token (or one of these); None takes the checkpoint's; () never ends one.
            names_filter: which activations to keep over prompt and generated positions.
            return_cache: keep activations although `names_filter` is None (then all but those computed when asked for).
            use_cache: keep keys and values; else every step runs the whole sequence (for comparison).
            static_cache: see `stream`.
            on_token: called with each `Step` as it comes.
            around: see `stream`.

        Raises:
            InputError: see `stream`.
        """
        inputs = self.prompts_of(inputs)
        ends, caches = self._end_tokens(eos_token_id), return_cache or names_filter is not None
        is_looked_at = on_token is not None or do_sample  # steps too many would show, or draw random numbers
        steps = Generates.stream(
            self,
            inputs,
            max_new_tokens=max_new_tokens,
            eos_token_id=ends,
            names_filter=names_filter,
            return_cache=return_cache,
            use_cache=use_cache,
            static_cache=static_cache,
            around=around,
            end_check_every=1 if is_looked_at or torch.device(self.cfg.device or "cpu").type == "cpu" else _UNASKED,
            do_sample=do_sample,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
        )
        return generated(self, inputs, steps, on_token, ends, caches, use_cache)

    def stream(
        self,
        inputs: Any,
        *,
        max_new_tokens: int = 50,
        eos_token_id: int | Iterable[int] | None = None,
        names_filter: NamesFilter = None,
        return_cache: bool = False,
        use_cache: bool = True,
        static_cache: bool = False,
        around: Callable[[], AbstractContextManager[Any]] = nullcontext,
        end_check_every: int = 1,
        **sampling: Any,
    ) -> Iterator[Step]:
        """Generate token by token: `for step in vlm.stream(inputs): step.strings`; stop whenever you like.

        Args:
            inputs, max_new_tokens, eos_token_id, use_cache: as `generate`.
            names_filter, return_cache: which activations each `Step` carries.
            static_cache: make all room at once and run each step on fixed shapes; on a GPU the step is captured as a
                graph and replayed. For steps at which nobody stands; all others run as ever. To be asked for: not yet
                timed on a GPU, and no faster on a CPU.
            around: makes a context that is entered for each run of the model, and left before the step is yielded.
            end_check_every: see `stream_tokens`.
            sampling: the fields of `Sampling`.

        Raises:
            InputError: at once, for prompts that end in padding, more positions than the context has, or a decoder that
                `static_cache` is not for.
            HookError: at once, for a name in `names_filter` that does not exist.
        """
        inputs = self.prompts_of(inputs)
        check_prompts(inputs, max_new_tokens, self.cfg.n_ctx)
        if static_cache:
            check_fits(self, use_cache)
        caches = return_cache or names_filter is not None
        return stream_tokens(
            self,
            inputs,
            max_new_tokens=max_new_tokens,
            sampling=Sampling(**sampling),
            end_tokens=self._end_tokens(eos_token_id),
            names=self.selected_names(names_filter) if caches else [],
            use_cache=use_cache,
            around=around,
            static_cache=static_cache,
            end_check_every=end_check_every,
        )

    def prompts_of(self, inputs: Any) -> Any:
        """Text or tokens as a mapping of `input_ids` and `attention_mask`."""
        if isinstance(inputs, Inputs):
            return inputs
        if isinstance(inputs, Mapping):
            named = entries_of(inputs, self.cfg.n_ctx)._asdict()
            return {name: value for name, value in named.items() if value is not None}
        if isinstance(inputs, Tensor):
            return self.prompts_of({"input_ids": inputs})
        is_text = isinstance(inputs, str) or (isinstance(inputs, list) and all(isinstance(one, str) for one in inputs))
        if not is_text:
            rule = "text, tokens, or a mapping as the processor returns it"
            advice = "Pictures go through prepare: model.run(model.prepare(image, prompt))."
            raise InputError("Input is not understood", rule, type(inputs).__name__, advice)
        tokens, is_token = self.padded_tokens(inputs)
        return {"input_ids": tokens, "attention_mask": is_token.long()}

    def _end_tokens(self, eos_token_id: int | Iterable[int] | None) -> tuple[int, ...]:
        if eos_token_id is None:
            eos_token_id = self.cfg.end_token_ids
        return (eos_token_id,) if isinstance(eos_token_id, int) else tuple(eos_token_id)
