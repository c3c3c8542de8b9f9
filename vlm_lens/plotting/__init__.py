"""From a result to a plotly figure: pure functions that know nothing of models."""

from vlm_lens.plotting.answer_probabilities import answer_probabilities
from vlm_lens.plotting.attention_maps import attention_maps
from vlm_lens.plotting.attention_shares import attention_shares
from vlm_lens.plotting.histogram_by_layer import histogram_by_layer
from vlm_lens.plotting.interval_bars import interval_bars
from vlm_lens.plotting.interval_lines import interval_lines
from vlm_lens.plotting.lens_by_layer import lens_by_layer
from vlm_lens.plotting.lens_lines import lens_lines
from vlm_lens.plotting.lens_map import lens_map
from vlm_lens.plotting.lens_strip import lens_strip
from vlm_lens.plotting.lens_table import lens_table
from vlm_lens.plotting.norm_map import norm_map
from vlm_lens.plotting.patch_picture import PatchPicture
from vlm_lens.plotting.picture_grid import picture_grid
from vlm_lens.plotting.share_bands import share_bands
from vlm_lens.plotting.top_tokens import TopTokens

__all__ = [
    "PatchPicture",
    "TopTokens",
    "answer_probabilities",
    "attention_maps",
    "attention_shares",
    "histogram_by_layer",
    "interval_bars",
    "interval_lines",
    "lens_by_layer",
    "lens_lines",
    "lens_map",
    "lens_strip",
    "lens_table",
    "norm_map",
    "picture_grid",
    "share_bands",
]
