"""Figure 7: counts of parts with their objects, and of parts alone; and whether frequency goes with identifiability."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import pandas as pd

from vlm_lens.errors import InputError
from vlm_lens.experiments.part_mentions.correlation import FEWEST, paired, rank_correlation
from vlm_lens.experiments.part_mentions.totals import total_over_examples
from vlm_lens.experiments.summary import Finding, Summary, Table, figures_of, laid_out
from vlm_lens.metrics.intervals import Estimate
from vlm_lens.plotting.mention_heatmap import mention_heatmap, mentions_against_scores

OBJECT, PART, PAIR = "object", "part", "pair"
ANY = "any text"
SLIGHT = 0.3
"""A correlation up to this is taken for none; ours, since the paper gives no figure."""
"""The column of parts irrespective of objects: the bars of figure 7."""


def summarised(rows: Mapping[str, pd.DataFrame], options: Any, facts: Mapping[str, Any]) -> Summary:
    """Figure 7 as a table and as a figure, and the correlation where scores are given."""
    texts = rows["texts"]
    mentions = rows.get("mentions", pd.DataFrame(columns=["example", "kind", "object", "part", "n"]))
    n_texts, n_examples, parts = int(texts["n_texts"].sum()), len(texts), facts["parts"]
    if not n_texts:
        raise InputError("Captions", "at least one", "none", "Give files of captions: captions=FILE.")
    counts = counted(mentions, n_examples, parts)
    told = f"N = {n_examples} examples with {n_texts} texts"
    tables = {
        "figure 7": Table(
            counts, laid_out(counts, "part", "object", digits=0, intervals=False).sort_index(),
            "Texts that name a part together with an object that has it; last column: texts that name the part at "
            f"all. {told}; intervals over examples are in the tidy table.",
        ),
    }  # fmt: skip
    figures: dict[str, Any] = {"figure 7": partial(mention_heatmap, counts, ANY)}
    findings: tuple[Finding, ...] = ()
    if facts["scores"] is not None:
        both = paired(counts, ANY, facts["scores"])
        correlations = _correlations(both)
        tables["correlation"] = Table(
            correlations, laid_out(correlations, "frequency", "identifiability", digits=2),
            f"Spearman's rank correlation over {len(both)} parts of objects, with intervals over these; n counts them.",
        )  # fmt: skip
        figures["correlation"] = partial(mentions_against_scores, both)
        findings = (finding_of(both),)
    return Summary(tables, figures, findings, _notes(mentions, options, facts, n_examples))


def counted(mentions: pd.DataFrame, n_examples: int, parts: Mapping[str, Any]) -> pd.DataFrame:
    """For each part and object that has it the texts that name both, and for each part those that name it at all.

    Args:
        mentions: with `example`, `kind`, `object`, `part`, `n`.
        n_examples: all of them, also those that name nothing.
        parts: of each object.
    """
    by_name = {key: group["n"] for key, group in mentions.groupby(["kind", "object", "part"])}
    nothing = pd.Series(dtype=int)

    def row(kind: str, name: str, part: str, column: str) -> dict[str, Any]:
        found = total_over_examples(by_name.get((kind, name, part), nothing), n_examples)
        return {"part": part, "object": column, **figures_of(found)}

    every = sorted({part for named in parts.values() for part in named})
    return pd.DataFrame(
        [row(PAIR, name, part, name) for name in parts for part in every if part in parts[name]]
        + [row(PART, "", part, ANY) for part in every]
    )


def _correlations(both: pd.DataFrame) -> pd.DataFrame:
    sides = {"of part and object together": "count", "of the part at all": "part_count"}
    scores = {"OPI": "score", "OPI above chance": "above"}
    return pd.DataFrame(
        [
            {"frequency": side, "identifiability": name, **_figures(_correlation(both, column, score))}
            for side, column in sides.items()
            for name, score in scores.items()
        ]
    )


def _correlation(both: pd.DataFrame, column: str, score: str) -> Estimate | None:
    return rank_correlation(both[column].to_numpy(float), both[score].to_numpy(float))


def _figures(found: Estimate | None) -> dict[str, float | int]:
    return figures_of(found or Estimate(float("nan"), float("nan"), float("nan"), 0))


def finding_of(both: pd.DataFrame) -> Finding:
    """The paper's claim, held against pairs of `count` and `score`; open where the interval decides nothing."""
    claim = (
        "Parts that are named often with their objects are not identified better (appendix C: no clear correlation)."
    )
    found = _correlation(both, "count", "score")
    if found is None:
        return Finding(claim, None, f"{len(both)} pairs, of which ranks say nothing: at least {FEWEST} that differ.")
    told = f"Spearman's correlation {found.value:+.2f} [{found.low:+.2f}, {found.high:+.2f}] over {found.n} pairs"
    if not found.low <= 0 <= found.high:
        return Finding(claim, False, f"{told}: its interval leaves 0 out.")
    if max(-found.low, found.high) > SLIGHT:
        return Finding(claim, None, f"{told}: its interval has 0 in it, and correlations above {SLIGHT} too.")
    return Finding(claim, True, f"{told}: whatever it is in its interval is slight, at most {SLIGHT}.")


def _notes(mentions: pd.DataFrame, options: Any, facts: Mapping[str, Any], n_examples: int) -> tuple[str, ...]:
    n_naming = mentions["example"].nunique()
    terms = [*facts["terms"]["objects"].values(), *facts["terms"]["parts"].values()]
    shipped = "a list made by hand that ships, for WordNet's data are in no package"
    source = shipped if options.words is None else options.words
    expansion = (
        f"Synonyms and hyponyms are from {source}: {sum(map(len, terms))} for {len(terms)} names."
        if options.expands else "No synonyms or hyponyms are counted."
    )  # fmt: skip
    n_objects = mentions[mentions["kind"] == OBJECT].groupby("object")["n"].sum()
    named = ", ".join(f"{name} {n_objects.get(name, 0)}" for name in facts["parts"])
    return (
        f"{n_naming} of {n_examples} examples name an object or a part. Texts that name an object: {named}.",
        "A text counts once for each part and object that it names, wherever they stand in it: 'the dog sits by the "
        "leg of the table' has dog and leg, and so has 'a head of cabbage' a head.",
        "Words are lower-cased, without punctuation, and stemmed by Porter's algorithm.",
        expansion,
        "Captions: " + (", ".join(options.captions) if options.captions else "those of the data") + ".",
    )
