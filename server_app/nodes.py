"""Which node is which client: nodes get a new number at each connection, clients keep theirs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from flwr.app import Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid

from fcit_app.config import RunConfig
from fcit_app.data.stages import make_stages
from fcit_app.errors import RunError
from fcit_app.preflight import preflight
from server_app.exchange import exchange
from server_app.private_tasks import PRIVATE, PrivateTask, check_stages_filled, read_private
from strategies.records import CLIENT, METRICS
from strategies.replies import error_text

HELLO_QUERY = f"{MessageType.QUERY}.hello"
"""Asks a node for its stable client id; a ClientApp answers it with ``@app.query("hello")``."""

PREPARE_QUERY = f"{MessageType.QUERY}.prepare"
"""Lets a node load what training needs; nobody waits for the answer."""

CLIENTS = "clients"
"""Metric by which a node says how many clients share the data."""

MORE_NODES = (
    "In a simulation add nodes with --federation-config 'num-supernodes=5' (`fcit run` does it "
    "with --clients 5); in a deployment start more SuperNodes; or lower clients-per-round."
)

_PAUSE = 5.0  # seconds between two looks for nodes, and two lines about it


@dataclass(frozen=True)
class Hello:
    """What a node says of itself: its client id, how many clients there are, its own task."""

    node: int
    client: int
    clients: int
    private: PrivateTask | None


class ClientNodes(dict[int, int]):
    """Client to node, by ascending client.

    Attributes
    ----------
    shares : int
        Among how many clients the data are dealt, those that are not here included.
    private : Mapping[int, PrivateTask]
        Tasks of their own that some clients have.
    left_out : Mapping[int, str]
        Node that takes no part to the reason.
    stages : int
        How many the run has: what a node's own task is judged by.
    """

    def __init__(
        self,
        nodes: Mapping[int, int],
        shares: int,
        private: Mapping[int, PrivateTask] = MappingProxyType({}),
        left_out: Mapping[int, str] = MappingProxyType({}),
        stages: int = 0,
    ) -> None:
        super().__init__(nodes)
        self.shares = shares
        self.private = private
        self.left_out = left_out
        self.stages = stages

    def only(self, nodes: Mapping[int, int]) -> ClientNodes:
        """Give the same with these clients alone; nodes of the others take no part."""
        private = {client: task for client, task in self.private.items() if client in nodes}
        others = {self[c]: "its client is not one of the run's" for c in self if c not in nodes}
        return ClientNodes(nodes, self.shares, private, {**self.left_out, **others}, self.stages)


def prepare_clients(grid: Grid, nodes: Iterable[int], timeout: float) -> None:
    """Let nodes load base and encoder while the server is still busy with its own start.

    Parameters
    ----------
    grid : Grid
        Where the nodes are.
    nodes : Iterable[int]
        The first round's participants.
    timeout : float
        Seconds after which a message that was not delivered is dropped.
    """
    grid.push_messages([Message(RecordDict(), node, PREPARE_QUERY, ttl=timeout) for node in nodes])


def gather_clients(
    grid: Grid, config: RunConfig, patience: float, say: Callable[[str], None]
) -> ClientNodes:
    """Find the run's clients among the connected nodes.

    Parameters
    ----------
    grid : Grid
        Where the nodes are.
    config : RunConfig
        Says how many clients a round needs and how long to wait for an answer.
    patience : float
        Seconds to wait for nodes that are not connected yet.
    say : Callable[[str], None]
        Takes remarks for the user.

    Raises
    ------
    RunError
        If too few nodes are connected or answer, their answers contradict each other, or too few
        clients take part in a stage.
    ConfigError
        If the training samples cannot be dealt to so many clients.
    """
    needed = config.clients_per_round
    nodes = wait_for_nodes(grid, needed, patience, say)
    stages = make_stages(config)
    answers, silent = _ask(grid, nodes, config.client_timeout, len(stages))
    clients = _by_client(answers)
    why = "".join(f" Node {node}: {reason.rstrip('.')}." for node, reason in silent.items())
    if len(clients) < needed:
        raise RunError(
            f"clients-per-round = {needed}, but only {len(clients)} of {len(nodes)} nodes said "
            f"which client they are.{why} {MORE_NODES}"
        )
    if silent:
        say(f"{len(silent)} of {len(nodes)} nodes take no part.{why}")
    preflight(config, answers[0].clients)
    private = {hello.client: hello.private for hello in answers if hello.private}
    check_stages_filled(config, stages, private, len(clients))
    return ClientNodes(clients, answers[0].clients, private, silent, len(stages))


def wait_for_nodes(
    grid: Grid, needed: int, patience: float, say: Callable[[str], None]
) -> tuple[int, ...]:
    """Wait until enough nodes are connected; give their ids, ascending.

    Raises
    ------
    RunError
        If there are too few after ``patience`` seconds; says how to add more.
    """
    end = time.monotonic() + patience
    while True:
        nodes = tuple(sorted(grid.get_node_ids()))
        if len(nodes) >= needed:
            return nodes
        left = end - time.monotonic()
        if left <= 0:
            raise RunError(
                f"clients-per-round = {needed}, but only {len(nodes)} "
                f"node{' is' if len(nodes) == 1 else 's are'} connected. {MORE_NODES}"
            )
        say(f"waiting for nodes: {len(nodes)} of {needed} connected, {left:.0f} s before giving up")
        time.sleep(min(_PAUSE, left))


def _ask(
    grid: Grid, nodes: tuple[int, ...], timeout: float, stages: int
) -> tuple[list[Hello], dict[int, str]]:
    """Ask every node which client it is; the others with the reason why they are none."""
    messages = [Message(RecordDict(), node, HELLO_QUERY) for node in nodes]
    replies = list(exchange(grid, messages, timeout))
    node_of = {message.metadata.message_id: message.metadata.dst_node_id for message in messages}
    answers: list[Hello] = []
    silent = dict.fromkeys(nodes, f"no answer within {timeout:g} s (client-timeout)")
    for reply in replies:
        node = node_of[reply.metadata.reply_to_message_id]
        hello = read_hello(reply, node, stages)
        if isinstance(hello, Hello):
            del silent[node]
            answers.append(hello)
        else:
            silent[node] = hello
    return sorted(answers, key=lambda hello: (hello.client, hello.node)), silent


def read_hello(reply: Message, node: int, stages: int) -> Hello | str:
    """Read a node's answer to ``HELLO_QUERY``; or the reason why it is none."""
    if reply.has_error():
        return error_text(reply.error)
    metrics = reply.content.metric_records.get(METRICS, MetricRecord())
    client, clients = metrics.get(CLIENT), metrics.get(CLIENTS)
    if not isinstance(client, int) or not isinstance(clients, int):
        return f"it answered {dict(metrics)}, not its client id and their number"
    told = reply.content.config_records.get(PRIVATE)
    private = None if told is None else read_private(told, stages)
    if isinstance(private, str):
        return f"client {client}: {private}"
    return Hello(node, client, clients, private)


def _by_client(answers: list[Hello]) -> dict[int, int]:
    """Client to node; raises `RunError` if two answers contradict each other."""
    found: dict[int, int] = {}
    for hello in answers:
        if hello.client in found:
            raise RunError(
                f"Nodes {found[hello.client]} and {hello.node} both say that they are client "
                f"{hello.client}. Give each SuperNode a partition-id of its own in --node-config."
            )
        if hello.clients != answers[0].clients:
            raise RunError(
                f"Nodes disagree on the number of clients: {answers[0].clients} says node "
                f"{answers[0].node}, {hello.clients} says node {hello.node}. Give each SuperNode "
                "the same num-partitions in --node-config."
            )
        found[hello.client] = hello.node
    return found
