"""Refuses a Faust or an aiokafka whose internals are not those that this package reaches into."""

from __future__ import annotations

import aiokafka
import faust
import faust.streams
from aiokafka.consumer import fetcher, subscription_state
from aiokafka.consumer.group_coordinator import GroupCoordinator
from faust.transport.drivers import aiokafka as driver

from fewnerd_stream.errors import Stop

FAUST_VERSION = "0.15.3"
AIOKAFKA_VERSION = "0.14.0"

_NAMES = {
    "faust-streaming": (
        (driver.Consumer, "_getmany"),
        (driver.Consumer, "_wait_next_records"),
        (driver.Consumer, "_get_active_partitions"),
        (driver.Consumer, "_to_message"),
        (driver.Consumer, "perform_seek"),
        (driver.Consumer, "verify_all_partitions_active"),
        (driver.AIOKafkaConsumerThread, "_create_worker_consumer"),
        (driver.Producer, "_new_producer"),
    ),
    "aiokafka": (
        (GroupCoordinator, "_send_req"),
        (GroupCoordinator, "_do_commit_offsets"),
        (GroupCoordinator, "check_errors"),
        (GroupCoordinator, "fetch_committed_offsets"),
        (GroupCoordinator, "request_rejoin"),
        (GroupCoordinator, "reset_generation"),
        (fetcher.Fetcher, "_create_fetch_waiter"),
        (fetcher.Fetcher, "_notify"),
        (fetcher, "MemoryRecords"),
        (fetcher.FetchResult, "getone"),
        (fetcher.FetchResult, "has_more"),
        (subscription_state.SubscriptionState, "fetch_context"),
        (subscription_state.SubscriptionState, "reassignment_in_progress"),
        (subscription_state.SubscriptionState, "wait_for_assignment"),
    ),
}


def check_versions() -> None:
    """Look at both before anything is read.

    Raises:
        Stop: another version, no Cython stream iterator (the pure one acks events of an older
            generation), or a private name that is gone.
    """
    for package, needed, installed in (
        ("faust-streaming", FAUST_VERSION, faust.__version__),
        ("aiokafka", AIOKAFKA_VERSION, aiokafka.__version__),
    ):
        if installed != needed:
            raise Stop(f"{package} {needed} is needed; {installed} is installed")
    if getattr(faust.streams, "_CStreamIterator", None) is None:
        raise Stop(
            "faust-streaming is installed without its compiled parts, and their pure-Python twin acks events "
            "of an older generation; install a wheel, or a compiler and build it"
        )
    for package, names in _NAMES.items():
        for owner, name in names:
            if not hasattr(owner, name):
                raise Stop(f"{package} has no {owner.__name__}.{name}, which this package needs")
