"""A grid that shows some of another grid's nodes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fcit_app.errors import RunError

if TYPE_CHECKING:  # Flower has no public name for these two; only type checkers need them.
    from flwr.proto.node_pb2 import NodeInfo
    from flwr.supercore.run import Run


class GridView(Grid):
    """The given nodes of a grid, in the given order; in everything else the grid itself.

    A stock strategy that samples from the view cannot reach a node outside it.

    Parameters
    ----------
    grid : Grid
        The grid that sends and receives.
    nodes : Iterable[int]
        Node ids to show.
    patience : int, optional
        How often the nodes may be asked for. Flower's strategies poll a grid, without end, until
        enough nodes are online. A view never grows, so a strategy that asks this often waits in
        vain and gets an error instead. No limit if None.
    """

    def __init__(self, grid: Grid, nodes: Iterable[int], patience: int | None = None) -> None:
        self._grid = grid
        self._nodes = tuple(nodes)
        self._patience = patience
        self._asked = 0

    def get_node_ids(self) -> list[int]:
        """Return the view's node ids; raises `RunError` once the patience is used up."""
        self._asked += 1
        if self._patience is not None and self._asked > self._patience:
            raise RunError(
                f"A strategy keeps waiting for more nodes than the {len(self._nodes)} it has. Build"
                " it with min_train_nodes=1 and min_available_nodes=1 (a subspace may have a single"
                " client)."
            )
        return list(self._nodes)

    def get_nodes(self) -> Iterable[NodeInfo]:
        """Return what the grid knows of the view's nodes."""
        shown = set(self._nodes)
        return [node for node in self._grid.get_nodes() if node.node_id in shown]

    def set_run(self, run: Run) -> None:
        """Set the grid's run."""
        self._grid.set_run(run)

    @property
    def run(self) -> Run:
        """The grid's run."""
        return self._grid.run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Create a message as the grid does."""
        return self._grid.create_message(content, message_type, dst_node_id, group_id, ttl)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Push messages through the grid."""
        return self._grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Pull replies through the grid."""
        return self._grid.pull_messages(message_ids)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Send messages and wait for replies through the grid."""
        return self._grid.send_and_receive(messages, timeout=timeout)
