"""What runs side by side and what in order: every field of the table of sequential and parallel ports, on two gateways.

Source: AIF reference, section 26.1. The order of the queue is that of file names: tests/e2e/test_order.py.
"""

from typing import Any

import pytest

from gateway.db.open import Store
from gateway.kernel.ids import MessageKey
from tests.integration.messaging.sets import Port

TIMES = ["1", "2", "3", "4"]


def two_gateways(store: Store, mode: str, together: int = 0, **process: Any) -> Port:
    """Return a port on which two gateways work, two messages at a time; *together* must be in work side by side."""
    port = Port(store, {"mode": mode, **process}, stages=2, chunk=2)
    port.orders.wanted_together = together
    return port


async def singles(port: Port, own: str | None = None) -> list[MessageKey]:
    """Put four files of one message each."""
    return [key for quantity in TIMES for key in await port.put([quantity], single=True, own=own)]


async def test_single_messages_of_a_parallel_port_are_spread(store: Store) -> None:
    port = two_gateways(store, "parallel", together=2)
    await singles(port)
    await port.run()
    assert port.orders.together > 1


async def test_single_messages_of_a_sequential_port_run_one_after_another_in_order(store: Store) -> None:
    port = two_gateways(store, "sequential")
    keys = await singles(port)
    await port.run()
    assert (port.orders.together, port.orders.order) == (1, keys)


async def test_batched_messages_of_a_parallel_port_are_split_and_spread(store: Store) -> None:
    port = two_gateways(store, "parallel", together=2)
    await port.put(TIMES)
    await port.run()
    assert port.orders.together > 1


async def test_batched_messages_of_a_sequential_port_run_one_after_another_in_order(store: Store) -> None:
    port = two_gateways(store, "sequential")
    keys = [*await port.put(TIMES), *await port.put(TIMES)]
    await port.run()
    assert (port.orders.together, port.orders.order) == (1, keys)


@pytest.mark.parametrize("where", ["batch", "messages", "files of one message"])
async def test_conversation_of_a_parallel_port_runs_one_after_another_in_order(store: Store, where: str) -> None:
    port = two_gateways(store, "parallel", conversations="port")
    match where:
        case "batch":
            keys = [*await port.put(TIMES, conversation="c"), *await port.put(TIMES, conversation="c")]
        case "messages":
            keys = [*await port.put(TIMES, own="c"), *await port.put(TIMES, own="c")]
        case _:
            keys = await singles(port, own="c")
    await port.run()
    assert (port.orders.together, port.orders.order) == (1, keys)


@pytest.mark.parametrize("where", ["batch", "files of one message"])
async def test_different_conversations_of_a_parallel_port_run_side_by_side(store: Store, where: str) -> None:
    port = two_gateways(store, "parallel", together=2)
    if where == "batch":
        keys = [await port.put(TIMES, conversation=name) for name in ("a", "b", "c", "d")]
    else:
        keys = [await singles(port, own=name) for name in ("a", "b", "c", "d")]
    await port.run()
    for conversation in keys:
        assert [key for key in port.orders.order if key in conversation] == conversation
    assert port.orders.together > 1


@pytest.mark.parametrize("where", ["conversation", "own"])
async def test_conversation_is_ignored_on_a_sequential_port(store: Store, where: str) -> None:
    port = two_gateways(store, "sequential")
    keys = [key for name in "abab" for key in await port.put(["1", "2"], **{where: name})]
    await port.run()
    assert (port.orders.together, port.orders.order) == (1, keys)


async def test_messages_with_one_id_are_ordered_within_their_own_set_only(store: Store) -> None:
    """A conversation of messages does not reach beyond its file, unless the port says so."""
    port = two_gateways(store, "parallel", together=2)
    keys = [await port.put(["1", "2"], own="c") for _ in range(2)]
    await port.run()
    for file in keys:
        assert [key for key in port.orders.order if key in file] == file
    assert port.orders.together > 1
