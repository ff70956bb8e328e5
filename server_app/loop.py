"""The loop: one round after the other, with the strategy's four hooks between.

Flower's ``Strategy.start`` has no stages, waits without limit and keeps nothing on disk. This loop
drives the same hooks of any Flower strategy: configure, send and wait, guard, aggregate, save.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from fcit_app.config import RunConfig
from fcit_app.data.stages import Stage
from fcit_app.errors import RunError
from fcit_app.identity.privacy import deviation
from fcit_app.runs.token_book import TokenBook
from server_app.ahead import EarlyGrid, TokensAhead
from server_app.exchange import PromptGrid, exchange
from server_app.guard import judge_identity, judge_importance
from server_app.journal import Journal
from server_app.kept_tokens import keep_tokens
from server_app.late import Late, training_limit
from server_app.matched import tell_newcomers
from server_app.nodes import ClientNodes
from server_app.plan import plan_round
from server_app.private_releases import TokensGiven
from server_app.query_replies import QueryReplies
from server_app.replies import RoundReplies, Tell
from server_app.roster import Roster
from server_app.shortfall import in_words, next_step, pool, why_stopped
from server_app.skipped import SkippedSamples
from server_app.totals import PHASES, Totals
from server_app.wire import Wire
from strategies.continual import IMPORTANCE_QUERY
from strategies.identities import IDENTITY_QUERY

# A strategy that asks a round's grid this often for its nodes waits for nodes that never come.
_PATIENCE = 10


@runtime_checkable
class Finishing(Protocol):
    """A strategy that may ask clients something at the end of a stage."""

    @property
    def wants_finish(self) -> bool:
        """Whether it has anything to ask."""

    def finish_stage(
        self, arrays: ArrayRecord, config: ConfigRecord, grid: Grid, timeout: float
    ) -> ArrayRecord:
        """Ask the grid's nodes and give the new global record."""


@runtime_checkable
class Recognising(Protocol):
    """A strategy that remembers clients, and after a restart wants to know their nodes."""

    def recognise(self, nodes: Mapping[int, int]) -> None:
        """Take note of client to node."""


