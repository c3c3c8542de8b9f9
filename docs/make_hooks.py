"""Write `hooks.md`: every hook of the bundled model's architecture, with shape and meaning.

    python -m docs.make_hooks

The names come from the model, shapes and meanings from the tables below; a name without a meaning, or a meaning without
a name, is an error. `tests/test_docs_hooks.py` holds the page against what the hooks hand out.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import LlavaForConditionalGeneration

from vlm_lens import HookedVLM
from vlm_lens.demo.architecture import FEATURE_LAYER, llava_config
from vlm_lens.demo.tokenizer import build_tokenizer
from vlm_lens.model.hooked_root import ONLY_WHEN_ASKED

PAGE = Path(__file__).parent / "hooks.md"


@dataclass(frozen=True)
class Hook:
    """One line of a table.

    Attributes:
        name: without the room before it.
        shape: the dimensions, by name.
        meaning: what passes there.
        where: "both" towers, or the one that has it.
        is_new: whether TransformerLens 3.9 has no such name.
    """

    name: str
    shape: str
    meaning: str
    where: str = "both"
    is_new: bool = False


STREAM, PER_HEAD, PER_KV = "batch pos d_model", "batch pos head_index d_head", "batch pos kv_head d_head"
EDGES = "batch head_index query_pos key_pos"

IN_A_BLOCK = (
    Hook("hook_resid_pre", STREAM, "the stream that enters the block"),
    Hook("hook_attn_in", "batch pos head_index d_model", "each head's own copy of the stream, before the norm; "
         "where every query head has its own key", "tower"),
    Hook("hook_q_input", "batch pos head_index d_model", "each head's copy that its queries are made from"),
    Hook("hook_k_input", "batch pos kv_head d_model", "the same for keys"),
    Hook("hook_v_input", "batch pos kv_head d_model", "the same for values"),
    Hook("ln1.hook_scale", "batch pos 1", "what the norm before attention divides by"),
    Hook("ln1.hook_normalized", STREAM, "what it leaves, before its weight and bias"),
    Hook("attn.hook_q", PER_HEAD, "queries"),
    Hook("attn.hook_k", PER_KV, "keys"),
    Hook("attn.hook_v", PER_KV, "values"),
    Hook("attn.hook_rot_q", PER_HEAD, "queries, turned by their positions", "decoder"),
    Hook("attn.hook_rot_k", PER_KV, "keys, turned by their positions", "decoder"),
    Hook("attn.hook_mask", "batch 1 query_pos key_pos", "boolean, True: may attend. A hook clears entries for all "
         "heads, or returns a mask for each; it cannot grant what causality, window or padding forbid, and must leave "
         "each query a key. Attention stays fused", is_new=True),
    Hook("attn.hook_attn_scores", EDGES, "scaled scores before the softmax, minus infinity where masked"),
    Hook("attn.hook_pattern", EDGES, "the softmax of the scores, taken in fp32; rows of padding are zero"),
    Hook("attn.hook_z", PER_HEAD, "what each head read: the pattern's mean of values"),
    Hook("attn.hook_result", "batch pos head_index d_model", "what each head writes to the stream; with the "
         "output bias they sum to `hook_attn_out`"),
    Hook("hook_attn_out", STREAM, "what attention adds to the stream"),
    Hook("hook_resid_mid", STREAM, "the stream between attention and MLP"),
    Hook("hook_mlp_in", STREAM, "the MLP's own copy of it, before the norm"),
    Hook("ln2.hook_scale", "batch pos 1", "what the norm before the MLP divides by"),
    Hook("ln2.hook_normalized", STREAM, "what it leaves, before its weight and bias"),
    Hook("mlp.hook_pre", "batch pos d_mlp", "neurons before the non-linearity (of the gate, in a gated MLP)"),
    Hook("mlp.hook_pre_linear", "batch pos d_mlp", "what the gate multiplies", "decoder"),
    Hook("mlp.hook_post", "batch pos d_mlp", "neurons, as the last linear reads them"),
    Hook("hook_mlp_out", STREAM, "what the MLP adds to the stream"),
    Hook("hook_resid_post", STREAM, "the stream that leaves the block"),
)  # fmt: skip

OF_THE_DECODER = (
    Hook("hook_embed", STREAM, "tokens with the pictures' vectors in their places: what enters the first block"),
    Hook("ln_final.hook_scale", "batch pos 1", "what the final norm divides by"),
    Hook("ln_final.hook_normalized", STREAM, "what it leaves, before its weight"),
    Hook("unembed.hook_in", STREAM, "what the unembedding reads"),
    Hook("unembed.hook_out", "batch pos d_vocab", "the logits"),
)

OF_THE_TOWER = (
    Hook(
        "vision.hook_patch_embed",
        "image patch d_vision",
        "patches as vectors, row by row, before class token and positions",
    ),
    Hook("vision.ln_pre.hook_scale", "image pos 1", "what the norm before the first block divides by (CLIP)"),
    Hook("vision.ln_pre.hook_normalized", "image pos d_vision", "what it leaves, before weight and bias (CLIP)"),
    Hook("vision.hook_embed", "image pos d_vision", "what enters the first block"),
    Hook("vision.ln_final.hook_scale", "image pos 1", "what the norm after the last block divides by"),
    Hook("vision.ln_final.hook_normalized", "image pos d_vision", "what it leaves, before weight and bias"),
)

OF_THE_PROJECTOR = (
    Hook("projector.hook_in", "image patch d_features", "the selected features, several layers side by side where the "
         "config selects several, the class token dropped or kept as it says"),
    Hook("projector.hook_pre", "image patch d_model", "before the non-linearity"),
    Hook("projector.hook_post", "image patch d_model", "after it"),
    Hook("projector.hook_out", "image patch d_model", "one vector a patch, as the decoder is given them"),
)  # fmt: skip

OPENING = """\
# Every hook

