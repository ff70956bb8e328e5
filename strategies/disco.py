"""DISCO as a Flower strategy: match identity tokens, delegate the rest to Flower's strategies."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from flwr.app import ArrayRecord, ConfigRecord, Message, Metadata, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from fcit_app.arrays import Arrays
from fcit_app.data.lesson import LESSONS, PARTICIPANTS, read_lessons
from fcit_app.errors import ConfigError, RunError
from fcit_app.identity.matching import Matching, match
from fcit_app.identity.prototypes import SUBSPACE_FACTOR, pooled
from fcit_app.identity.tokens import IdentityToken
from strategies.bank_record import (
    BankRecord,
    SubspaceRecord,
    join_part,
    read_bank,
    split_part,
    write_bank,
)
from strategies.disco_checks import check_parameters, check_projectors
from strategies.inner import InnerStrategy, Instruction
from strategies.quiet import LOGGER, without_warnings
from strategies.records import ADAPTER, CONFIG, PROJECTOR, part_of, to_record
from strategies.replies import (
    Rejection,
    common_metrics,
    mean_metrics,
    problem_of_parts,
    replies_by_node,
)
from strategies.stage import StageClients
from strategies.train_only import TrainOnly


@dataclass(frozen=True)
class _Round:
    """What was sent and to whom; kept from configure_train to aggregate_train."""

    bank: BankRecord
    opened: Mapping[int, ArrayRecord]
    """New subspaces' initial parts; they enter the bank only if a client delivers."""
    sent: Mapping[int, Metadata]
    """Client to the metadata of its message."""
    projector_clients: frozenset[int]


