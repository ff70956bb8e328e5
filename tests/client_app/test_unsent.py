"""Error feedback of the int8 codec: nothing that a client learns stays unsent."""

from __future__ import annotations

import numpy as np
import pytest
from app_runs import events, run_config, serve
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from in_process_grid import InProcessGrid

from client_app.codec_mod import coded
from fcit_app.runs import RunFolder
from server_app.wire import CODEC, Wire

GENERATOR = np.random.default_rng(1)
# One large number a row: most others are small beside it, some too small to be sent at all.
STEP = (GENERATOR.normal(size=(4, 50)) * 0.02).astype(np.float32)
STEP[:, 0] = 10.0
STEPS = {"adapter": STEP, "projector": STEP[::-1] * np.float32(0.3)}

app = ClientApp()


@app.train(mods=[coded])
def train(message: Message, context: Context) -> Message:
    content = RecordDict({"metrics": MetricRecord({"num-examples": 3})})
    for name, record in message.content.array_records.items():
        step = Array(record["w"].numpy() + STEPS[name])
        content[name] = ArrayRecord({"w": step})
    return Message(content, reply_to=message)


class Client:
    """A node that moves by STEPS in each round, as its server reads it."""

    def __init__(self):
        self.grid = InProcessGrid(app, 1)

    @property
    def state(self):
        return self.grid.contexts[1000].state

    def round(self, feedback=True, stage=1, subspace=0):
        start = ArrayRecord({"w": Array(np.zeros(STEP.shape, np.float32))})
        config = ConfigRecord({"stage": stage, "subspace": subspace})
        content = RecordDict({**dict.fromkeys(STEPS, start), "config": config})
        message, wire = Message(content, 1000, "train"), Wire("int8", feedback)
        (reply,) = self.grid.send_and_receive([wire.encode(message)])
        assert not reply.has_error(), reply.error
        plain = wire.decode(message, reply).content.array_records
        return {name: plain[name]["w"].numpy() for name in STEPS}


def error_of_mean(rounds, feedback):
    client = Client()
    sums = {name: np.zeros(STEP.shape) for name in STEPS}
    for _ in range(rounds):
        for name, found in client.round(feedback).items():
            sums[name] += found
    return max(float(np.abs(sums[name] / rounds - STEPS[name]).max()) for name in STEPS)


def test_the_mean_of_many_rounds_is_the_true_change_with_feedback_alone():
    once = error_of_mean(1, True)
    assert once == error_of_mean(1, False) > 0.01
    assert error_of_mean(100, False) == pytest.approx(once, rel=1e-5)
    # What is unsent never grows: the mean's error falls as one over the rounds.
    for rounds in (10, 100):
        assert error_of_mean(rounds, True) < 1.3 * (0.5 * 10 / 127 + 1e-3) / rounds


def same(one, other):
    return all(one[name].tobytes() == other[name].tobytes() for name in STEPS)


def test_each_subspace_has_its_own_and_another_stage_none():
    client = Client()
    first, second = client.round(), client.round()
    assert not same(first, second)
    assert same(client.round(subspace=7), first)
    assert same(client.round(subspace=7), second)
    third = Client()
    assert [same(third.round(), expected) for expected in (first, second)] == [True, True]
    assert same(client.round(), third.round())
    assert same(client.round(stage=2), first)
    # What the former stage had left is gone.
    assert set(client.state) == {"unsent/2/0/adapter", "unsent/2/0/projector"}


def test_without_feedback_nothing_is_kept_and_the_message_is_the_old_one():
    client = Client()
    assert same(client.round(False), client.round(False))
    assert set(client.state) == set()
    for feedback, keys in ((False, set()), (True, {"feedback"})):
        client.round(feedback)
        facts = client.grid.sent[-1].content.config_records[CODEC]
        assert set(facts) == {"name", "records", "checksum"} | keys


def bits(folder: RunFolder):
    return {key: array.tobytes() for key, array in folder.load_state()[0].items()}


def test_a_run_with_feedback_is_repeated_to_the_bit_and_is_not_the_one_without(
    tiny_folder, tmp_path
):
    folders = {}
    for name, feedback in (("a", True), ("b", True), ("c", False)):
        config = run_config(
            tiny_folder,
            tmp_path / name,
            tasks="imagenet-r",
            rounds=2,
            clients_per_round=4,
            train__steps=1,
            codec="int8",
            codec_feedback=feedback,
        )
        folders[name] = serve(config)
    first, again, without = (bits(folder) for folder in folders.values())
    assert first == again != without
    assert events(folders["a"], "client-rejected") == []
