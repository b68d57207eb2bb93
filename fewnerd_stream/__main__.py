"""``python -m fewnerd_stream`` is ``fewnerd-stream``."""

from __future__ import annotations

from fewnerd_stream.cli import main

if __name__ == "__main__":
    main()
