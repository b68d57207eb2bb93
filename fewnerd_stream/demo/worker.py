"""The demonstration's worker: an ordinary one, but for the tagger that fails on one document of the feed."""

from __future__ import annotations

import sys

from fewnerd_stream.demo.feed import FLAKY_FAILURES, flaky_text
from fewnerd_stream.demo.flaky import FlakyTagger
from fewnerd_stream.errors import FewnerdError
from fewnerd_stream.settings import load_settings
from fewnerd_stream.telemetry.logs import setup_logging


def main() -> int:
    """Run the worker until SIGTERM, with the settings of the environment."""
    from agents.enrich import add_enrich  # noqa: PLC0415 - here the parts are put together, as in the command
    from agents.run import run_worker  # noqa: PLC0415 - so as to say first what is wrong with settings
    from agents.tagger import load_tagger  # noqa: PLC0415 - likewise

    settings = load_settings()
    setup_logging(settings)

    def tagger() -> FlakyTagger:
        return FlakyTagger(load_tagger(settings), flaky_text(), FLAKY_FAILURES)

    return run_worker(settings, tagger, add_enrich)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FewnerdError as error:
        sys.exit(f"error: {error}")
