"""Positions and pixels: pure geometry and roles, without a model."""

from vlm_lens.layout.image_span import ImageSpan
from vlm_lens.layout.patch_grid import PatchGrid
from vlm_lens.layout.pictures import Picture, PictureLayout
from vlm_lens.layout.pixel_geometry import PixelGeometry, Resize, Window
from vlm_lens.layout.processor_settings import geometry_of, pads_to_square
from vlm_lens.layout.regions import Region
from vlm_lens.layout.roles import DERIVED_NAMES, ROLE_COLOURS, ROLES, Role
from vlm_lens.layout.selectors import Except, Selector
from vlm_lens.layout.tokens import TokenLayout

__all__ = [
    "DERIVED_NAMES", "ROLES", "ROLE_COLOURS", "Except", "ImageSpan", "PatchGrid", "Picture", "PictureLayout",
    "PixelGeometry", "Region", "Resize", "Role", "Selector", "TokenLayout", "Window", "geometry_of", "pads_to_square",
]  # fmt: skip
