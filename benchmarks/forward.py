"""How much a forward costs next to `transformers`: without hooks, and with the stream cached.

    python benchmarks/forward.py               # a LLaVA of some 110 M parameters, 616 positions
    python benchmarks/forward.py --device cuda --dtype bfloat16 --d-model 4096

One LLaVA with random weights is held twice over the same parameters: as `transformers` runs it
(sdpa), and as `HookedVLM` runs it. `transformers` also runs the tower's last block,
which feeds nothing and which `HookedVLM` leaves out; the logits are the same. They are compared
before anything is timed. Then every round times each contestant once, in an order that turns, so
that whatever else the machine does falls on all alike. What is reported are medians and quartiles of
the rounds; the raw times go to
`benchmarks/results/forward-<device>-<dtype>.json`.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from torch import Tensor
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from vlm_lens import HookedVLM

RESULTS = Path(__file__).parent / "results"
D_HEAD = 64
PATCH_SIZE = 14
IMAGE_TOKEN = 3
TARGETS = {"HookedVLM": 1.03, "HookedVLM, residual stream cached": 1.10}
BASELINE = "transformers sdpa"


def parsed_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", help="a torch dtype by name")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch, on the CPU")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--d-model", type=int, default=512)
    parser.add_argument("--decoder-layers", type=int, default=32)
    parser.add_argument("--vision-width", type=int, default=256)
    parser.add_argument("--vision-layers", type=int, default=8)
    parser.add_argument("--image-size", type=int, default=336, help="pixels; patches are 14 x 14")
    parser.add_argument("--text-tokens", type=int, default=40)
    parser.add_argument("--vocabulary", type=int, default=8192)
    return parser.parse_args()


def random_llava(sizes: argparse.Namespace) -> LlavaForConditionalGeneration:
    """A LLaVA of the given sizes with seeded random weights, attention by sdpa."""
    torch.manual_seed(0)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=sizes.vision_width,
            intermediate_size=4 * sizes.vision_width,
            num_hidden_layers=sizes.vision_layers,
            num_attention_heads=sizes.vision_width // D_HEAD,
            image_size=sizes.image_size,
            patch_size=PATCH_SIZE,
        ),
        text_config=LlamaConfig(
            hidden_size=sizes.d_model,
            intermediate_size=round(sizes.d_model * 8 / 3 / 32) * 32,
            num_hidden_layers=sizes.decoder_layers,
            num_attention_heads=sizes.d_model // D_HEAD,
            num_key_value_heads=sizes.d_model // D_HEAD,
            vocab_size=sizes.vocabulary,
        ),
        image_token_index=IMAGE_TOKEN,
    )
    config._attn_implementation = "sdpa"
    model = LlavaForConditionalGeneration(config)
    return model.to(device=sizes.device, dtype=getattr(torch, sizes.dtype)).eval()


def random_inputs(sizes: argparse.Namespace) -> dict[str, Tensor]:
    """What a processor would return: one image and some text in every row."""
    n_patches = (sizes.image_size // PATCH_SIZE) ** 2
    generator = torch.Generator().manual_seed(1)
    text = torch.randint(IMAGE_TOKEN + 1, sizes.vocabulary, (sizes.batch, sizes.text_tokens), generator=generator)
    image = torch.full((sizes.batch, n_patches), IMAGE_TOKEN)
    pixels = torch.randn(sizes.batch, 3, sizes.image_size, sizes.image_size, generator=generator)
    input_ids = torch.cat([text[:, :5], image, text[:, 5:]], dim=1)
    return {
        "input_ids": input_ids.to(sizes.device),
        "attention_mask": torch.ones_like(input_ids).to(sizes.device),
        "pixel_values": pixels.to(device=sizes.device, dtype=getattr(torch, sizes.dtype)),
    }


def contestants(model: LlavaForConditionalGeneration, inputs: dict[str, Tensor]) -> dict[str, Callable[[], Tensor]]:
    """Each name with the call that is timed; every call returns the logits."""
    vlm = HookedVLM.from_hf(model)

    def is_residual(name: str) -> bool:
        return name.endswith("hook_resid_post")

    return {
        BASELINE: lambda: model(**inputs, use_cache=False).logits,
        "HookedVLM": lambda: vlm(inputs),
        "transformers sdpa, output_hidden_states": lambda: (
            model(**inputs, use_cache=False, output_hidden_states=True).logits
        ),
        "HookedVLM, residual stream cached": lambda: vlm.run_with_cache(inputs, names_filter=is_residual)[0],
    }


def assert_equal_logits(calls: dict[str, Callable[[], Tensor]], dtype: str) -> dict[str, float]:
    """Each contestant's largest deviation from the baseline, over the largest logit.

    Raises:
        SystemExit: One of them computes something else; then its speed means nothing.
    """
    reference = calls[BASELINE]().float()
    tolerance = 1e-5 if dtype == "float32" else 2e-2
    deviations = {}
    for name, call in calls.items():
        logits = call().float()
        deviations[name] = ((logits - reference).abs().max() / reference.abs().max()).item()
        if not deviations[name] <= tolerance:
            raise SystemExit(f"{name} differs from {BASELINE} by {deviations[name]:.1e} of the largest logit")
    return deviations


def seconds_of(call: Callable[[], Tensor], device: str) -> float:
    """The wall-clock time of one call, with everything it queued done."""
    start = time.perf_counter()
    call()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - start


def interleaved_times(calls: dict[str, Callable[[], Tensor]], n_rounds: int, device: str) -> dict[str, list[float]]:
    """Times of every call in every round, after one round that only warms up."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for round_ in range(n_rounds + 1):
        turn = round_ % len(names)
        for name in names[turn:] + names[:turn]:
            seconds = seconds_of(calls[name], device)
            if round_ > 0:
                times[name].append(seconds)
    return times


