"""One picture of a dataset with what is known of it; pixels and masks are read when they are asked for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from vlm_lens.errors import InputError


@dataclass(frozen=True, eq=False)
class Annotation:
    """An annotated object of a picture.

    Attributes:
        category: what it is, in the dataset's word: "cat".
        area: pixels, as the dataset says; where it says nothing, those of the mask.
        read_mask: reads its pixels, `[height width]`, True on the object.
        read_parts: reads the pixels of each of its parts, by the part's name; empty where there are none.
        is_crowd: several of a kind under one mask.
        read_polygons: reads the corners of its outlines as the dataset drew them, each `[corner 2]` with x and y in
            pixels; none where it is no polygon. The mask is made of them; they are for procedures that work on corners.
    """

    category: str
    area: float
    read_mask: Callable[[], Bool[np.ndarray, "height width"]] = field(repr=False)
    read_parts: Callable[[], Mapping[str, Bool[np.ndarray, "height width"]]] = field(default=dict, repr=False)
    is_crowd: bool = False
    read_polygons: Callable[[], tuple[Float[np.ndarray, "corner 2"], ...]] = field(default=tuple, repr=False)

    @property
    def polygons(self) -> tuple[Float[np.ndarray, "corner 2"], ...]:
        """The corners of its outlines, read anew."""
        return self.read_polygons()

    @property
    def mask(self) -> Bool[np.ndarray, "height width"]:
        """Its pixels, read anew."""
        return self.read_mask()

    @property
    def parts(self) -> Mapping[str, Bool[np.ndarray, "height width"]]:
        """The pixels of each part, read anew."""
        return MappingProxyType(dict(self.read_parts()))


@dataclass(frozen=True, eq=False)
class Question:
    """A question about a picture and its answer.

    Attributes:
        text: "What is on the bed?"
        answer: the right one: "cat", "Yes".
        task: what kind of question it is, in the dataset's word: "existence", "on".
        category: the category of the object that it asks for, where the dataset says it.
    """

    text: str
    answer: str
    task: str = ""
    category: str = ""


@dataclass(frozen=True, eq=False)
class Example:
    """A picture and what a dataset knows of it.

    Attributes:
        id: the dataset's own name of the picture, as text.
        read_image: reads the picture, RGB.
        size: its height and width in pixels; None where nothing says it before the picture is read.
        annotations: the objects in it.
        captions: what people said of it.
        questions: with their answers.
        chosen: those of the annotations that an experiment is about; None while no filter chose.
    """

    id: str
    read_image: Callable[[], Image.Image] = field(repr=False)
    size: tuple[int, int] | None = None
    annotations: tuple[Annotation, ...] = ()
    captions: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()
    chosen: tuple[Annotation, ...] | None = field(default=None, repr=False)

    @property
    def image(self) -> Image.Image:
        """The picture, read anew.

        Raises:
            InputError: its file cannot be read, or is of another size than the dataset says.
        """
        image = self.read_image()
        if self.size is not None and (image.height, image.width) != tuple(self.size):
            got = f"{image.height} x {image.width}"
            raise InputError(f"Picture of example {self.id!r}", f"{self.size[0]} x {self.size[1]} pixels", got)
        return image

    @property
    def targets(self) -> tuple[Annotation, ...]:
        """The annotations that an experiment is about: all of them until a filter chooses some."""
        return self.annotations if self.chosen is None else self.chosen

    def of(self, category: str) -> tuple[Annotation, ...]:
        """The annotations of a category."""
        return tuple(one for one in self.annotations if one.category == category)