class Federation:
    """The clients of a run and one strategy that trains with them, round after round.

    Parameters
    ----------
    grid : Grid
        Flower's grid.
    nodes : ClientNodes
        Client to node.
    strategy : Strategy
        Any Flower strategy; only its public hooks are used, and its ``rejected`` if it has one.
    config : RunConfig
        The run's configuration.
    journal : Journal
        Where events go.

    Attributes
    ----------
    totals : Totals
        Seconds, bytes and sample counts so far.
    tokens : TokenBook or None
        Keeps the clients' identity tokens if it is set.
    """

    def __init__(
        self,
        grid: Grid,
        nodes: ClientNodes,
        strategy: Strategy,
        config: RunConfig,
        journal: Journal,
    ) -> None:
        self._grid = grid
        self._roster = Roster(grid, nodes, journal.say)
        self._nodes = dict(nodes)
        self._clients = {node: client for client, node in self._nodes.items()}
        self._strategy = strategy
        self._config = config
        self._journal = journal
        self._skipped = SkippedSamples()
        self._ahead = TokensAhead(grid, strategy, config)
        self.totals = Totals()
        self.tokens: TokenBook | None = None

    @property
    def clients(self) -> list[int]:
        """All clients that ever were here, ascending."""
        return list(self._roster.nodes)

    def present(self) -> Mapping[int, int]:
        """Look who is here now: client to node."""
        self._look()
        return self._nodes

    def _look(self) -> None:
        """See who is here now; tell a strategy that remembers clients if that has changed."""
        config = self._config
        nodes = self._roster.present(config.clients_per_round, config.client_timeout)
        if nodes != self._nodes:
            self._nodes = nodes
            self._clients = {node: client for client, node in nodes.items()}
            self.recognise()

    def recognise(self) -> None:
        """Tell a strategy that remembers clients from before a restart which nodes they are now."""
        if isinstance(self._strategy, Recognising):
            self._strategy.recognise(self._nodes)

    @property
    def wants_finish(self) -> bool:
        """Whether ``finish_stage`` has anything to ask."""
        return isinstance(self._strategy, Finishing) and self._strategy.wants_finish

    @contextmanager
    def asking_ahead(self, stage: Stage | None) -> Iterator[None]:
        """Have the identity tokens of a coming stage (None: there is none) made meanwhile.

        For an evaluation. Where the clients evaluate they are busy, and asked after it.
        """
        before = self._config.evaluate.where == "server"
        if stage and before:
            self._ahead.ask(stage, self._nodes)
        yield
        if stage and not before:
            self._ahead.ask(stage, self._nodes)

    def train_round(
        self,
        arrays: ArrayRecord,
        stage: Stage,
        number: int,
        save: Callable[[ArrayRecord], None],
    ) -> ArrayRecord:
        """Run one round of a stage.

        Parameters
        ----------
        arrays : ArrayRecord
            The global record.
        stage : Stage
            The stage, its number sent to clients so that they know which data to use.
        number : int
            Round within the stage, from 1.
        save : Callable[[ArrayRecord], None]
            Keeps the new global record; the totals then count this round, but for the keeping.

        Returns
        -------
        ArrayRecord
            The new global record.

        Raises
        ------
        RunError
            If too few clients delivered a usable reply, and on-shortfall says no better.
        """
        failed: set[int] = set()
        attempt = 0
        while (merged := self._attempt(arrays, stage, number, attempt, failed, save)) is None:
            attempt += 1
        return merged

    def _attempt(
        self,
        arrays: ArrayRecord,
        stage: Stage,
        number: int,
        attempt: int,
        failed: set[int],
        save: Callable[[ArrayRecord], None],
    ) -> ArrayRecord | None:
        """Try a round; None if it is to be tried again, without those added to ``failed``."""
        self._look()
        config, strategy = self._config, self._strategy
        overall = (stage.number - 1) * config.rounds + number
        plan = plan_round(config, self._drawable(stage, failed), stage, number, attempt)
        tell: Tell = partial(self._journal.write, stage=stage.number, round=number)
        tell("round-started", **plan.facts, **({"attempt": attempt} if attempt else {}))
        seconds: dict[str, float] = {}
        most = plan.most_examples(config.data.train_samples)
        identity = partial(
            judge_identity,
            most_examples=most,
            most_prototypes=config.identity.prototypes,
            noise=deviation(config.identity.clip, config.identity.noise),
        )
        tokens = QueryReplies(self._clients, IDENTITY_QUERY, identity)
        given = TokensGiven(self._clients, tokens.inspect)
        wire = Wire(config.codec, config.codec_feedback)
        with _timed(seconds, "configure"):
            nodes = [self._nodes[c] for c in plan.participants]
            late = Late(self._clients, "client-timeout", config.client_timeout, tell)
            claim = partial(self._ahead.claim, clients=self._clients)
            view = EarlyGrid(claim, self._grid, nodes, _PATIENCE, given.inspect, late.remind)
            settings = ConfigRecord({"stage": stage.number, "round": number, **plan.settings})
            sent = list(strategy.configure_train(overall, arrays, settings, view))
            coded = [wire.encode(message) for message in sent]
        if config.identity.noise > 0:
            given.tell(plan.tasks, tell)
        tell_newcomers(strategy, tell)
        noise = deviation(config.privacy.update_clip, config.privacy.update_noise)
        replies = RoundReplies(sent, self._clients, most, plan, tell, wire, noise, self._skipped)
        limit = Late(
            self._clients,
            *training_limit(config),
            tell,
            lambda: in_words(next_step(config, len(replies.accepted), attempt)),
        )
        with _timed(seconds, "wait"):
            for reply in exchange(self._grid, coded, limit.seconds, limit.remind):
                replies.take(reply)
        replies.reject_silent(limit.reason(seconds["wait"]))
        replies.refuse_outliers(config.guard.norm_factor)
        usable = replies.usable
        step = next_step(config, len(usable), attempt)
        merged = None
        with _timed(seconds, "aggregate"):
            if step == "aggregate":
                merged = strategy.aggregate_train(overall, usable)[0]
        for rejection in getattr(strategy, "rejected", ()):
            # Those of an earlier round's training stand until the strategy aggregates.
            if step == "aggregate" or rejection.phase == "identity":
                client = self._clients[rejection.node]
                replies.reject(client, rejection.reason, client in tokens.refused)
        self._strike(stage, replies, tell)
        traffic = {"up": tokens.up + replies.up, "down": replies.down}
        self._add(stage, seconds, replies, traffic, merged is not None)
        if self.tokens is not None:
            trained = replies.trained if merged is not None else {}
            keep_tokens(self.tokens, strategy, (stage.number, number, attempt), trained)
        if merged is None and step == "retry":
            failed.update(replies.rejected)
            tell("round-short", usable=len(usable), needed=config.min_clients, attempt=attempt)
            return None
        if merged is None:
            drawn = plan.participants
            raise RunError(why_stopped(config, stage, number, drawn, len(usable), replies.rejected))
        merged = _with_dtypes_of(arrays, merged)
        with _timed(seconds, "save"):
            save(merged)
        self.totals.seconds["save"] += seconds["save"]
        tell(
            "round-finished",
            seconds={phase: round(seconds[phase], 4) for phase in PHASES},
            bytes=traffic,
        )
        return merged

    def _drawable(self, stage: Stage, failed: Collection[int]) -> tuple[int, ...]:
        """Clients that may be drawn for a round; raises `RunError` if there is none."""
        most = self._config.guard.strikes
        benched = self.totals.benched(stage.number, most)
        clients = pool(self._nodes, benched, failed, self._config.min_clients)
        if not clients:
            raise RunError(
                f"Stage {stage.number} ({stage.name}): each of the {len(self._nodes)} clients has "
                f"had {most} replies refused (guard.strikes), none is left. The ledger's "
                "client-rejected events say why."
            )
        return clients

    def _strike(self, stage: Stage, replies: RoundReplies, tell: Tell) -> None:
        """Count refused replies, and tell who is not drawn any more."""
        for client in sorted(replies.quarantined):
            strikes = self.totals.add_strike(stage.number, client)
            if strikes == self._config.guard.strikes:
                tell("client-benched", client=client, strikes=strikes)

    def finish_stage(self, arrays: ArrayRecord, stage: Stage) -> ArrayRecord:
        """Let a strategy that wants to ask clients at the end of a stage do so.

        Parameters
        ----------
        arrays : ArrayRecord
            The global record after the stage's last round.
        stage : Stage
            The stage that ends.

        Returns
        -------
        ArrayRecord
            The new global record.
        """
        config, strategy = self._config, self._strategy
        if not isinstance(strategy, Finishing) or not strategy.wants_finish:
            return arrays
        self._look()
        # One more draw of the same kind as the rounds'.
        plan = plan_round(config, self._drawable(stage, ()), stage, config.rounds + 1)
        most = plan.most_examples(config.data.train_samples)
        importance = partial(judge_importance, most_examples=most)
        replies = QueryReplies(self._clients, IMPORTANCE_QUERY, importance)
        nodes = [self._nodes[client] for client in plan.participants]
        settings = ConfigRecord({"stage": stage.number, **plan.settings})
        tell: Tell = partial(self._journal.write, stage=stage.number)
        late = Late(self._clients, "client-timeout", config.client_timeout, tell)
        view = PromptGrid(self._grid, nodes, _PATIENCE, replies.inspect, late.remind)
        started = time.perf_counter()
        arrays = strategy.finish_stage(arrays, settings, view, config.client_timeout)
        silent = "no usable answer in time"
        rejected = {c: silent for c in plan.participants if c not in replies.accepted}
        for client, reason in sorted((rejected | replies.rejected).items()):
            quarantined = client in replies.refused
            tell("client-rejected", client=client, reason=reason, quarantined=quarantined)
        self.totals.up += replies.up
        self.totals.down += replies.down
        self._journal.write(
            "importance-gathered",
            stage=stage.number,
            clients=sorted(replies.accepted),
            seconds=round(time.perf_counter() - started, 4),
            bytes={"up": replies.up, "down": replies.down},
        )
        return arrays

    def _add(
        self,
        stage: Stage,
        seconds: dict[str, float],
        replies: RoundReplies,
        traffic: Mapping[str, int],
        counts: bool,
    ) -> None:
        """Add an attempt at a round to the totals; its samples only if it ``counts``."""
        # Replies are judged while others are still under way; a round lasts as long as its slowest
        # client, and what is left of the wait is the federation's.
        seconds["guard"] = replies.guard_seconds
        seconds["train"] = min(replies.slowest, seconds["wait"] - seconds["guard"])
        seconds["wait"] -= seconds["guard"] + seconds["train"]
        self.totals.add_seconds({**seconds, "save": 0.0})
        self.totals.up += traffic["up"]
        self.totals.down += traffic["down"]
        for client, (subspace, examples) in replies.trained.items() if counts else ():
            self.totals.add_samples(stage.number, subspace, client, examples)


def _with_dtypes_of(former: ArrayRecord, merged: ArrayRecord) -> ArrayRecord:
    """Bring merged arrays to the precision in which they were sent; FedAdam answers in float64."""
    arrays = {
        key: array
        if key not in former or array.dtype == former[key].dtype
        else Array(array.numpy().astype(np.dtype(former[key].dtype)))
        for key, array in merged.items()
    }
    return ArrayRecord(arrays)


@contextmanager
def _timed(seconds: dict[str, float], phase: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        seconds[phase] = time.perf_counter() - started
