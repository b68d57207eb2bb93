"""`contract`: what goes in and out, as documents that machines read, for the settings in force."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from fewnerd_stream.cli._group import Session, examples, pass_session

if TYPE_CHECKING:
    from fewnerd_stream.settings import Settings

DOCUMENTS: Final = ("asyncapi", "enriched", "enriched-headers", "retry-headers", "dead-letter-headers")


@click.command(
    "contract",
    epilog=examples(
        "fewnerd-stream contract > asyncapi.yaml",
        "fewnerd-stream contract enriched > enriched.schema.json",
        "fewnerd-stream --config fewnerd.toml contract dead-letter-headers",
    ),
)
@click.argument("document", type=click.Choice(DOCUMENTS), default="asyncapi")
@pass_session
def command(session: Session, *, document: str) -> None:
    """Print the contract with the topics, labels and options of your settings.

    `asyncapi` (the default) is AsyncAPI 3 in YAML: every topic with its configuration, headers and messages.
    The others are JSON Schemas. No broker is needed.
    """
    click.echo(written(document, session.settings()), nl=False)


def written(document: str, settings: Settings) -> str:
    """Write one of ``DOCUMENTS``."""
    import orjson
    import yaml

    from fewnerd_stream import __version__
    from fewnerd_stream.contract import asyncapi

    if document == "asyncapi":
        described = asyncapi.asyncapi(settings, __version__)
        return yaml.dump(described, Dumper=_plain(yaml), sort_keys=False, allow_unicode=True, width=120)
    schemas: dict[str, Any] = {
        "enriched": asyncapi.enriched(settings),
        "enriched-headers": asyncapi.enriched_headers(settings),
        "retry-headers": asyncapi.retry_headers(),
        "dead-letter-headers": asyncapi.dead_letter_headers(),
    }
    return orjson.dumps(schemas[document], option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def _plain(yaml: Any) -> Any:  # noqa: ANN401 - a module and a class of it
    """Make a dumper that repeats what is there twice: anchors are hard to read."""

    class Plain(yaml.SafeDumper):  # type: ignore[misc]  # a class that is an argument
        """Without anchors."""

        def ignore_aliases(self, _: object) -> bool:
            """Take nothing for the same."""
            return True

    return Plain
