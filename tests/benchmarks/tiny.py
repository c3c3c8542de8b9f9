"""Sizes at which every task takes a moment."""

from benchmarks.sizes import Sizes

TINY = Sizes(
    d_model=32,
    d_head=8,
    d_mlp=48,
    decoder_layers=4,
    vision_width=16,
    vision_layers=3,
    vision_d_head=8,
    image_size=70,
    text_tokens=8,
    text_before=2,
    vocabulary=60,
    window=2,
    new_tokens=3,
)
