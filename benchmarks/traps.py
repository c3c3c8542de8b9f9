"""The figures of docs/traps.md: what silently does nothing, or something else, in the usual tools.

    python benchmarks/traps.py

A shrunken LLaVA with random weights, the same for every tool. Nothing here is timed.
"""

import logging
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from tokenizers import Tokenizer, models
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformer_lens.hook_points import HookPoint
from transformer_lens.model_bridge import TransformerBridge
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
)
from transformers.utils.logging import disable_progress_bar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.rivals.bridge import booted
from vlm_lens import HookedVLM

IMAGE_TOKEN = 100
N_PATCHES = 16
N_VISION_LAYERS = 4  # the projector reads the output of the last but one, layer 2

# The same place in both tools: TransformerLens 4.3's bridge, and here.
WRITES = {
    "vision attention pattern": (
        "vision_encoder.encoder_layers.1.attn.hook_pattern",
        "vision.blocks.1.attn.hook_pattern",
    ),
    "vision attention scores": (
        "vision_encoder.encoder_layers.1.attn.hook_attn_scores",
        "vision.blocks.1.attn.hook_attn_scores",
    ),
    "output of the layer that the projector reads": (
        "vision_encoder.encoder_layers.2.hook_out",
        "vision.blocks.2.hook_resid_post",
    ),
    "patch embedding": ("vision_encoder.hook_patch_embed", "vision.hook_patch_embed"),
    "decoder attention pattern": ("blocks.1.attn.hook_pattern", "blocks.1.attn.hook_pattern"),
}


def shrunken_llava() -> LlavaForConditionalGeneration:
    torch.manual_seed(0)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=N_VISION_LAYERS,
            num_attention_heads=4,
            image_size=32,
            patch_size=8,
        ),
        text_config=LlamaConfig(
            hidden_size=48,
            intermediate_size=96,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            vocab_size=120,
        ),
        image_token_index=IMAGE_TOKEN,
        architectures=["LlavaForConditionalGeneration"],
    )
    model = LlavaForConditionalGeneration(config).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.normal_(0, 0.15)
    model.model.language_model.norm.weight.data.uniform_(0.5, 1.5)  # as training leaves it
    return model


def picture_and_words() -> dict[str, Tensor]:
    input_ids = torch.tensor([[1, *[IMAGE_TOKEN] * N_PATCHES, *range(5, 15)]])
    return {"input_ids": input_ids, "pixel_values": torch.randn(1, 3, 32, 32)}


def bridged(model: LlavaForConditionalGeneration) -> TransformerBridge:
    """TransformerLens's bridge over the model, from a folder: it asks for one even so."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        vocabulary = {"<s>": 0, "</s>": 1} | {f"w{i}": i for i in range(2, 120)}
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<s>"))
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>"
        ).save_pretrained(folder)
        return booted(folder, model, torch.float32)


def zeroed(activation: Tensor, hook: HookPoint) -> Tensor:
    return torch.zeros_like(activation)


def zero_in_place(activation: Tensor, hook: HookPoint) -> None:
    activation.zero_()


def movement(run: Callable[..., Tensor], name: str, hook: Callable[..., Tensor | None]) -> float:
    """How far a write moves the logits, over the largest logit."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clean, written = run(fwd_hooks=[]), run(fwd_hooks=[(name, hook)])
    return ((written - clean).abs().max() / clean.abs().max()).item()


def print_writes(model: LlavaForConditionalGeneration, inputs: dict[str, Tensor]) -> None:
    vlm = HookedVLM.from_hf(model)
    bridge = bridged(shrunken_llava())

    def ours(fwd_hooks: list[tuple[str, Callable[..., Tensor | None]]]) -> Tensor:
        return vlm.run_with_hooks(inputs, fwd_hooks=fwd_hooks)

    def theirs(fwd_hooks: list[tuple[str, Callable[..., Tensor | None]]]) -> Tensor:
        ids, pixels = inputs["input_ids"], inputs["pixel_values"]
        return bridge.run_with_hooks(ids, pixel_values=pixels, fwd_hooks=fwd_hooks)

    print("Zeroed, and the logits move by (share of the largest logit; returned | in place):")
    for place, (their_name, our_name) in WRITES.items():
        moved = [
            f"{movement(run, name, hook):.3f}"
            for run, name in ((theirs, their_name), (ours, our_name))
            for hook in (zeroed, zero_in_place)
        ]
        print(f"  {place:46s} bridge {moved[0]} | {moved[1]}   here {moved[2]} | {moved[3]}")


def print_masks() -> None:
    query = torch.randn(1, 1, 4, 8)

    def attended(mask: Tensor) -> Tensor:
        return scaled_dot_product_attention(query, query, query, attn_mask=mask)

    print("Writing False into column 2 of a mask that allows everything moves the result by:")
    for name, mask in {
        "float mask": torch.zeros(1, 1, 4, 4),
        "boolean mask": torch.ones(1, 1, 4, 4, dtype=torch.bool),
    }.items():
        blocked = mask.clone()
        blocked[..., 2] = False
        print(f"  {name:46s} {(attended(blocked) - attended(mask)).abs().max():.3f}")
    print("A query left without any key attends:")
    least = torch.finfo(torch.float32).min
    fused = attended(torch.zeros(1, 1, 4, 4, dtype=torch.bool))
    print(f"  boolean mask, fused: result {fused[0, 0, 0, :3].tolist()} ...")
    print(f"  -inf, softmax:       pattern {torch.full((4,), -torch.inf).softmax(-1).tolist()}")
    print(f"  finfo.min, softmax:  pattern {torch.full((4,), least).softmax(-1).tolist()}")


def print_transformers(model: LlavaForConditionalGeneration, inputs: dict[str, Tensor]) -> None:
    output = model(**inputs, output_hidden_states=True)
    last, decoder = output.hidden_states[-1], model.model.language_model
    twice = model.lm_head(decoder.norm(last))
    changed = (twice.argmax(-1) != output.logits.argmax(-1)).float().mean()
    print("The last of `hidden_states`:")
    print(f"  unembedded as it is, against the logits        {deviation(model.lm_head(last), output.logits):.1e}")
    print(f"  normed first, against the logits               {deviation(twice, output.logits):.3f}; "
          f"top-1 token differs at {100 * changed:.0f}% of positions")  # fmt: skip

    print("`output_attentions=True` under sdpa gives:      ", model(**inputs, output_attentions=True).attentions)

    seen: list[Tensor] = []
    mask = torch.ones_like(inputs["input_ids"])
    mask[0, 5:9] = 0
    handle = decoder.layers[0].register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["position_ids"]), with_kwargs=True
    )
    model(**inputs, attention_mask=mask)
    model.generate(**inputs, attention_mask=mask, max_new_tokens=1, do_sample=False)
    handle.remove()
    print("attention_mask with zeros at positions 5 to 8: rotary positions 4 to 10 become")
    print(f"  in a forward    {seen[0][0, 4:11].tolist()}")
    print(f"  in `generate`   {seen[1][0, 4:11].tolist()}")


def deviation(values: Tensor, reference: Tensor) -> float:
    """The largest difference, over the largest reference value."""
    return ((values - reference).abs().max() / reference.abs().max()).item()


def main() -> None:
    logging.disable(logging.WARNING)
    disable_progress_bar()
    with torch.inference_mode():
        model = shrunken_llava()
        inputs = picture_and_words()
        print_masks()
        print_transformers(model, inputs)
        print_writes(model, inputs)


if __name__ == "__main__":
    main()