Written by `python -m docs.make_hooks`; a test compares names and shapes with what the hooks hand out.

Names, shapes and meanings are TransformerLens 3.9's. The decoder stands at the root: `blocks.7.attn.hook_pattern`. The
vision tower has the same names under `vision.`: `vision.blocks.3.attn.hook_pattern`. New against TransformerLens are
everything under `vision.` and `projector.`, and `attn.hook_mask`.

**Every hook can be read and written.** A hook is `hook(activation, hook=point)`. It writes by returning another tensor
of the same shape, or by editing the one it got in place. Reading never changes a logit.

**When a value exists.** Most pass by in any case. Those marked *asked* are computed when a hook stands there, and are
left out of a cache unless `names_filter` names them (or `set_use_attn_result` and the like switch them on); all others
are cached by default. Those marked *beside* are computed beside the fast path, also only when a hook stands there, and
take its place only when they are written.

**Dimensions.** `pos` counts the padded sequence of the decoder. In the vision tower it counts patches, after the
class token where the tower has one, and `batch` is the pictures of all rows. `d_model`, `d_mlp`, `d_head` and
`head_index` are each tower's own. `kv_head` counts the heads of keys and values, fewer than those of queries where they
are grouped. Under cached generation a step sees its new positions only: after the prompt `pos` and `query_pos` are 1,
and `key_pos` grows.
"""

_BLOCKS = """\
## In every block: `blocks.{layer}.` and `vision.blocks.{layer}.`

In the order of the computation. The third column is of the bundled model: its decoder has rotary positions, a
gated MLP and grouped keys, its tower none of these. A decoder with a key for each head has `hook_attn_in` too.

"""

_CLIP = """\
## `HookedCLIP`

Both towers have the names above, under `vision.` and `text.`. The text tower adds
`text.hook_pos_embed [batch pos d_model]`. `hook_image_embed [image d_embed]` and `hook_text_embed [text d_embed]` are
the projected vectors before they are scaled to length 1. There the vision tower's last block and post-norm do feed a
vector.
"""

_BEHIND = """\
## Behind the feature layer

A checkpoint's config selects the hidden state that feeds the projector: {selected}, the last but one, by default. The
blocks after it and the post-norm feed nothing: their hooks fire, and writing them moves no logit. In the bundled
model, whose tower has {n_layers} blocks, they are {rooms}. `vlm.behind_features` lists them for any checkpoint.
"""

_BESIDE = ("hook_scale", "hook_normalized", "hook_mask", "hook_attn_scores", "hook_pattern")


def pattern_of(name: str) -> str:
    """A hook's name with its layer left open."""
    return re.sub(r"blocks\.\d+\.", "blocks.{layer}.", name)


def documented() -> list[Hook]:
    """Every hook under its whole name, the layer left open."""
    rooms = {"decoder": ("blocks.{layer}.",), "tower": ("vision.blocks.{layer}.",)}
    rooms["both"] = rooms["decoder"] + rooms["tower"]
    blocks = [
        Hook(room + hook.name, hook.shape, hook.meaning, hook.where, hook.is_new)
        for hook in IN_A_BLOCK
        for room in rooms[hook.where]
    ]
    return [*OF_THE_DECODER, *blocks, *OF_THE_TOWER, *OF_THE_PROJECTOR]


def bundled_model() -> HookedVLM:
    """The bundled model's architecture without weights; names do not depend on the vocabulary."""
    tokenizer = build_tokenizer(["a cat on a bed"])
    with torch.device("meta"):
        return HookedVLM.from_hf(LlavaForConditionalGeneration(llava_config(tokenizer)).eval())


def table(hooks: Iterable[Hook], shows_tower: bool = False) -> str:
    """The hooks as a Markdown table."""
    names = {"both": "decoder, tower", "decoder": "decoder", "tower": "tower"}
    head = ["name", "shape", *(["in"] if shows_tower else []), "what passes", "exists"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for hook in hooks:
        name = f"`{hook.name}`{' (new)' if hook.is_new else ''}"
        exists = "beside" if hook.name.endswith(_BESIDE) else "always"
        exists = "asked" if hook.name.endswith(ONLY_WHEN_ASKED) else exists
        cells = [name, hook.shape, *([names[hook.where]] if shows_tower else []), hook.meaning, exists]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def behind(vlm: HookedVLM) -> str:
    """What feeds nothing, and the rule."""
    names = [point.name for point in vlm.behind_features if point.name is not None]
    rooms = sorted({re.sub(r"((?:blocks\.\d+|ln_final)\.).*", r"\1*", name) for name in names})
    listed = " and ".join(f"`{room}`" for room in rooms)
    return _BEHIND.format(selected=FEATURE_LAYER, n_layers=vlm.vision.cfg.n_layers, rooms=listed)


def render() -> str:
    """The page.

    Raises:
        ValueError: for a hook of the model that is not documented, or one that is and does not exist.
    """
    vlm = bundled_model()
    in_model, here = {pattern_of(name) for name in vlm.hook_dict}, {hook.name for hook in documented()}
    if in_model != here:
        raise ValueError(f"docs/make_hooks.py and the model differ: {sorted(in_model ^ here)}")
    parts = [
        OPENING,
        "## Around the decoder's blocks\n\n" + table(OF_THE_DECODER),
        _BLOCKS + table(IN_A_BLOCK, shows_tower=True),
        "## Around the vision tower's blocks\n\n" + table(OF_THE_TOWER),
        "## Projector\n\n" + table(OF_THE_PROJECTOR),
        behind(vlm),
        _CLIP,
    ]
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
