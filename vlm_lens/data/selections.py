"""What each paper chose from its dataset: its filters in its order, with its figures as defaults."""

from collections.abc import Collection
from importlib.resources import files

from pydantic import TypeAdapter

from vlm_lens.data import filters
from vlm_lens.data.dataset import Dataset
from vlm_lens.errors import InputError

PART_CATEGORIES = ("bird", "cat", "cow", "dog", "horse", "person", "sheep")
"""Part identification, Table 1."""

LISTS = ("whats_in_the_image",)
"""Lists of ids that ship with the package."""


def objects_with_parts(
    data: Dataset,
    categories: Collection[str] = PART_CATEGORIES,
    share: int | float = 0.2,
    n_per_category: int | None = 100,
    seed: int | None = None,
) -> Dataset:
    """Part identification (section 3, appendix A): large objects that stand alone.

    The target is the only one of its class in the picture and covers at least 20% of it; at most 100 pictures a class.
    A picture may have several targets, of different classes. (The paper also asks that the model's caption does not
    name the object when it is masked; that needs the model.)

    Args:
        data: Pascal Panoptic Parts, or any pictures with masks.
        categories: the classes.
        share: of the picture that the object covers at least.
        n_per_category: pictures of a class at most; None for all.
        seed: draws them; None takes the first. The paper samples and does not say how.
    """
    data = filters.one_instance(filters.of_categories(data, categories))
    data = filters.covers_at_least(data, share)
    return data if n_per_category is None else filters.at_most_per_category(data, n_per_category, seed)


def small_objects_alone(
    data: Dataset, max_annotations: int = 3, low: int | float = 1_000, high: int | float = 2_000
) -> Dataset:
    """Visual information processing (section 3, step 1): small objects in simple pictures of COCO train.

    At most 3 annotations in the picture, exactly one instance of the target's class, 1,000 < area < 2,000 in original
    pixels. (Step 2, against hallucination, needs the model.)
    """
    data = filters.one_instance(filters.at_most_annotations(data, max_annotations))
    return filters.area_between(data, low, high)


def large_objects(data: Dataset, low: int | float = 20_000, high: int | float = 30_000) -> Dataset:
    """Visual information processing (section 4.1, figures 6 and 7): objects of 20,000 to 30,000 pixels of COCO val.

    The paper says nothing of other instances of the class, so all objects of that size are targets; crowds are not.
    """
    data = data.about("no crowd", lambda _, target: not target.is_crowd)
    return filters.area_between(data, low, high)


def listed(data: Dataset, name: str = "whats_in_the_image") -> Dataset:
    """Pictures on one of the lists that ship: What's in the image? (appendix E) has 81 of COCO."""
    return filters.chosen_ids(data, listed_ids(name))


def listed_ids(name: str = "whats_in_the_image") -> tuple[str, ...]:
    """The ids on a list, as examples of `read_coco` are named, in the order of the paper's figure.

    Raises:
        InputError: there is no such list.
    """
    if name not in LISTS:
        raise InputError("List of ids", f"one of {', '.join(LISTS)}", repr(name))
    content = (files("vlm_lens.data") / "lists" / f"{name}.json").read_text(encoding="utf-8")
    return tuple(str(one) for one in TypeAdapter(dict[str, str | list[int]]).validate_json(content)["ids"])
