"""DISCO when a client learns different things in the rounds of one stage."""

from __future__ import annotations

import pytest
from fake_clients import (
    INNERS,
    as_bits,
    count_of,
    empty_bank,
    make_disco,
    moved,
    new_adapter,
    play,
    samples,
    subspaces_of,
    token_total,
)
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from in_process_grid import InProcessGrid

from fcit_app.data.lesson import read_lessons
from fcit_app.errors import DataError
from strategies import GridView

TOPICS = ("", "red", "green", "blue")


def lesson_app() -> ClientApp:
    """Clients whose token is about the lesson that the round's configuration gives them."""
    app = ClientApp()

    def lesson_of(message, context):
        client = int(context.node_config["partition-id"])
        return client, read_lessons(message.content["config"]).get(client, "")

    @app.query("identity")
    def identity(message, context):
        client, lesson = lesson_of(message, context)
        total = token_total(TOPICS.index(lesson), samples(client))
        metrics = MetricRecord({"num-examples": samples(client), "client": client})
        content = RecordDict({"token": ArrayRecord({"total": Array(total)}), "metrics": metrics})
        return Message(content, reply_to=message)

    @app.train()
    def train(message, context):
        client, _ = lesson_of(message, context)
        reply = RecordDict()
        for name, record in message.content.array_records.items():
            reply[name] = ArrayRecord(
                {key: Array(moved(array.numpy(), client, key)) for key, array in record.items()}
            )
        reply["metrics"] = MetricRecord({"num-examples": 1, "train-loss": 1.0, "client": client})
        return Message(reply, reply_to=message)

    return app


def teach(disco, grid, bank, number, stage=1, **lessons):
    """One round; lessons by client, such as ``c0="red"``. Others take no part."""
    told = {int(key[1:]): lesson for key, lesson in lessons.items()}
    config = ConfigRecord(
        {"stage": stage, "participants": list(told), "lessons": list(told.values())}
    )
    view = GridView(grid, [1000 + client for client in told])
    messages = disco.configure_train(number, bank, config, view)
    merged, _ = disco.aggregate_train(number, grid.send_and_receive(messages))
    return bank if merged is None else merged


def asked(grid):
    return [grid.partition(m.metadata.dst_node_id) for m in grid.sent_of("query.identity")]


def test_a_client_that_turns_to_another_lesson_is_matched_anew_and_counts_for_both():
    grid, disco = InProcessGrid(lesson_app(), 3), make_disco()
    bank = teach(disco, grid, empty_bank(), 1, c0="red", c1="green")
    assert disco.assignment == {0: 0, 1: 1}
    bank = teach(disco, grid, bank, 2, c0="green", c1="green")
    assert disco.assignment == {0: 1, 1: 1}
    assert asked(grid) == [0, 1, 0]
    assert subspaces_of(bank) == [0, 1]
    assert count_of(bank, 0) == samples(0)
    assert count_of(bank, 1) == samples(0) + samples(1)


def test_a_client_that_comes_back_to_a_lesson_is_neither_asked_nor_counted_again():
    grid, disco = InProcessGrid(lesson_app(), 2), make_disco()
    bank = empty_bank()
    for number, lesson in enumerate(("red", "green", "red", "green"), start=1):
        bank = teach(disco, grid, bank, number, c0=lesson, c1="red")
    assert asked(grid) == [0, 1, 0]
    assert count_of(bank, 0) == samples(0) + samples(1)
    assert count_of(bank, 1) == samples(0)
    bank = teach(disco, grid, bank, 5, stage=2, c0="red")
    assert asked(grid) == [0, 1, 0, 0]
    assert count_of(bank, 0) == 2 * samples(0) + samples(1)


def test_two_new_lessons_of_one_stage_open_two_subspaces_and_keep_both_clients_work():
    grid, disco = InProcessGrid(lesson_app(), 3), make_disco()
    bank = teach(disco, grid, empty_bank(), 1, c0="red")
    bank = teach(disco, grid, bank, 2, stage=2, c0="red", c1="green", c2="blue")
    assert disco.assignment == {0: 0, 1: 1, 2: 2}
    for client, identifier in ((1, 1), (2, 2)):
        for name, start in new_adapter(identifier).items():
            kept = bank[f"subspace-{identifier:03d}/adapter/{name}"].numpy()
            assert (kept == moved(start, client, name)).all()


def test_who_does_not_tell_about_the_new_lesson_misses_the_round():
    def fail(client, message):
        kind, lessons = message.metadata.message_type, read_lessons(message.content["config"])
        return "error" if kind == "query.identity" and lessons[client] == "green" else None

    grid, disco = InProcessGrid(lesson_app(), 2, fail=fail), make_disco()
    bank = teach(disco, grid, empty_bank(), 1, c0="red", c1="red")
    before = len(grid.sent_of("train"))
    bank = teach(disco, grid, bank, 2, c0="green", c1="red")
    assert len(grid.sent_of("train")) == before + 1
    ((node, phase),) = [(r.node, r.phase) for r in disco.rejected]
    assert (node, phase) == (1000, "identity")
    assert subspaces_of(bank) == [0]
    bank = teach(disco, grid, bank, 3, c0="red", c1="red")
    assert disco.rejected == []
    assert count_of(bank, 0) == samples(0) + samples(1)


def test_a_subspace_that_is_gone_is_not_come_back_to():
    grid, disco = InProcessGrid(lesson_app(), 1), make_disco()
    teach(disco, grid, empty_bank(), 1, c0="red")
    bank = teach(disco, grid, empty_bank(), 2, c0="green")  # as if the first round had not been
    bank = teach(disco, grid, bank, 3, c0="red")
    assert subspaces_of(bank) == [0, 1]
    assert count_of(bank, 0) == count_of(bank, 1) == samples(0)


@pytest.mark.parametrize("inner", ["FedAvg", "FedAdam"])
def test_one_lesson_for_all_is_as_if_there_were_no_lessons(inner):
    grid, told = InProcessGrid(lesson_app(), 3), make_disco(INNERS[inner])
    bank = empty_bank()
    for number in (1, 2):
        bank = teach(told, grid, bank, number, c2="", c0="", c1="")
    plain = play(make_disco(inner), InProcessGrid(lesson_app(), 3), empty_bank(), rounds=2)
    assert as_bits(bank) == as_bits(plain)


def test_lessons_that_are_not_sound_are_refused():
    config = ConfigRecord({"participants": [0, 1], "lessons": ["red"]})
    with pytest.raises(DataError, match="two lists of one length"):
        make_disco().configure_train(1, empty_bank(), config, InProcessGrid(lesson_app(), 2))
