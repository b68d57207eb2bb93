"""The enrich agent: windows from the input and retry topics into the delivery pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.app import input_channel

if TYPE_CHECKING:
    import faust

    from agents.app import App


def add_enrich(app: App) -> None:
    """Put the enrich agent on the app.

    The agent acknowledges nothing by itself: the pipeline does, in order, once everything that came of an
    event is stored. ``concurrency`` stays 1, since several instances would acknowledge out of order.
    """
    settings = app.delivery.settings

    @app.agent(input_channel(app), name="enrich")
    async def enrich(stream: faust.StreamT[bytes]) -> None:
        async for events in stream.noack_take(settings.window_size, within=settings.window_time):
            await app.pipeline.submit(events, stream.ack)
