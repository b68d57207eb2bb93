"""`diff`: how far two models agree on the same documents; no broker."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import click

from fewnerd_stream.cli._group import examples
from fewnerd_stream.cli._options import json_option, settings_options
from fewnerd_stream.cli.tag import documents_of, slabs_of

if TYPE_CHECKING:
    from fewnerd_stream.operations.diff import Comparison
    from fewnerd_stream.settings import Settings


@click.command(
    "diff",
    epilog=examples(
        "fewnerd-stream diff bundled ./my-bundle documents.jsonl",
        "fewnerd-stream diff ./last ./next article.txt --examples 50",
        "fewnerd-stream diff ./last ./next documents.jsonl --json > diff.json",
    ),
)
@click.argument("first", metavar="MODEL")
@click.argument("second", metavar="MODEL")
@click.argument("source", metavar="TEXT|FILE|-")
@click.option("--lines", is_flag=True, help="Each line of the file is a text of its own.")
@click.option(
    "--examples",
    "most",
    type=click.IntRange(0, 10_000),
    default=10,
    show_default=True,
    help="Entities that only one of them has found, of which the first are shown.",
)
@settings_options("threads", "thresholds", "labels", "id_field", "text_field")
@json_option
def command(
    *, first: str, second: str, source: str, lines: bool, most: int, settings: Settings, as_json: bool
) -> None:
    """Tag the same documents with two models, and tell how far they agree, by category and by label.

    A model is a bundle's folder, a file that names one, a hub name, or "bundled" for the one that ships.
    Agreement is twice the entities that both have found, over all that either has: 1 where they are the same.
    The documents are given as for `fewnerd-stream tag`.
    """
    from agents.tagger import load_tagger
    from fewnerd_stream.operations.diff import Comparison
    from fewnerd_stream.terminal import print_json

    compared = Comparison(most)
    one, other = (
        settings.model_copy(update={"model": None if name == "bundled" else name}) for name in (first, second)
    )
    with closing(load_tagger(one)) as ours, closing(load_tagger(other)) as theirs:
        for slab in slabs_of(documents_of(source, settings, lines=lines)):
            texts = [each["text"] for each in slab]
            for document, mine, its in zip(slab, ours.tag(texts), theirs.tag(texts), strict=True):
                name = str(document.get("id", compared.documents + 1))
                compared.add(name, document["text"], mine, its)
        digests = {"first": ours.info.digest, "second": theirs.info.digest}
    if as_json:
        print_json({"models": digests, **compared.as_dict()})
    else:
        _show(compared)


def _show(compared: Comparison) -> None:
    from fewnerd_stream.terminal import console, table

    out = console()
    for title, found in (("CATEGORY", compared.categories()), ("LABEL", compared.labels())):
        heads = ("BOTH", "FIRST ONLY", "SECOND ONLY", "AGREEMENT")
        rows = table(title, *heads, right=heads)
        for name, each in found.items():
            rows.add_row(name, str(each.both), str(each.first), str(each.second), f"{each.share:.3f}")
        out.print(rows)
    out.print(f"{compared.same:,} of {compared.documents:,} documents are the same")
    for example in compared.examples:
        out.print(
            f"{example.document}: {example.found_by} only, {example.label}: {example.text}  ({example.around})"
        )
