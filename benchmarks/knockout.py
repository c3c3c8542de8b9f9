"""How much a run with a knockout costs next to a plain run of the same model.

    python benchmarks/knockout.py              # the model of forward.py; the same options

The plain run is `vlm(inputs)`; every contestant is `vlm.run(inputs, AttentionKnockout(...))`, checks and all, on the
same inputs. Before anything is timed, the knockouts of every decoder layer are compared with `transformers` on the same
weights, whose decoder is given an additive mask of its own. Rounds are interleaved as in forward.py. The raw times go
to `benchmarks/results/knockout-<device>-<dtype>.json`.
"""

import importlib.metadata
import json
import statistics
from collections.abc import Callable

import torch
import transformers
from forward import RESULTS, interleaved_times, parsed_arguments, random_inputs, random_llava
from torch import Tensor
from transformers import LlavaForConditionalGeneration

from vlm_lens import AttentionKnockout, HookedVLM, Inputs, TopKContext

PLAIN = "plain run"
TARGET = 1.10


def blockers(inputs: Inputs, n_layers: int) -> dict[str, AttentionKnockout | TopKContext]:
    """Each name with what is blocked: one row, the text's rows, some heads, some layers, the tower."""
    grid = inputs.layout.image_span().grid
    rows, cols = (slice(size // 4, size // 2) for size in grid.shape)
    thing = inputs.layout.patches(rows=rows, cols=cols)
    return {
        "object -> last": AttentionKnockout("last", thing),
        "object -> last, second half of depth": AttentionKnockout("last", thing, layers=(0.5, 1.0)),
        "object -> last, two heads": AttentionKnockout("last", thing, heads=[0, 1]),
        "image -> text": AttentionKnockout("prompt_text", "image"),
        "rest of the image -> object, decoder": AttentionKnockout(thing, ~thing),
        "object <-> rest, vision tower": AttentionKnockout(thing, ~thing, tower="vision", bidirectional=True),
        "top 5% of the image, other in every layer": TopKContext(0.05, torch.rand(n_layers, grid.n_patches)),
    }


def assert_acts_as_transformers(
    model: LlavaForConditionalGeneration, vlm: HookedVLM, inputs: Inputs, knockout: AttentionKnockout
) -> float:
    """The largest deviation of a decoder knockout in all layers from an additive mask that `transformers` is given.

    Raises:
        SystemExit: the two compute something else; then the speed means nothing.
    """
    n_positions = inputs.shape[1]
    allowed = torch.ones(n_positions, n_positions, dtype=torch.bool, device=inputs.device).tril()
    for query in inputs.layout.positions(knockout.queries):
        allowed[query, list(inputs.layout.positions(knockout.keys))] = False
    dtype = next(model.parameters()).dtype
    additive = torch.zeros(1, 1, n_positions, n_positions, dtype=dtype, device=inputs.device)
    additive.masked_fill_(~allowed, torch.finfo(dtype).min)
    embedded = vlm.merged(inputs.input_ids, vlm.encode_images(inputs["pixel_values"]))
    states = model.model.language_model(inputs_embeds=embedded, attention_mask=additive, use_cache=False)
    reference = model.lm_head(states.last_hidden_state)
    deviation = ((vlm.run(inputs, knockout).logits - reference).abs().max() / reference.abs().max()).item()
    if not deviation <= (1e-5 if dtype == torch.float32 else 2e-2):
        raise SystemExit(f"{knockout!r} differs from transformers by {deviation:.1e} of the largest logit")
    return deviation


def main() -> None:
    sizes = parsed_arguments()
    torch.set_num_threads(sizes.threads)
    with torch.no_grad():
        model = random_llava(sizes)
        vlm = HookedVLM.from_hf(model)
        inputs = vlm.as_inputs(random_inputs(sizes))
        objects = blockers(inputs, sizes.decoder_layers)
        in_decoder = [
            one
            for one in objects.values()
            if isinstance(one, AttentionKnockout) and (one.tower, one.layers, one.heads) == ("decoder", "all", None)
        ]
        deviations = [assert_acts_as_transformers(model, vlm, inputs, one) for one in in_decoder]
        calls: dict[str, Callable[[], Tensor]] = {PLAIN: lambda: vlm(inputs)}
        calls |= {name: lambda one=one: vlm.run(inputs, one).logits for name, one in objects.items()}
        times = interleaved_times(calls, sizes.rounds, sizes.device)

    medians = {name: statistics.median(values) for name, values in times.items()}
    ratios = {name: median / medians[PLAIN] for name, median in medians.items()}
    print(f"{sizes.decoder_layers} decoder layers, {inputs.shape[1]} positions, {sizes.dtype}, {sizes.device}, "
          f"{sizes.threads} threads, {sizes.rounds} rounds; decoder knockouts differ from transformers by at most "
          f"{max(deviations):.1e} of the largest logit")  # fmt: skip
    for name, values in times.items():
        low, _, high = statistics.quantiles(values, n=4)
        target = "" if name == PLAIN else f"  (target {TARGET:.2f})"
        median, spread = 1e3 * medians[name], f"[{1e3 * low:.1f}, {1e3 * high:.1f}]"
        print(f"  {name:40s} {median:9.1f} ms {spread:18s} x {ratios[name]:.3f}{target}")
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"knockout-{sizes.device.replace(':', '')}-{sizes.dtype}.json"
    record = {
        "sizes": vars(sizes),
        "seconds": times,
        "median_seconds": medians,
        "ratio_to_plain": ratios,
        "largest_logit_deviation": max(deviations),
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
