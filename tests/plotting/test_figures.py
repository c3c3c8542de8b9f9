"""The figures carry the values that they were given, over the right patches, and escape text."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from vlm_lens.plotting import (
    PatchPicture,
    TopTokens,
    answer_probabilities,
    attention_maps,
    attention_shares,
    lens_by_layer,
    lens_map,
    lens_strip,
    picture_grid,
)
from vlm_lens.plotting.patch_picture import region_outline
from vlm_lens.plotting.word_colours import WordColours

STREAMS = ["embed", "0", "1"]


def strings_in(value: object) -> list[str]:
    """Every string anywhere in a JSON value."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for part in value.values() for text in strings_in(part)]
    if isinstance(value, list):
        return [text for part in value for text in strings_in(part)]
    return []


def test_picture_spans_the_patch_grid_exactly(picture: PatchPicture) -> None:
    figure = picture_grid(picture)
    image = figure.layout.images[0]
    assert (image.x, image.y, image.sizex, image.sizey) == (-0.5, -0.5, 6, 4)
    assert tuple(figure.layout.xaxis.range) == (-0.5, 5.5)
    assert tuple(figure.layout.yaxis.range) == (3.5, -0.5)


def test_picture_is_stored_without_loss_where_that_is_smaller() -> None:
    pixels = np.zeros((30, 30, 3), dtype=np.uint8)
    pixels[10:20] = (250, 20, 60)
    header, content = PatchPicture(pixels, 3, 3).source.split(",")
    assert header == "data:image/png;base64"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))), pixels)


@pytest.mark.parametrize("seed", range(5))
def test_outline_draws_every_edge_between_inside_and_outside_once(seed: int) -> None:
    region = np.random.default_rng(seed).random((5, 7)) < 0.5
    expected = set()
    for row in range(5):
        for column in range(7):
            if not region[row, column]:
                continue
            for step_row, step_column in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                other = row + step_row, column + step_column
                inside = 0 <= other[0] < 5 and 0 <= other[1] < 7 and region[other]
                if not inside:
                    middle = row + step_row / 2, column + step_column / 2
                    expected.add(middle)
    drawn = []
    for part in region_outline(region).split("M ")[1:]:
        start, end = part.split(" L ")
        x0, y0 = map(float, start.split(","))
        x1, y1 = map(float, end.split(","))
        n_edges = round(abs(x1 - x0) + abs(y1 - y0))
        for edge in range(n_edges):
            share = (edge + 0.5) / n_edges
            drawn.append((y0 + share * (y1 - y0), x0 + share * (x1 - x0)))
    assert len(drawn) == len(set(drawn))
    assert set(drawn) == expected


def test_code_of_a_patch_gives_back_its_word_and_probability(lens: TopTokens) -> None:
    colours = WordColours.of(lens)
    codes = colours.codes(lens)
    names = ["(other)", *reversed(colours.words)]
    for place in np.ndindex(codes.shape):
        token, probability = str(lens.tokens[place][0]), float(lens.probabilities[place][0])
        number = int(codes[place])
        assert names[number] == (token if token in colours.words else "(other)")
        assert codes[place] - number == pytest.approx(probability, abs=1e-5)


def test_a_certain_token_keeps_its_own_hue() -> None:
    tokens = np.array([[["a"], ["b"]]])
    lens = TopTokens(tokens, np.ones((1, 2, 1)))
    colours = WordColours.of(lens)
    numbers = colours.codes(lens).astype(int)
    assert [["(other)", *reversed(colours.words)][number] for number in numbers[0]] == ["a", "b"]


def test_colour_scale_covers_zero_to_one_in_order(lens: TopTokens) -> None:
    stops = [float(stop) for stop, _ in WordColours.of(lens).scale()]
    assert stops == sorted(stops) and stops[0] == 0 and stops[-1] == 1


def test_lens_map_has_a_frame_for_every_stream(picture: PatchPicture, lens: TopTokens) -> None:
    target = np.random.default_rng(2).random((3, 4, 6))
    figure = lens_map(picture, lens, STREAMS, targets={" cat": target}, start=1)
    assert [frame.name for frame in figure.frames] == STREAMS
    assert [step.args[0][0] for step in figure.layout.sliders[0].steps] == STREAMS
    assert np.allclose(figure.data[1].z, target[1])
    for stream, frame in enumerate(figure.frames):
        assert np.allclose(frame.data[1].z, target[stream])
        assert np.allclose(frame.data[0].z, WordColours.of(lens).codes(lens[stream]))
    assert np.allclose(figure.data[0].z, figure.frames[1].data[0].z)


