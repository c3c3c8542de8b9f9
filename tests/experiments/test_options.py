"""What can be chosen about an experiment, as values and as a person types it."""

from dataclasses import dataclass, fields

import pytest

from vlm_lens.errors import InputError
from vlm_lens.experiments import experiments
from vlm_lens.experiments.options import Options, option


@dataclass(frozen=True)
class Chosen(Options):
    n: int = option(3, "how many")
    share: float = option(0.5, "how much", paper=0.25, quirk="The paper takes a quarter.")
    is_exact: bool = option(True, "whether it is exact")
    layers: tuple[int, ...] = option((1, 2), "which layers")
    words: tuple[str, ...] = option((), "which words")
    name: str = option("7", "what it is called")
    most: int | None = option(None, "at most so many", least=1)
    rule: str = option("words", "how it is read", among=("words", "anywhere"))
    counts: tuple[int, ...] = option((5, 10), "how many of each", least=1)


@pytest.mark.parametrize(
    ("name", "written", "value"),
    [
        ("n", "12", 12),
        ("n", 12, 12),
        ("share", "1", 1.0),
        ("is_exact", "false", False),
        ("layers", "[3, 4]", (3, 4)),
        ("layers", "3,4", (3, 4)),
        ("layers", "3", (3,)),
        ("words", "cat, dog", ("cat", "dog")),
        ("name", "12", "12"),
        ("name", "true", "true"),
        ("most", "5", 5),
        ("most", "null", None),
    ],
)
def test_a_value_is_read_as_it_is_written(name: str, written: object, value: object) -> None:
    found = getattr(Chosen().but(**{name: written}), name)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(("name", "written"), [("n", "many"), ("n", "1.5"), ("is_exact", "perhaps"), ("layers", "a,b")])
def test_a_value_of_another_kind_is_refused_with_what_the_option_is(name: str, written: str) -> None:
    with pytest.raises(InputError, match=f"Option '{name}'") as refused:
        Chosen().but(**{name: written})
    assert next(one for one in fields(Chosen) if one.name == name).metadata["told"] in str(refused.value)


@pytest.mark.parametrize(
    ("name", "written", "said"),
    [
        ("rule", "letters", "expected one of 'words', 'anywhere' (how it is read), got 'letters'"),
        ("most", "0", "expected 1 or more (at most so many), got 0"),
        ("counts", "5,-3", "expected 1 or more (how many of each), got -3"),
    ],
)
def test_a_value_that_it_cannot_have_is_refused_before_anything_runs(name: str, written: str, said: str) -> None:
    with pytest.raises(InputError) as refused:
        Chosen().but(**{name: written})
    assert said in str(refused.value)


@pytest.mark.parametrize("name", experiments())
def test_both_presets_are_among_what_an_option_can_be(name: str) -> None:
    for preset in ("default", "paper"):
        chosen = experiments()[name].Options.preset(preset)
        assert chosen.but() == chosen


def test_an_option_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(InputError, match="'absent'") as refused:
        Chosen().but(absent=1)
    assert "share (how much)" in str(refused.value)


def test_the_presets_differ_where_a_quirk_is_named_and_nowhere_else() -> None:
    default, paper = Chosen.preset(), Chosen.preset("paper")
    assert default == Chosen() and paper == Chosen(share=0.25)
    assert dict(Chosen.quirks()) == {"share": "The paper takes a quarter."}
    with pytest.raises(InputError, match="default or paper"):
        Chosen.preset("best")


def test_a_choice_of_the_paper_without_a_word_about_it_cannot_be_written() -> None:
    with pytest.raises(AssertionError):
        option(1, "one", paper=2)
    with pytest.raises(AssertionError):
        option(1, "one", quirk="odd")


@pytest.mark.parametrize("name", experiments())
def test_every_experiment_says_what_it_is(name: str) -> None:
    one = experiments()[name]
    assert one.name == name and one.question.endswith("?") and one.figures and one.paper and one.needs
    for each in fields(one.Options):
        assert each.metadata["told"][:1].islower() or not each.metadata["told"][:1].isalpha()


@pytest.mark.parametrize("name", experiments())
def test_the_presets_of_every_experiment_differ_at_each_quirk_and_survive_writing(name: str) -> None:
    kind = experiments()[name].Options
    default, paper = kind.preset(), kind.preset("paper")
    differing = {key for key, value in default.to_dict().items() if paper.to_dict()[key] != value}
    assert differing == set(kind.quirks())
    for chosen in (default, paper):
        assert kind().but(**chosen.to_dict()) == chosen
