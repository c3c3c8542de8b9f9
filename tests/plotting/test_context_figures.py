"""What compressed contexts hold, and what they are worth, as figures."""

import numpy as np

from vlm_lens.plotting.accuracy_by_share import accuracy_by_share
from vlm_lens.plotting.kept_patches import kept_patches
from vlm_lens.plotting.patch_picture import PatchPicture


def test_patches_are_counted_over_layers_and_shown_in_each() -> None:
    is_kept = np.zeros((3, 4, 6), dtype=bool)
    is_kept[:, 0, 0] = is_kept[2, 3, 5] = True
    figure = kept_patches(PatchPicture(np.zeros((8, 12, 3), dtype=np.uint8), 4, 6), is_kept)
    words = np.array(figure.data[0].customdata)
    assert words[0, 0] == "kept in 3 of 3 layers" and words[3, 5] == "kept in 1 of 3 layers"
    assert (words == "kept in 0 of 3 layers").sum() == 22
    assert [frame.name for frame in figure.frames] == ["all", "0", "1", "2"]
    for frame, kept in zip(figure.frames[1:], is_kept, strict=True):
        assert np.array_equal(np.array(frame.data[0].z) > 0, kept)


def test_accuracy_has_its_intervals_and_names_are_escaped() -> None:
    values = np.array([[0.7, 0.6, 0.75], [0.9, 0.85, 0.95]])
    figure = accuracy_by_share((0.05, 1.0), {"<b>top</b>": values}, {"whole": 1.0})
    line = figure.data[0]
    assert list(line.x) == [0.05, 1.0] and list(line.y) == [0.7, 0.9]
    np.testing.assert_allclose(line.y - line.error_y.arrayminus, [0.6, 0.85])
    np.testing.assert_allclose(line.y + line.error_y.array, [0.75, 0.95])
    assert line.name == "&lt;b&gt;top&lt;/b&gt;" and figure.layout.shapes[0].y0 == 1.0
