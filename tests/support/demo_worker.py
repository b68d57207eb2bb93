"""The demonstration's worker without a model: the words of ``WordTagger``, and the failures of the feed."""

from __future__ import annotations

import sys

from agents.enrich import add_enrich
from agents.run import run_worker
from fewnerd_stream.demo.feed import FLAKY_FAILURES, flaky_text
from fewnerd_stream.demo.flaky import FlakyTagger
from fewnerd_stream.settings import load_settings
from fewnerd_stream.telemetry.logs import setup_logging
from tests.support.taggers import WordTagger

if __name__ == "__main__":
    settings = load_settings()
    setup_logging(settings)
    sys.exit(
        run_worker(settings, lambda: FlakyTagger(WordTagger(), flaky_text(), FLAKY_FAILURES), add_enrich)
    )