def test_lens_map_frames_leave_the_choice_of_trace_alone(picture: PatchPicture, lens: TopTokens) -> None:
    figure = lens_map(picture, lens, STREAMS, targets={" cat": np.zeros((3, 4, 6))})
    assert all(trace.visible is None for frame in figure.frames for trace in frame.data)


def test_strip_shows_first_and_last_stream(picture: PatchPicture) -> None:
    tokens = np.full((33, 4, 6, 1), " a")
    lens = TopTokens(tokens, np.ones((33, 4, 6, 1)))
    figure = lens_strip(picture, lens, [str(stream) for stream in range(33)], max_panels=8)
    titles = [annotation.text for annotation in figure.layout.annotations]
    assert len(titles) == len(figure.data) == 8
    assert (titles[0], titles[-1]) == ("0", "32")
    assert len(figure.layout.images) == 8


@pytest.mark.parametrize("n_layers", [3, 33])
def test_table_of_tokens_is_right_in_both_directions(n_layers: int) -> None:
    tokens = np.array([[f"t{layer}r{rank}" for rank in range(4)] for layer in range(n_layers)])
    lens = TopTokens(tokens, np.random.default_rng(0).random((n_layers, 4)))
    table = lens_by_layer(lens, [f"L{layer}" for layer in range(n_layers)]).data[0]
    goes_down = table.y[0] == "L0"
    assert goes_down == (n_layers == 33)
    for layer in range(n_layers):
        for rank in range(4):
            place = (layer, rank) if goes_down else (rank, layer)
            assert table.text[place] == f"t{layer}r{rank}"
            assert table.z[place] == lens.probabilities[layer, rank]


def test_attention_map_opens_at_the_layer_that_looks_most_at_the_region(picture: PatchPicture) -> None:
    attention = np.random.default_rng(3).random((3, 4, 6)) / 100
    attention[1, picture.region] *= 5
    attention[2, 0] *= 50
    bare = PatchPicture(picture.pixels, 4, 6)
    assert attention_maps(bare, attention, ["0", "1", "2"]).layout.sliders[0].active == 2
    figure = attention_maps(picture, attention, ["0", "1", "2"])
    assert figure.layout.sliders[0].active == 1
    assert np.allclose(figure.data[0].z, attention[1])
    for layer, frame in enumerate(figure.frames):
        assert frame.data[0].zmax == pytest.approx(attention[layer].max())


def test_shares_stack_to_the_given_values() -> None:
    shares = np.random.default_rng(4).dirichlet(np.ones(4), size=3)
    figure = attention_shares(shares, ["bos", "question", "image", "a <b>"], ["0", "1", "2"])
    assert figure.layout.barmode == "stack"
    assert np.allclose(np.stack([trace.y for trace in figure.data], axis=1), shares)
    assert np.allclose(sum(np.asarray(trace.y) for trace in figure.data), 1)


def test_answer_bars_show_each_run_and_the_clean_one_on_top() -> None:
    runs = {"clean": {" yes": 0.9, " no": 0.1}, "knocked out": {" yes": 0.2, " no": 0.8}}
    figure = answer_probabilities(runs)
    assert [trace.name for trace in figure.data] == ["knocked out", "clean"]
    names = list(figure.layout.yaxis.ticktext)
    for trace in figure.data:
        assert dict(zip(names, trace.x, strict=True)) == {
            f"·{token.strip()}": value for token, value in runs[trace.name].items()
        }


def test_no_figure_holds_markup_from_a_token_or_name(picture: PatchPicture, lens: TopTokens) -> None:
    evil = "<b onclick='x'>%{z}"
    last = TopTokens(lens.tokens[:, 0, 0], lens.probabilities[:, 0, 0])
    figures = [
        lens_map(picture, lens, [evil, "0", "1"], targets={evil: np.zeros((3, 4, 6))}),
        lens_strip(picture, lens, [evil, "0", "1"]),
        lens_by_layer(last, [evil, "0", "1"]),
        attention_maps(picture, np.ones((3, 4, 6)), [evil, "0", "1"]),
        attention_shares(np.ones((3, 1)), [evil], [evil, "0", "1"]),
        answer_probabilities({evil: {evil: 0.5}}),
    ]
    for figure in figures:
        for text in strings_in(json.loads(figure.to_json())):
            assert "<b onclick" not in text
            is_template = "<extra>" in text
            assert not (is_template and "onclick" in text), "a token may hold %{...} itself"


def test_shapes_that_do_not_fit_are_refused(picture: PatchPicture) -> None:
    with pytest.raises(AssertionError):
        attention_maps(picture, np.ones((2, 4, 6)), ["0", "1", "2"])
    with pytest.raises(AssertionError):
        attention_shares(np.ones((2, 3)), ["a", "b"], ["0", "1"])
