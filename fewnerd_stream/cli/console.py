"""`console`: the page, on an address of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fewnerd_stream.cli._group import examples, run
from fewnerd_stream.cli._options import GROUP, settings_options
from fewnerd_stream.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fewnerd_stream.contract.documents import EntityLike
    from fewnerd_stream.settings import Settings


@click.command(
    "console",
    epilog=examples(
        "fewnerd-stream console",
        "fewnerd-stream console --port 9000 --dead-letters --token-file token.txt",
        "fewnerd-stream console --host 0.0.0.0 --allow-host news.example.org --no-try",
    ),
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=8000, show_default=True, help="Port, 0 for any."
)
@click.option("--allow-host", "hosts", multiple=True, help="A name under which browsers may ask for it.")
@click.option(
    "--dead-letters", is_flag=True, help="Offer dead letters: to see, repair and replay, with the token."
)
@click.option("--token-file", type=click.Path(path_type=Path), help="File with the token for dead letters.")
@click.option(
    "--try/--no-try", "offer", default=True, show_default=True, help="Offer the model to try texts on."
)
@settings_options(
    *GROUP, "output_prefix", "retry_delays", "text_field", "isolation", "log_format", "log_level"
)
def command(
    *,
    host: str,
    port: int,
    hosts: tuple[str, ...],
    dead_letters: bool,
    token_file: Path | None,
    offer: bool,
    settings: Settings,
) -> None:
    """Show a page with what comes out of the topics: documents as they come, figures, dead letters.

    It reads in no consumer group, so it moves nobody's offsets; one reader serves all browsers. There is no
    password on what it shows: it listens on this machine alone unless --host says otherwise, and then belongs
    behind something that knows who may see it.
    """
    from fewnerd_stream.cli.feed import read_token
    from fewnerd_stream.console.follow import Follower
    from fewnerd_stream.console.guard import LOCAL
    from fewnerd_stream.console.hub import Hub
    from fewnerd_stream.console.server import Console, Options
    from fewnerd_stream.feeds.serve import serve
    from fewnerd_stream.telemetry.logs import setup_logging

    token = read_token(token_file)
    if dead_letters and token is None:
        raise click.UsageError(
            "--dead-letters needs a token: openssl rand -hex 16 > token.txt; --token-file token.txt"
        )
    local = host in LOCAL
    known = (*LOCAL, host, *hosts) if local or hosts else ()

    async def main() -> None:
        hub = Hub()
        follower = Follower(settings, hub)
        options = Options(known, token if dead_letters else None, _tagger(settings) if offer else None)
        application = Console(settings, hub, follower, options).application()
        async with serve(application, host, port, patience=0.5) as url:
            click.echo(f"The console is at {url}", err=True)
            await follower.run()

    setup_logging(settings)
    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
        run(main())
    click.get_current_context().exit(Exit.OK)


def _tagger(settings: Settings) -> Callable[[str], Sequence[EntityLike]]:
    """Tag a text; the model is loaded when somebody first tries it."""

    @functools.cache
    def load() -> Any:  # noqa: ANN401 - the tagger, whose module is imported when it is needed
        from agents.tagger import load_tagger

        return load_tagger(settings)

    def tag(text: str) -> Sequence[EntityLike]:
        found: Sequence[EntityLike] = load().tag([text])[0]
        return found

    return tag
