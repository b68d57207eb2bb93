"""The scorer is strict, and agrees with seqeval where seqeval is strict."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.scores import Scorer, Span, spans_of

LABELS = ("person-other", "organization-other", "person-actor", "location-GPE")
COARSE = {label: label.split("-")[0] for label in LABELS}

tags = st.lists(st.sampled_from(("O", "O", *LABELS)), min_size=1, max_size=12)
sentences = st.lists(
    tags.flatmap(
        lambda gold: st.tuples(
            st.just(gold), st.lists(st.sampled_from(("O", *LABELS)), min_size=len(gold), max_size=len(gold))
        )
    ),
    min_size=1,
    max_size=6,
)


def units(count: int) -> list[tuple[int, int]]:
    """Return tokens of one unit each."""
    return [(place, place + 1) for place in range(count)]


def scored(pairs: list[tuple[list[str], list[str]]]) -> Scorer:
    """Score tag sequences, gold and predicted."""
    scorer = Scorer(COARSE)
    for gold, predicted in pairs:
        scorer.add(spans_of(gold), spans_of(predicted), units(len(gold)))
    return scorer


def bio(sequence: list[str]) -> list[str]:
    """Return a sequence in B-/I- labels whose type is the whole label, dashes out of seqeval's sight."""
    out = ["O"] * len(sequence)
    for span in spans_of(sequence):
        name = span.label.replace("-", "_")
        out[span.start : span.end] = [f"B-{name}", *[f"I-{name}"] * (span.end - span.start - 1)]
    return out


@given(sentences)
def test_fine_scores_are_seqevals(pairs: list[tuple[list[str], list[str]]]) -> None:
    """On B-/I- labels of the whole label, seqeval's strict micro and per-type figures are ours."""
    seqeval = pytest.importorskip("seqeval.metrics")
    from seqeval.scheme import IOB2

    gold, predicted = [bio(g) for g, _ in pairs], [bio(p) for _, p in pairs]
    report = scored(pairs).report()
    if all(tag == "O" for row in gold + predicted for tag in row):  # seqeval cannot do without any entity
        assert report["fine"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of every division by zero, and takes it for 0 as we do
        expected: dict[str, dict[str, float]] = seqeval.classification_report(
            gold, predicted, mode="strict", scheme=IOB2, output_dict=True, zero_division=0
        )
    for ours, theirs in [
        ("fine", "micro avg"),
        *((label, label.replace("-", "_")) for label in report["types"]),
    ]:
        figures = report[ours] if ours == "fine" else report["types"][ours]
        assert figures["precision"] == pytest.approx(expected[theirs]["precision"])
        assert figures["recall"] == pytest.approx(expected[theirs]["recall"])
        assert figures["f1"] == pytest.approx(expected[theirs]["f1-score"])
        assert figures["support"] == expected[theirs]["support"]


@given(sentences)
def test_looser_readings_are_never_lower(pairs: list[tuple[list[str], list[str]]]) -> None:
    """What is right in full is right by category, and what is right by category has the right boundaries."""
    right = {name: scored(pairs).report()[name] for name in ("fine", "coarse", "boundary")}
    assert right["fine"]["f1"] <= right["coarse"]["f1"] + 1e-12
    assert right["coarse"]["f1"] <= right["boundary"]["f1"] + 1e-12


@given(sentences)
def test_token_figures_are_counted_by_token(pairs: list[tuple[list[str], list[str]]]) -> None:
    """Accuracy is the share of tokens with the right tag, and a label's recall is over its gold tokens."""
    report = scored(pairs).report()["tokens"]
    both = [(g, p) for gold, predicted in pairs for g, p in zip(gold, predicted, strict=True)]
    assert report["accuracy"] == pytest.approx(sum(g == p for g, p in both) / len(both))
    for label, figures in report["labels"].items():
        gold = [p for g, p in both if g == label]
        assert figures["support"] == len(gold)
        assert figures["recall"] == pytest.approx(gold.count(label) / len(gold) if gold else 0.0)


def test_adjacent_entities_of_different_labels_are_two() -> None:
    """``X X Y`` is two entities, whatever their categories."""
    assert spans_of(["person-actor", "person-actor", "person-other", "O", "person-other"]) == [
        Span(0, 2, "person-actor"),
        Span(2, 3, "person-other"),
        Span(4, 5, "person-other"),
    ]
    assert spans_of([]) == []


def test_the_others_of_two_categories_are_not_one_type() -> None:
    """``person-other`` for ``organization-other`` is wrong in fine and coarse, and right only leniently."""
    report = scored([(["person-other"], ["organization-other"])]).report()
    assert report["fine"]["f1"] == report["coarse"]["f1"] == 0.0
    assert report["boundary"]["f1"] == report["lenient"]["f1"] == 1.0


def test_the_right_category_counts_as_coarse() -> None:
    """Another type of the same category is wrong in fine and right in coarse."""
    report = scored([(["person-other", "O"], ["person-actor", "O"])]).report()
    assert (report["fine"]["f1"], report["coarse"]["f1"], report["boundary"]["f1"]) == (0.0, 1.0, 1.0)


def test_a_span_that_cuts_a_token_is_a_false_positive() -> None:
    """A predicted span with an end inside a token is counted as predicted and wrong, not dropped."""
    scorer = Scorer(COARSE)
    scorer.add(
        [Span(0, 6, "location-GPE")],
        [Span(0, 3, "location-GPE"), Span(7, 9, "person-other")],
        [(0, 6), (7, 12)],
    )
    fine = scorer.report()["fine"]
    assert (fine["precision"], fine["recall"], fine["support"]) == (0.0, 0.0, 1)
    scorer.add([Span(0, 6, "location-GPE")], [Span(0, 6, "location-GPE")], [(0, 6)])
    assert scorer.report()["fine"]["precision"] == pytest.approx(1 / 3)


def test_no_sentence_gives_zeros() -> None:
    """A scorer that saw nothing divides by nothing."""
    report = Scorer({}).report()
    assert report["sentences"] == 0
    assert report["fine"]["f1"] == report["tokens"]["accuracy"] == report["tokens"]["macro"]["f1"] == 0.0
