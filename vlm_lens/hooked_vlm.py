"""The model as a user holds it."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vlm_lens.attachments import Attachment
from vlm_lens.context import CompressedContext, compress
from vlm_lens.demo import vlm_folder
from vlm_lens.errors import InputError
from vlm_lens.hooked_transformer import HookedTransformer
from vlm_lens.inputs import Inputs, prepare
from vlm_lens.inputs.prepare import Images
from vlm_lens.model.joined import JoinedTransformer
from vlm_lens.model.loading import joined_parts, load_joined


class HookedVLM(HookedTransformer, JoinedTransformer):
    """A vision-language model with every activation of both towers readable and writable.

    The decoder's hooks stand at the root under TransformerLens's names (`blocks.7.attn.hook_pattern`), the vision
    tower's under `vision.`, the projector's under `projector.`; docs/hooks.md lists them all.

    Example:
        >>> from vlm_lens import HookedVLM
        >>> vlm = HookedVLM.demo()
        >>> vlm.cfg.n_layers == len(vlm.blocks)
        True
    """

    @classmethod
    def from_pretrained(
        cls,
        path_or_name: str | Path,
        *,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        revision: str | None = None,
        **options: Any,
    ) -> "HookedVLM":
        """Load a checkpoint from a folder, or by its name on the hub.

        Args:
            path_or_name: a folder written by `save_pretrained`, or `"llava-hf/llava-1.5-7b-hf"`.
            device: where the weights go, straight from disk; "auto" spreads them over devices.
            dtype: of the weights, like "bfloat16"; None keeps the checkpoint's.
            revision: branch, tag or commit on the hub.
            options: passed on to `transformers`' `from_pretrained`.

        Raises:
            CheckpointError: a folder that is missing, incomplete or damaged.
            UnsupportedModelError: a family without an adapter, with the supported ones.
        """
        return cls.from_hf(*load_joined(path_or_name, device=device, dtype=dtype, revision=revision, **options))

    @classmethod
    def from_hf(cls, model: nn.Module, processor: Any = None) -> "HookedVLM":
        """Hook a `transformers` model that is already in memory; its parameters are used as they are, not copied.

        Args:
            model: a `LlavaForConditionalGeneration`.
            processor: the checkpoint's processor; without one, give tokens and pixels.

        Raises:
            UnsupportedModelError: a family without an adapter, with the supported ones.
        """
        return cls(joined_parts(model), processor)

    @classmethod
    def demo(cls, device: str | torch.device | None = None) -> "HookedVLM":
        """The bundled model: trained, tiny, loaded in fp32 from the package itself, without a network."""
        return cls.from_pretrained(vlm_folder(), device=device, dtype="float32")

    def prepare(
        self, images: Images, prompt: str | Sequence[str], *, template: str | None = None, pad_to_square: bool = False
    ) -> Inputs:
        """Pictures and prompts as this model takes them, with the role of every position.

        Args:
            images: a PIL image, path or array; several for one prompt with as many `<image>`; for a list of prompts a
                list with a picture, several or None for each.
            prompt: a question (put through the checkpoint's chat template), or a literal prompt with `<image>` in it.
            template: "v1", "llava" ... (see `vlm_lens.inputs.TEMPLATES`), "chat" or "literal" to choose and not guess.
            pad_to_square: pad pictures with the mean colour first, as LLaVA's own code does.

        Raises:
            InputError: pictures and markers that do not match, a picture that cannot be opened, a prompt longer than
                the context, a model without a processor.
        """
        if getattr(self.processor, "image_processor", None) is None:
            advice = "Give one: HookedVLM.from_hf(model, processor)."
            raise InputError("Pictures cannot be prepared", "a processor", "a model without one", advice)
        inputs = prepare(
            self.processor,
            images,
            prompt,
            image_token_id=self.image_token_id,
            grid_for=self.grid_for,
            template=template,
            max_length=self.cfg.n_ctx,
            n_class_tokens=self.n_class_tokens,
            pad_to_square=pad_to_square,
        )
        return inputs.to(self.embed.W_E.device)

    def compress(self, inputs: Any, *objects: Attachment, **options: Any) -> CompressedContext:
        """What is left of a picture once it was described, to ask questions of: `vlm.compress(image).ask("...")`.

        Args:
            inputs: a picture, or `Inputs` of one row.
            objects: interventions in force meanwhile.
            options: `prompt`, `keep`, `variant` and others of `vlm_lens.context.compress`.

        Raises:
            InputError: see `vlm_lens.context.compress`.
        """
        return compress(self, inputs, *objects, **options)

    def __repr__(self) -> str:
        tower, cfg = self.vision.cfg, self.cfg
        return (
            f"HookedVLM({cfg.model_name}: {tower.n_layers} vision layers of {tower.n_heads} heads, "
            f"{cfg.n_layers} decoder layers of {cfg.n_heads} heads, {len(self.hook_dict)} hooks, "
            f"{cfg.dtype} on {cfg.device})"
        )

    def _repr_html_(self) -> str:
        rows = [
            ("", "vision tower", "decoder"),
            ("architecture", self.vision.cfg.original_architecture, self.cfg.original_architecture),
            *[
                (name, getattr(self.vision.cfg, name), getattr(self.cfg, name))
                for name in (
                    "n_layers",
                    "d_model",
                    "n_heads",
                    "n_key_value_heads",
                    "d_head",
                    "d_mlp",
                    "n_ctx",
                    "act_fn",
                )
            ],
        ]
        cells = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
        return f"<b>{escape(repr(self))}</b><table>{cells}</table>"
