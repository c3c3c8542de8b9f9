"""Vision tower, projector and decoder as one model, with the decoder at the root."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from vlm_lens.errors import InputError
from vlm_lens.inputs import Inputs, inputs_from_mapping
from vlm_lens.inputs.entries import Entries, entries_of
from vlm_lens.layout import PatchGrid
from vlm_lens.model.key_value_cache import KeyValueCache
from vlm_lens.model.loss import follows_a_token
from vlm_lens.model.parts import JoinedParts
from vlm_lens.model.projector import Projector
from vlm_lens.model.transformer import HookedTransformer, check_request
from vlm_lens.model.vision import points_behind, selected_features


class JoinedTransformer(HookedTransformer):
    """A decoder that is shown pictures: its hooks stand at the root, the rest under `vision` and `projector`.

    Args:
        parts: the checkpoint's modules.
        processor: the checkpoint's processor; None for a model that is given tokens and pixels only.
    """

    def __init__(self, parts: JoinedParts, processor: Any = None) -> None:
        tokenizer = getattr(processor, "tokenizer", processor)
        super().__init__(parts.decoder_config, parts.decoder, tokenizer)
        self.cfg.original_architecture = parts.architecture
        self.processor = processor
        self.image_token_id, self.features = parts.image_token_id, parts.features
        self.vision = HookedTransformer(parts.vision_config, parts.vision)
        self.projector = Projector(parts.projector)
        self.behind_features = points_behind(self.vision, parts.features)
        self.take_mode_of(parts.decoder.ln_final)
        self.setup()

    @property
    def n_class_tokens(self) -> int:
        """How many positions of an image in the decoder are not patches."""
        return int(self.vision.cfg.has_class_token and self.features.keeps_class_token)

    def grid_for(self, size: tuple[int, int]) -> PatchGrid:
        """The patch grid of a picture of this height and width in model pixels."""
        assert self.vision.cfg.patch_size is not None
        return PatchGrid.over(*size, self.vision.cfg.patch_size)

    def as_inputs(self, mapping: Mapping[str, Any]) -> Inputs:
        """What a processor returned, with a layout.

        Raises:
            InputError: for entries that are missing or do not fit each other.
        """
        if isinstance(mapping, Inputs):
            return mapping
        return inputs_from_mapping(
            mapping,
            image_token_id=self.image_token_id,
            grid_for=self.grid_for,
            tokenizer=self.tokenizer,
            image_processor=getattr(self.processor, "image_processor", None),
            max_length=self.cfg.n_ctx,
            n_class_tokens=self.n_class_tokens,
        )

    def prompts_of(self, inputs: Any) -> Any:
        """What to continue, with a layout."""
        return self.as_inputs(super().prompts_of(inputs))

    def encode_images(
        self, pixel_values: Float[Tensor, "image channel height width"]
    ) -> Float[Tensor, "image patch d_model"]:
        """The vectors that the decoder is given for each picture: tower, feature selection, projector."""
        return self.projector(selected_features(self.vision, pixel_values, self.features, self.behind_features))

    def merged(
        self,
        tokens: Int[Tensor, "batch pos"],
        image_vectors: Float[Tensor, "image patch d_model"] | None,
    ) -> Float[Tensor, "batch pos d_model"]:
        """Token embeddings, with the pictures' vectors in the places of image tokens.

        Raises:
            InputError: where the number of places differs from the number of vectors.
        """
        stream = self.embed(tokens)
        is_image = tokens == self.image_token_id
        n_images, n_patches = (0, 0) if image_vectors is None else image_vectors.shape[:2]
        if (n_places := int(is_image.sum())) != n_images * n_patches:
            rule = f"{n_images} x {n_patches} = {n_images * n_patches}"
            advice = "Pass the processor's input_ids unmodified."
            raise InputError("Image token count does not match the patch grid", rule, n_places, advice)
        if image_vectors is None:
            return stream
        return stream.masked_scatter(is_image[..., None], image_vectors.to(stream.device, stream.dtype))

    def forward(self, input: Any, return_type: Any = "logits", **options: Any) -> Any:
        """Run the model; see `HookedTransformer.forward` for the options.

        Args:
            input: `Inputs`, a mapping as the processor returns it, text, tokens `[batch pos]` without images, or a
                stream `[batch pos d_model]` with `start_at_layer`.
            return_type: "logits", "loss" (image tokens and padding are no targets), "both" or None.
            options: as `HookedTransformer.forward`. With `start_at_layer`, `Inputs` are embedded and enter at that
                block.

        Raises:
            InputError: for an input that cannot be taken.
        """
        if not isinstance(input, Mapping):
            return super().forward(input, return_type, **options)
        return self._forward_entries(entries_of(input, self.cfg.n_ctx), return_type, **options)

    def _checked_tokens(self, tokens: Tensor, past: KeyValueCache | None) -> Int[Tensor, "batch pos"]:
        """As for a decoder alone; image tokens need a picture (generated ones stand for themselves)."""
        tokens = super()._checked_tokens(tokens, past)
        if past is None and bool((tokens == self.image_token_id).any()):
            advice = "Give both: vlm(vlm.prepare(image, prompt))."
            raise InputError("Prompt has an image token and no picture", "text alone", "an image token", advice)
        return tokens

    def _forward_entries(
        self,
        entries: Entries,
        return_type: Any,
        *,
        start_at_layer: int | None = None,
        stop_at_layer: int | None = None,
        past: KeyValueCache | None = None,
        loss_per_token: bool = False,
        only_last: bool = False,
    ) -> Any:
        check_request(return_type, stop_at_layer, only_last)
        device = self.embed.W_E.device
        tokens, attention_mask = entries.input_ids.to(device), entries.attention_mask.to(device)
        is_real = None if bool(attention_mask.all()) else attention_mask.bool()
        vectors = None if entries.pixel_values is None else self.encode_images(entries.pixel_values)
        stream = self.hook_embed(self.merged(tokens, vectors))
        stream = self._through_blocks(stream, is_real, past, start_at_layer, stop_at_layer)
        if stop_at_layer is not None:
            return stream
        is_target = (tokens != self.image_token_id) & follows_a_token(attention_mask.bool())
        return self._finished(stream, return_type, tokens, is_target, loss_per_token, only_last)

    def slices_positions_of(self, name: str) -> bool:
        """`pos_slice` and `remove_batch_dim` speak of the decoder."""
        return not name.startswith(("vision.", "projector."))
