"""Which layers "the last" are, which tokens a label has, and where a shape is shifted to."""

from dataclasses import replace

import numpy as np
import pytest

from tests.experiments.described_scenes import demo
from vlm_lens.data import read_scenes
from vlm_lens.data.selections import objects_with_parts
from vlm_lens.experiments.object_parts.chosen import chosen_objects, steps_told
from vlm_lens.experiments.object_parts.knockouts import last_layers, n_layers_read
from vlm_lens.experiments.object_parts.labels import label_tokens
from vlm_lens.experiments.object_parts.options import PartOptions
from vlm_lens.experiments.object_parts.regions import part_regions, shifted


def test_the_paper_counts_a_layer_that_nobody_reads() -> None:
    assert last_layers(24, 23, counts_unread=True) == {
        "last 6": range(18, 24), "last 12": range(12, 24), "last 18": range(6, 24)
    }  # fmt: skip
    assert last_layers(24, 23, counts_unread=False) == {
        "last 6": range(17, 23), "last 12": range(11, 23), "last 18": range(5, 23)
    }  # fmt: skip
    assert n_layers_read(demo()) == 5 and demo().vision.cfg.n_layers == 6


def test_both_ways_of_counting_agree_where_the_last_layer_is_read() -> None:
    assert last_layers(24, 24, True) == last_layers(24, 24, False)


@pytest.mark.parametrize("counts_unread", [True, False])
def test_a_shallow_tower_has_its_share_of_layers(counts_unread: bool) -> None:
    found = last_layers(6, 5, counts_unread)
    end = 6 if counts_unread else 5
    assert [len(layers) for layers in found.values()] == [2, 3, 5 if counts_unread else 4]
    assert all(layers.stop == end and layers.start > 0 for layers in found.values())


def test_a_split_label_is_left_out_unless_the_paper_asks_for_it() -> None:
    tokenizer = demo().tokenizer
    ours, paper = (label_tokens("nostril", tokenizer, PartOptions.preset(name)) for name in ("default", "paper"))
    assert ours.tokens == () and len(paper.tokens) == 1
    assert ours.pieces == paper.pieces and len(ours.pieces) > 1
    assert tokenizer.convert_ids_to_tokens(paper.tokens[0]) in paper.pieces


def test_presets_agree_on_a_label_that_is_a_token() -> None:
    ours, paper = (label_tokens("leg", demo().tokenizer, PartOptions.preset(name)) for name in ("default", "paper"))
    assert ours == paper
    assert {demo().to_single_token(" leg"), demo().to_single_token(" legs")} <= set(ours.tokens)


def test_objects_without_annotated_parts_are_no_targets() -> None:
    data, options = read_scenes(6), PartOptions().but(least_share=0.02)
    whole = data.about("as it is", lambda example, one: True)
    bare = replace(
        whole,
        examples=tuple(
            replace(one, chosen=tuple(replace(target, read_parts=dict) for target in one.targets))
            for one in whole.examples
        ),
    )
    assert len(chosen_objects(bare, options)) == 0
    left = chosen_objects(data, options)
    assert left.n_targets == objects_with_parts(data, options.classes, 0.02, 100, seed=0).n_targets
    assert steps_told(left)[0].endswith("6 -> 6 pictures.")


def test_a_shifted_region_keeps_its_shape_and_leaves_its_place() -> None:
    example = read_scenes(2)[1]
    inputs = demo().prepare(example.image, "USER: <image>", template="literal")
    torso = next(one for one in part_regions(inputs.layout, example.annotations[0]) if one.part == "torso").region
    places = set()
    for seed in range(20):
        moved = shifted(torso, np.random.default_rng(seed))
        assert moved is not None and not moved.patch_ids & torso.patch_ids
        rows, columns = np.divmod(sorted(moved.patch_ids), 12)
        own_rows, own_columns = np.divmod(sorted(torso.patch_ids), 12)
        assert len({*(rows - own_rows)}) == len({*(columns - own_columns)}) == 1
        places.add(moved.patch_ids)
    assert len(places) > 5
    assert shifted(inputs.layout.patches(), np.random.default_rng(0)) is None