class Disco(TrainOnly):
    """Federated continual instruction tuning with one adapter per subspace.

    Tokens of the participants (every node of the grid that `configure_train` is given) are asked
    for once per stage and client (and lesson, if the round's configuration has lessons) and matched
    with the bank's on the server. Each subspace has an inner Flower strategy of its own, which sees
    its clients and its adapter only; a shared projector has one more, over all participants; one
    per subspace is trained and merged with its adapter. The global ArrayRecord is the whole bank
    (see `strategies.bank_record`) and the only model state. The order of nodes and replies never
    changes a result. (DISCO, dynamic knowledge organisation.)

    Parameters
    ----------
    inner : Callable[[], Strategy]
        Makes the strategy of one subspace; must be content with a single node.
    new_adapter : Callable[[int], Arrays]
        Initial adapter of a new subspace, by its identifier.
    tau : float
        Smallest cosine of identity tokens that counts as the same identity, in (0, 1].
    projector : {"shared", "frozen", "per-subspace"}
        Whether all clients train one projector together, nobody trains it, or each subspace has one
        of its own, which starts from the record's `projector/...` and is trained with its adapter.
    identity_timeout : float
        Seconds to wait for identity tokens; who is later misses the round.
    count : {"stage", "round"}
        How often a client's samples enter the token of its subspace: once a stage, or again in
        each round that it delivers in, as in the released code.
    prototypes : int
        How many prototypes a client may send with its token (`fcit_app.identity.prototypes`); 0,
        the paper's, keeps none.

    Attributes
    ----------
    assignment : dict[int, int]
        Client to subspace identifier, in the current stage and of its latest lesson.
    last_matching : Matching
        How the latest round's newcomers were matched; its positions count the bank's subspaces.
    rejected : list[Rejection]
        Who took no part in the latest round, and why.
    participants : dict[int, IdentityToken]
        Who was matched or known in the latest round, ascending, with its token.
    inners : dict[int, InnerStrategy]
        Subspace identifier to its inner strategy.
    projector_inner : InnerStrategy or None
        Inner strategy of the shared projector.

    Raises
    ------
    ConfigError
        If a parameter is out of range.
    """

    def __init__(
        self,
        inner: Callable[[], Strategy],
        new_adapter: Callable[[int], Arrays],
        tau: float = 0.9,
        projector: Literal["shared", "frozen", "per-subspace"] = "shared",
        identity_timeout: float = 600.0,
        count: Literal["stage", "round"] = "stage",
        prototypes: int = 0,
    ) -> None:
        check_parameters(tau, projector, identity_timeout, count, prototypes)
        self.count = count
        self.inner = inner
        self.new_adapter = new_adapter
        self.tau = tau
        self.projector = projector
        self.identity_timeout = identity_timeout
        self.prototypes = prototypes
        self.assignment: dict[int, int] = {}
        self.last_matching = Matching()
        self.rejected: list[Rejection] = []
        self.participants: dict[int, IdentityToken] = {}
        self.inners: dict[int, InnerStrategy] = {}
        self.projector_inner = self._make_inner() if projector == "shared" else None
        self._stage: StageClients | None = None
        self._round: _Round | None = None

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        """Match this round's participants and write one message to each.

        Parameters
        ----------
        server_round : int
            Number of the round; group of its messages.
        arrays : ArrayRecord
            The bank; only `projector/...` keys if it has no subspace yet.
        config : ConfigRecord
            Copied to every client; "stage" (1 if absent) tells the stage, "participants" and
            "lessons" (if present, see `fcit_app.data.lesson`) who learns which part of it.
        grid : Grid
            Its nodes take part.

        Returns
        -------
        list[Message]
            By ascending client: `{"adapter", "projector" (if shared), "config" (+ "subspace")}`;
            with a projector per subspace "adapter" holds it too, under `projector/...`.

        Raises
        ------
        ConfigError
            If a projector is to be trained but the arrays hold none, or the stage is no whole
            number.
        DataError
            If the lessons are not sound.
        ModelError
            If the arrays are no bank, or its projectors are not where `projector` wants them.
        RunError
            If an inner strategy waits for more nodes than its subspace has.
        """
        bank = read_bank(arrays)
        check_projectors(bank, self.projector)
        stage = self._enter_stage(config.get("stage", 1))
        self._keep_only(bank.subspaces)
        lessons = read_lessons(config)
        stage.turn_to(lessons, self.assignment, bank.subspaces)
        widths = [known.token.total.size for known in bank.subspaces.values()]
        nodes, self.rejected = stage.identify(
            grid,
            str(server_round),
            self.identity_timeout,
            widths[0] if widths else None,
            {key: config[key] for key in (PARTICIPANTS, LESSONS) if lessons},
        )
        self.participants = {client: stage.tokens[client] for client in nodes}
        opened = self._assign(stage, bank, nodes)

        instructions: dict[int, Instruction] = {}
        parts = {i: known.part for i, known in bank.subspaces.items()} | opened
        for identifier, part in parts.items():
            members = [nodes[c] for c in nodes if self.assignment[c] == identifier]
            if members:
                if identifier not in self.inners:
                    self.inners[identifier] = self._make_inner()
                inner = self.inners[identifier]
                instructions |= inner.configure(part, config, grid, members)
        trained = {client: node for client, node in nodes.items() if node in instructions}
        shared: dict[int, Instruction] = {}
        if self.projector_inner and bank.projector and trained:
            shared = self.projector_inner.configure(bank.projector, config, grid, trained.values())

        messages = []
        for client, node in trained.items():
            content = RecordDict({ADAPTER: instructions[node].arrays})
            if self.projector_inner and bank.projector:
                # Also who is not selected to train the projector needs the current one.
                content[PROJECTOR] = shared[node].arrays if node in shared else bank.projector
            settings = dict(config) | (shared[node].config if node in shared else {})
            settings |= instructions[node].config
            settings |= {"server-round": server_round, "subspace": self.assignment[client]}
            content[CONFIG] = ConfigRecord(settings)
            kind = instructions[node].message_type
            messages.append(Message(content, node, kind, group_id=str(server_round)))
        self._round = _Round(
            bank,
            opened,
            {client: m.metadata for client, m in zip(trained, messages, strict=True)},
            frozenset(client for client, node in trained.items() if node in shared),
        )
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Merge the replies per subspace, and the tokens of the clients that delivered.

        Returns
        -------
        tuple
            The new bank and the sample-weighted mean of the metrics all clients report; both None
            if nobody delivered. Subspaces without a delivery keep their bits.

        Raises
        ------
        RunError
            If no round was configured.
        """
        if self._round is None or self._stage is None:
            raise RunError("aggregate_train was called before configure_train.")
        stage, plan, self._round = self._stage, self._round, None
        subspaces = dict(plan.bank.subspaces)
        parts = {i: known.part for i, known in subspaces.items()} | dict(plan.opened)
        delivered = self._delivered(plan, parts, replies)
        metrics = common_metrics(delivered, {c: stage.tokens[c].count for c in delivered})

        for identifier, part in parts.items():
            members = [c for c in delivered if self.assignment[c] == identifier]
            if not members:
                continue
            merged = self.inners[identifier].aggregate(
                [part_of(delivered[c], ADAPTER, metrics[c], part) for c in members], part
            )
            if merged is None:
                continue
            again = self.count == "round"
            tokens = [stage.tokens[c] for c in members if again or c not in stage.counted]
            stage.counted.update(members)
            per_subspace = self.projector == "per-subspace"
            adapter, own = split_part(merged) if per_subspace else (merged, None)
            known = subspaces.get(identifier)
            token = self._pooled(known.token if known else None, tokens)
            first_stage = known.first_stage if known else stage.stage
            subspaces[identifier] = SubspaceRecord(identifier, adapter, token, first_stage, own)
        self._keep_only(subspaces)
        if not delivered:
            return None, None
        projector = plan.bank.projector
        trainers = [c for c in delivered if c in plan.projector_clients]
        if self.projector_inner and projector and trainers:
            trained = [part_of(delivered[c], PROJECTOR, metrics[c], projector) for c in trainers]
            projector = self.projector_inner.aggregate(trained, projector) or projector
        return write_bank(BankRecord(subspaces, projector)), mean_metrics(metrics)

    @property
    def newcomers(self) -> list[dict[str, Any]]:
        """Who was matched in the latest round, ascending: JSON.

        ``subspace``: where the client trains. ``opened``: whether it is a new one. ``cosine``:
        largest one with the bank's tokens, None if the bank had no subspace.
        """
        matching = self.last_matching
        return [
            {
                "client": client,
                "subspace": self.assignment[client],
                "opened": client not in matching.joined,
                "cosine": round(max(cosines), 6) if cosines else None,
            }
            for client, cosines in sorted(matching.similarities.items())
            if client in self.assignment
        ]

    def summary(self) -> None:
        """Log the settings as a tree, with one inner strategy's below."""
        example = self._make_inner().strategy
        for line in (
            "├──> DISCO settings:",
            f"│\t├── Identity threshold tau: {self.tau}",
            f"│\t├── Projector: {self.projector}",
            f"│\t├── Prototypes a client: {self.prototypes or 'none'}",
            f"│\t└── Identity timeout: {self.identity_timeout} s",
            f"├──> Inner strategy of each subspace: {type(example).__name__}",
        ):
            LOGGER.info("\t%s", line)
        example.summary()

    def state_dict(self) -> dict[str, Any]:
        """Give what it knows beside the bank, between two rounds: see `strategies.snapshot`."""
        projector = self.projector_inner
        return {
            "assignment": self.assignment,
            "inners": {i: inner.state_dict() for i, inner in self.inners.items()},
            "projector-inner": projector.state_dict() if projector else None,
            "stage": self._stage.state_dict() if self._stage else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another instance with the same parameters was; this one is fresh."""
        self.assignment = dict(state["assignment"])
        for identifier, kept in state["inners"].items():
            self.inners[identifier] = self._make_inner()
            self.inners[identifier].load_state_dict(kept)
        if self.projector_inner:
            self.projector_inner.load_state_dict(state["projector-inner"])
        self._stage = StageClients.restored(state["stage"]) if state["stage"] else None

    def recognise(self, nodes: Mapping[int, int]) -> None:
        """Take note of who is behind which node: known clients are not asked again.

        Parameters
        ----------
        nodes : Mapping[int, int]
            Client to node; after a restart nodes have other numbers.
        """
        if self._stage is not None:
            self._stage.client_of_node = {node: client for client, node in nodes.items()}

    def _make_inner(self) -> InnerStrategy:
        with without_warnings():
            return InnerStrategy(self.inner())

    def _pooled(self, known: IdentityToken | None, new: list[IdentityToken]) -> IdentityToken:
        return pooled(known, new, self.tau, SUBSPACE_FACTOR * self.prototypes)

    def _enter_stage(self, number: object) -> StageClients:
        if not isinstance(number, int):
            raise ConfigError(f"stage = {number!r}: must be a whole number.")
        if self._stage is None or self._stage.stage != number:
            self._stage = StageClients(number)
            self.assignment = {}
        return self._stage

    def _keep_only(self, identifiers: Collection[int]) -> None:
        """Forget subspaces that are not in the bank; their clients are matched anew."""
        self.inners = {i: inner for i, inner in self.inners.items() if i in identifiers}
        self.assignment = {c: i for c, i in self.assignment.items() if i in identifiers}

    def _assign(
        self, stage: StageClients, bank: BankRecord, clients: Iterable[int]
    ) -> dict[int, ArrayRecord]:
        """Assign the clients that have no subspace yet; the initial parts of new subspaces."""
        new = {c: stage.tokens[c] for c in clients if c not in self.assignment}
        known = list(bank.subspaces)
        self.last_matching = match([s.token for s in bank.subspaces.values()], new, self.tau)
        for client, position in self.last_matching.joined.items():
            self.assignment[client] = known[position]
        opened: dict[int, ArrayRecord] = {}
        for identifier, group in enumerate(self.last_matching.opened, max(known, default=-1) + 1):
            own = bank.projector if self.projector == "per-subspace" else None
            opened[identifier] = join_part(to_record(self.new_adapter(identifier)), own)
            self.assignment |= dict.fromkeys(group, identifier)
        return opened

    def _delivered(
        self, plan: _Round, parts: Mapping[int, ArrayRecord], replies: Iterable[Message]
    ) -> dict[int, Message]:
        """Client to its usable reply, by ascending client; the others are noted in `rejected`."""
        answers, failed = replies_by_node(plan.sent.values(), replies)
        delivered: dict[int, Message] = {}
        for client, metadata in plan.sent.items():
            node = metadata.dst_node_id
            expected = {ADAPTER: parts[self.assignment[client]]}
            if client in plan.projector_clients and plan.bank.projector:
                expected[PROJECTOR] = plan.bank.projector
            reason = failed.get(node) or problem_of_parts(answers[node], expected)
            if reason is None:
                delivered[client] = answers[node]
            else:
                self.rejected.append(Rejection(node, client, "train", reason))
        return delivered
