"""Interventions done the slow way on plain `transformers`: what ours are held against. Nothing comes from `vlm_lens`.

`Plain(checkpoint)` runs a LLaVA or CLIP checkpoint with attention written out (scores, mask, softmax, pattern @ v)
under a mask of its own: causality, padding, window, and whatever edges are blocked. Other activations are replaced by
torch hooks on the checkpoint's modules.

- `plain.logits(mapping, blocked, edits)`: `[batch pos d_vocab]`.
- `plain.step_logits(mapping, tokens, blocked, edits)`: `[batch step d_vocab]`, the uncached loop told its tokens
  `[batch step]`: step s runs prompt and first s tokens anew, and gives what follows them.
- `plain.greedy(mapping, n_steps, blocked, edits)`: the tokens and logits of the uncached loop that chooses by itself.
- `plain.image_embeds(pixels, blocked, edits)`: CLIP's projected vectors `[image d_embed]`.
- `plain.patterns`: what the last pass attended to, `{(tower, layer): [batch head query_pos key_pos]}`.

`blocked` is a set of edges (tower, layer, head, row, query, key), with absolute positions of the padded row; `edges`
makes them. For `step_logits` and `greedy` it may be a function of the number of positions that are run.

`edits` are `{place: function}`; each function is given a copy of the activation and returns the new one. Places:
"projector" (`[image patch d_model]`), "embed" (the decoder's first layer is given it), and (tower, part, layer), with
part "layer" (what a layer gives), "z" (what the output linear is given, `[batch pos (head d_head)]`), "attn_out" or
"mlp_out".
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

Edge = tuple[str, int, int, int, int, int]
Blocked = Collection[Edge]
Edits = Mapping[Any, Callable[[Tensor], Tensor]]
NO_EDITS: Edits = {}
_NAME = "written_out_for_tests"


def edges(
    tower: str, layers: Iterable[int], heads: Iterable[int], row: int, queries: Iterable[int], keys: Iterable[int]
) -> set[Edge]:
    """Every edge from some queries of a row to some keys, in some layers and heads."""
    return {(tower, *rest) for rest in product(layers, heads, [row], queries, keys)}


class Plain:
    """A checkpoint of `transformers` that can be blocked and edited.

    Args:
        checkpoint: a `LlavaForConditionalGeneration` or a `CLIPModel`; its weights and settings stay as they are.
    """

    def __init__(self, checkpoint: Any) -> None:
        self.hf = checkpoint
        is_clip = hasattr(checkpoint, "vision_model")
        parts = (
            {"vision": checkpoint.vision_model}
            if is_clip
            else {"vision": checkpoint.model.vision_tower, "decoder": checkpoint.model.language_model}
        )
        self.layers = {
            name: [part for part in tower.modules() if hasattr(part, "self_attn")] for name, tower in parts.items()
        }
        self.patterns: dict[tuple[str, int], Tensor] = {}

    def logits(self, mapping: Mapping[str, Tensor], blocked: Blocked = (), edits: Edits = NO_EDITS) -> Tensor:
        """`[batch pos d_vocab]`, gradients and all."""
        is_real = mapping["attention_mask"].bool()
        given = {
            "input_ids": mapping["input_ids"],
            "attention_mask": mapping["attention_mask"],
            "position_ids": (is_real.long().cumsum(dim=1) - 1).clamp(min=0),
        }
        if "pixel_values" in mapping:
            given["pixel_values"] = mapping["pixel_values"]
        with self._changed(blocked, edits, is_real):
            logits: Tensor = self.hf(**given, use_cache=False).logits
        return logits

    def image_embeds(self, pixels: Tensor, blocked: Blocked = (), edits: Edits = NO_EDITS) -> Tensor:
        """CLIP's projected vectors `[image d_embed]`, not scaled to length 1."""
        with self._changed(blocked, edits, None):
            pooled = self.hf.vision_model(pixel_values=pixels).pooler_output
            vectors: Tensor = self.hf.visual_projection(pooled)
        return vectors

    def step_logits(
        self,
        mapping: Mapping[str, Tensor],
        tokens: Tensor,
        blocked: Blocked | Callable[[int], Blocked] = (),
        edits: Edits = NO_EDITS,
    ) -> Tensor:
        """`[batch step d_vocab]`: what comes after the prompt, after its first token, and so on; nothing is cached."""
        steps = []
        for step in range(tokens.shape[1]):
            longer = _continued(mapping, tokens[:, :step])
            steps.append(self.logits(longer, _at(blocked, longer["input_ids"].shape[1]), edits)[:, -1])
        return torch.stack(steps, dim=1)

    def greedy(
        self,
        mapping: Mapping[str, Tensor],
        n_steps: int,
        blocked: Blocked | Callable[[int], Blocked] = (),
        edits: Edits = NO_EDITS,
    ) -> tuple[Tensor, Tensor]:
        """Tokens `[batch step]` and logits `[batch step d_vocab]`, the likeliest token at every step."""
        tokens = mapping["input_ids"][:, :0]
        steps = []
        for _ in range(n_steps):
            longer = _continued(mapping, tokens)
            last = self.logits(longer, _at(blocked, longer["input_ids"].shape[1]), edits)[:, -1]
            tokens = torch.cat((tokens, last.argmax(dim=-1, keepdim=True)), dim=1)
            steps.append(last)
        return tokens, torch.stack(steps, dim=1)

    @contextmanager
    def _changed(self, blocked: Blocked, edits: Edits, is_real: Tensor | None) -> Iterator[None]:
        """Attention is written out under a mask of our own, and the edits stand, until the block ends."""
        place_of = {
            id(layer.self_attn): (tower, number)
            for tower, layers in self.layers.items()
            for number, layer in enumerate(layers)
        }
        by_layer: dict[tuple[str, int], list[tuple[int, int, int, int]]] = {}
        for tower, layer, *edge in blocked:
            by_layer.setdefault((tower, layer), []).append((edge[0], edge[1], edge[2], edge[3]))
        self.patterns = {}

        def attend(
            module: Any, q: Tensor, k: Tensor, v: Tensor, mask: Any, scaling: float, **options: Any
        ) -> tuple[Tensor, Tensor]:
            tower, layer = place_of[id(module)]
            allowed = _allowed(tower, layer, module.config, q.shape[0], q.shape[1], q.shape[2], is_real).numpy()
            for head, row, query, key in by_layer.get((tower, layer), ()):
                allowed[row, head, query, key] = False
            group = q.shape[1] // k.shape[1]
            results, patterns = [], []
            for head in range(q.shape[1]):
                scores = q[:, head] @ k[:, head // group].transpose(1, 2) * scaling
                pattern = (
                    scores.masked_fill(~torch.from_numpy(allowed[:, head]), -torch.inf)
                    .float()
                    .softmax(dim=-1)
                    .to(q.dtype)
                )
                results.append(pattern @ v[:, head // group])
                patterns.append(pattern.detach())
            self.patterns[tower, layer] = torch.stack(patterns, dim=1)
            return torch.stack(results, dim=2), self.patterns[tower, layer]

        before = {id(one): (one, one._attn_implementation) for one in _configs(self.hf)}
        ALL_ATTENTION_FUNCTIONS[_NAME] = attend
        try:
            for one, _ in before.values():
                one._attn_implementation = _NAME
            with ExitStack() as stack:
                for place, edit in edits.items():
                    stack.callback(self._stand(place, edit).remove)
                yield
        finally:
            for one, name in reversed(before.values()):
                one._attn_implementation = name
            del ALL_ATTENTION_FUNCTIONS[_NAME]

    def _stand(self, place: Any, edit: Callable[[Tensor], Tensor]) -> Any:
        """An edit at its module."""

        def after(module: nn.Module, args: Any, output: Any) -> Any:
            if isinstance(output, tuple):
                return (edit(output[0].clone()), *output[1:])
            return edit(output.clone())

        def before(module: nn.Module, args: Any, options: Any) -> Any:
            if args:
                return (edit(args[0].clone()), *args[1:]), options
            return args, {**options, "hidden_states": edit(options["hidden_states"].clone())}

        if place == "projector":
            return self.hf.model.multi_modal_projector.register_forward_hook(after)
        if place == "embed":
            return self.layers["decoder"][0].register_forward_pre_hook(before, with_kwargs=True)
        tower, part, number = place
        layer = self.layers[tower][number]
        if part == "z":
            linear = getattr(layer.self_attn, "o_proj", None) or layer.self_attn.out_proj
            return linear.register_forward_pre_hook(before, with_kwargs=True)
        return {"layer": layer, "attn_out": layer.self_attn, "mlp_out": layer.mlp}[part].register_forward_hook(after)


def _allowed(tower: str, layer: int, config: Any, batch: int, n_heads: int, n: int, is_real: Tensor | None) -> Tensor:
    """Who may attend to whom; padding sees itself, so that its rows, which nobody reads, hold numbers."""
    if tower == "vision":
        return torch.ones(batch, n_heads, n, n, dtype=torch.bool)
    windowed = getattr(config, "layer_types", None) or [""] * (layer + 1)
    window = getattr(config, "sliding_window", None)
    if windowed[layer] == "full_attention":
        window = None
    assert is_real is not None
    allowed = torch.zeros(batch, n_heads, n, n, dtype=torch.bool)
    for row in range(batch):
        for query in range(n):
            first = 0 if window is None else max(0, query - window + 1)
            allowed[row, :, query, first : query + 1] = is_real[row, first : query + 1]
            allowed[row, :, query, query] = True
    return allowed


def _continued(mapping: Mapping[str, Tensor], tokens: Tensor) -> dict[str, Tensor]:
    ones = torch.ones_like(tokens)
    return {
        **{name: mapping[name] for name in ("pixel_values",) if name in mapping},
        "input_ids": torch.cat((mapping["input_ids"], tokens), dim=1),
        "attention_mask": torch.cat((mapping["attention_mask"], ones), dim=1),
    }


def _at(blocked: Blocked | Callable[[int], Blocked], n_positions: int) -> set[Edge]:
    """The edges of a pass; those of positions that are not run yet are left out."""
    chosen = blocked(n_positions) if callable(blocked) else blocked
    return {edge for edge in chosen if edge[0] == "vision" or max(edge[4], edge[5]) < n_positions}


def _configs(model: Any) -> list[Any]:
    """The settings that say by which function a module attends."""
    return list({id(one.config): one.config for one in model.modules() if hasattr(one, "config")}.values())
