"""Identity tokens asked for ahead: while the server evaluates, not when a round waits for them.

A round begins with a question to each client that is new in its stage. To answer, a node reads all
its instructions with the text encoder, and Flower's simulation engine looks for messages only ten
times a second. But whom the rounds of a stage will draw, and what these clients are asked, is known
before it begins (``server_app.plan``).

Rounds see no difference: a question that is under way is waited for, judged, counted and told as if
it had been sent in the round. Nothing of it is state. A run that goes on after an interruption asks
as its rounds do, and so does whatever else was not foreseen: another client, node or lesson.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from flwr.app import ConfigRecord, Message
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from fcit_app.config import RunConfig
from fcit_app.data.lesson import LESSONS, PARTICIPANTS, read_lessons, write_lessons
from fcit_app.data.stages import Stage
from server_app.exchange import GRACE, Inspect, PromptGrid, Remind, exchange
from server_app.kept_tokens import Identifying
from server_app.plan import plan_round
from strategies.identities import IDENTITY_QUERY, identity_question
from strategies.records import CONFIG

LONGEST = 86400.0
"""Seconds within which an answer must be wanted: evaluations take hours. Later it is asked anew."""

Claim = Callable[[Message], Message | None]
"""From a message to the one under way that asks the same of the same node, if there is one."""

_Question = tuple[int, str, str]
"""Node, settings, lesson: the answer depends on nothing else."""


class TokensAhead:
    """The identity questions that are under way before a round wants their answers.

    With noise on the tokens there are none: each answer costs privacy then, and one that was asked
    for ahead may come to nothing (a client that leaves, a run that stops).

    Parameters
    ----------
    grid : Grid
        Flower's grid.
    strategy : Strategy
        The run's; nobody is asked for one that asks for no tokens.
    config : RunConfig
        The run's configuration.
    """

    def __init__(self, grid: Grid, strategy: Strategy, config: RunConfig) -> None:
        self._grid = grid
        self._config = config
        self._wanted = isinstance(strategy, Identifying) and config.identity.noise == 0
        self._open: dict[_Question, tuple[Message, float]] = {}

    def ask(self, stage: Stage, nodes: Mapping[int, int]) -> None:
        """Ask the clients that the rounds of a stage will draw, and wait for nobody.

        Each is asked once, for the lesson of its first round. It answers before it is sent anything
        to train: of two messages that one node works on at a time, Flower's simulation engine
        keeps the state that the later one leaves.

        Parameters
        ----------
        stage : Stage
            The stage; what was asked for another one is forgotten.
        nodes : Mapping[int, int]
            Client to node, of those that are here now.
        """
        self._open = {}
        if not self._wanted:
            return
        config = self._config
        lives = LONGEST + config.client_timeout + GRACE
        asked: dict[int, Message] = {}
        for number in range(1, config.rounds + 1):
            plan = plan_round(config, nodes, stage, number)
            group = str((stage.number - 1) * config.rounds + number)
            for client in plan.participants:
                told = write_lessons({client: plan.lessons[client]}) if plan.lessons else {}
                question = identity_question(nodes[client], stage.number, group, lives, told)
                asked.setdefault(client, question)
        sent = {key for key in self._grid.push_messages(list(asked.values())) if key}
        end = time.monotonic() + LONGEST
        for client, message in asked.items():
            if _id(message) in sent:
                self._open[_question(message, client)] = message, end

    def claim(self, message: Message, clients: Mapping[int, int]) -> Message | None:
        """Give the message that asks the same and was sent ahead, once; None if there is none.

        Parameters
        ----------
        message : Message
            What a strategy asks.
        clients : Mapping[int, int]
            Node to client.
        """
        if message.metadata.message_type != IDENTITY_QUERY:
            return None
        question = _question(message, clients[message.metadata.dst_node_id])
        known, end = self._open.pop(question, (None, 0.0))
        return known if time.monotonic() < end else None


class EarlyGrid(PromptGrid):
    """Some nodes of a grid, to whom what a strategy asks may be under way already.

    Parameters
    ----------
    claim : Claim
        Finds what is.
    grid, nodes, patience, inspect, remind
        See `PromptGrid`.
    """

    def __init__(
        self,
        claim: Claim,
        grid: Grid,
        nodes: Iterable[int],
        patience: int | None,
        inspect: Inspect,
        remind: Remind,
    ) -> None:
        super().__init__(grid, nodes, patience, inspect, remind)
        self._claim = claim

    def _answered(self, messages: list[Message], limit: float) -> list[tuple[Message, Message]]:
        """Ask what is not under way; the time limit begins now for the rest as well."""
        early = {i: known for i, m in enumerate(messages) if (known := self._claim(m))}
        came = {_answers(r): r for r in exchange(self, (), 0.0, under_way=early.values())}
        # That was one look, without waiting. An error by now is no answer: its cause may be over (a
        # node that was away, memory that the evaluation had taken), so it is asked as if for the
        # first time.
        early = {i: known for i, known in early.items() if not _failed(came.get(_id(known)))}
        new = [message for i, message in enumerate(messages) if i not in early]
        under_way = [known for known in early.values() if _id(known) not in came]
        replies = [reply for reply in came.values() if not reply.has_error()]
        replies += exchange(self, new, limit, self._remind, under_way)
        asked = {_id(early.get(i, message)): message for i, message in enumerate(messages)}
        answered = [(asked[_answers(reply)], reply) for reply in replies]
        return [(message, _readdressed(reply, message)) for message, reply in answered]


def _question(message: Message, client: int) -> _Question:
    """Say what a message asks of a client: of all lessons in it only the client's own matters."""
    settings = message.content.config_records.get(CONFIG, ConfigRecord())
    rest = {key: settings[key] for key in settings if key not in (PARTICIPANTS, LESSONS)}
    lesson = read_lessons(settings).get(client, "")
    return message.metadata.dst_node_id, repr(sorted(rest.items())), lesson


def _id(message: Message) -> str:
    return message.metadata.message_id


def _answers(reply: Message) -> str:
    return reply.metadata.reply_to_message_id


def _failed(reply: Message | None) -> bool:
    return reply is not None and reply.has_error()


def _readdressed(reply: Message, message: Message) -> Message:
    """Make a reply one to this message, if it answers another that asked the same."""
    if _answers(reply) == _id(message):
        return reply
    if reply.has_error():
        return Message(reply.error, reply_to=message)
    return Message(reply.content, reply_to=message)
