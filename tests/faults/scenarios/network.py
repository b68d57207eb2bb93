"""Harm to the network between workers and brokers, by a proxy before each broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.faults.catalogue import scenario

if TYPE_CHECKING:
    from tests.faults.stage import Stage


@scenario(
    5,
    "network",
    "slow, cut and half-open connections; answers lost after the write landed",
    kind="three",
    documents=30_000,
    few=1_200,
)
def network(stage: Stage) -> None:
    """Let each kind of bad network last for a while, with the load going on, and then heal."""
    proxy = stage.clusters.proxies[stage.kind]
    stage.start(2)
    stage.load(backlog=1000)
    stage.flow(200)
    session = stage.settings.session_timeout

    stage.progress(0, 6)
    proxy.toxic("latency", latency=300, jitter=200)
    proxy.toxic("latency", "upstream", latency=300, jitter=200)
    stage.fault("every packet 100 to 500 ms late, both ways")
    stage.sleep(stage.pick(30, 6))
    heal(stage)

    stage.progress(1, 6)
    proxy.toxic("bandwidth", rate=60)
    proxy.toxic("bandwidth", "upstream", rate=60)
    stage.fault("60 KB/s a connection, both ways")
    stage.sleep(stage.pick(30, 5))
    heal(stage)

    stage.progress(2, 6)
    for _ in range(int(stage.pick(10, 3))):
        proxy.cut()
        stage.fault("")
        stage.sleep(stage.chance.uniform(0.5, 3))
    stage.fault("all connections cut, several times")
    heal(stage)

    stage.progress(3, 6)
    proxy.toxic("timeout", timeout=0)
    proxy.toxic("timeout", "upstream", timeout=0)
    stage.fault(f"all connections half open for {session + 5:g} s: nothing passes, nothing is closed")
    stage.sleep(session + 5)
    heal(stage)

    stage.progress(4, 6)
    for _ in range(int(stage.pick(5, 1))):
        proxy.toxic("timeout", timeout=0)
        stage.fault("")
        stage.sleep(stage.chance.uniform(1, 3))
        proxy.cut()
        heal(stage)
    stage.fault("answers lost for 1 to 3 s, then connections cut: what was written had landed")

    stage.progress(5, 6)
    proxy.enable("0", on=False)
    stage.fault("one broker of three not to be reached")
    stage.sleep(stage.pick(20, 5))
    heal(stage)
    while stage.loader.sent < stage.documents:
        stage.sleep(0.5)
    stage.settle()


def heal(stage: Stage) -> None:
    """Take all harm away, and wait until documents flow."""
    stage.clusters.proxies[stage.kind].clear()
    stage.fault("")
    stage.flow(100)