def main() -> None:
    sizes = parsed_arguments()
    torch.set_num_threads(sizes.threads)
    with torch.inference_mode():
        model, inputs = random_llava(sizes), random_inputs(sizes)
        calls = contestants(model, inputs)
        deviations = assert_equal_logits(calls, sizes.dtype)
        times = interleaved_times(calls, sizes.rounds, sizes.device)

    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    n_positions = inputs["input_ids"].shape[1]
    print(f"{n_parameters / 1e6:.0f} M parameters, {sizes.decoder_layers} decoder layers, "
          f"{n_positions} positions, batch {sizes.batch}, {sizes.dtype}, {sizes.device}, "
          f"{sizes.threads} threads, {sizes.rounds} rounds")  # fmt: skip
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratios = {name: median / medians[BASELINE] for name, median in medians.items()}
    for name, values in times.items():
        low, _, high = statistics.quantiles(values, n=4)
        target = f"  (target {TARGETS[name]:.2f})" if name in TARGETS else ""
        median, spread = 1e3 * medians[name], f"[{1e3 * low:.1f}, {1e3 * high:.1f}]"
        deviation = f"logits differ by {deviations[name]:.1e}"
        print(f"  {name:40s} {median:9.1f} ms {spread:18s} x {ratios[name]:.3f}{target} {deviation}")

    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"forward-{sizes.device.replace(':', '')}-{sizes.dtype}.json"
    record = {
        "sizes": vars(sizes),
        "n_parameters": n_parameters,
        "n_positions": n_positions,
        "seconds": times,
        "median_seconds": medians,
        "ratio_to_transformers": ratios,
        "logit_deviation": deviations,
        "machine": torch.cuda.get_device_name() if "cuda" in sizes.device else platform.machine(),
        "versions": {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "vlm_lens": importlib.metadata.version("vlm-lens"),
        },
    }
    file.write_text(json.dumps(record, indent=1) + "\n")
    print(f"written to {file}")


if __name__ == "__main__":
    main()
