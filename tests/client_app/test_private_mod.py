"""What training changed leaves a client shortened and noised, whatever records it is in."""

from __future__ import annotations

import numpy as np
import pytest
from app_runs import events, run_config, serve
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from hypothesis import given
from hypothesis import strategies as st
from in_process_grid import InProcessGrid

from client_app.codec_mod import coded
from client_app.private_mod import hide, private
from fcit_app.identity.accountant import epsilon_of
from fcit_app.runs import read_result
from server_app.wire import Wire

GENERATOR = np.random.default_rng(3)
SHAPES = {("adapter", "a"): (30, 4), ("adapter", "b"): (4, 30), ("projector", "c"): (50,)}
STEP = {place: GENERATOR.normal(size=shape).astype(np.float32) for place, shape in SHAPES.items()}


def norm(change):
    return float(np.sqrt(sum(np.square(part, dtype=np.float64).sum() for part in change.values())))


@given(st.floats(0.01, 100))
def test_all_arrays_together_are_no_longer_than_the_bound(clip):
    found = hide(STEP, clip, 0.0)
    assert norm(found) == pytest.approx(min(clip, norm(STEP)), rel=1e-5)
    if clip >= norm(STEP):
        assert all(found[place].tobytes() == STEP[place].tobytes() for place in STEP)


def test_a_client_that_changed_nothing_has_nothing_to_shorten():
    still = {place: np.zeros_like(part) for place, part in STEP.items()}
    assert norm(hide(still, 0.5, 0.0)) == 0.0


def test_noise_is_a_multiple_of_twice_the_bound():
    large = {("adapter", "a"): np.zeros((200, 200), np.float32)}
    drawn = hide(large, 0.5, 3.0, np.random.default_rng(0))["adapter", "a"]
    assert drawn.dtype == np.float32
    assert drawn.std() == pytest.approx(3.0, rel=0.02)
    assert abs(drawn.mean()) < 0.05


app = ClientApp()


@app.train(mods=[coded, private])
def train(message: Message, context: Context) -> Message:
    content = RecordDict({"metrics": MetricRecord({"num-examples": 3, "train-loss": 0.5})})
    for name in ("adapter", "projector"):
        record = message.content.array_records[name]
        content[name] = ArrayRecord(
            {key: Array(array.numpy() + STEP[name, key]) for key, array in record.items()}
        )
    return Message(content, reply_to=message)


def change(codec="none", **settings):
    """How far a client that moves by STEP says it moved, and its reply."""
    grid = InProcessGrid(app, 1, run_config=settings)
    ones = {place: Array(np.ones(shape, np.float32)) for place, shape in SHAPES.items()}
    records = {
        name: ArrayRecord({key: array for (of, key), array in ones.items() if of == name})
        for name in ("adapter", "projector")
    }
    memory = ArrayRecord({"m": Array(np.ones(2, np.float32))})
    content = RecordDict({**records, "memory": memory, "config": ConfigRecord({"stage": 1})})
    message, wire = Message(content, 1000, "train"), Wire(codec)
    (reply,) = grid.send_and_receive([wire.encode(message)])
    assert not reply.has_error(), reply.error
    plain = wire.decode(message, reply)
    found = plain.content.array_records
    assert set(found) == set(records)
    return {place: found[place[0]][place[1]].numpy() - 1 for place in SHAPES}, plain


def test_by_default_a_reply_passes_as_it_is():
    found, _ = change()
    expected = {place: (1 + step) - 1 for place, step in STEP.items()}
    assert all((found[place] == expected[place]).all() for place in STEP)


def test_adapter_and_projector_share_one_bound():
    found, reply = change(**{"privacy.update-clip": 0.5})
    assert norm(found) == pytest.approx(0.5, abs=1e-5)
    direction = {place: step * (0.5 / norm(STEP)) for place, step in STEP.items()}
    assert all(np.allclose(found[place], direction[place], atol=1e-6) for place in STEP)
    assert dict(reply.content["metrics"]) == {"num-examples": 3, "train-loss": 0.5}


@pytest.mark.parametrize("codec", ["bf16", "int8"])
def test_a_codec_carries_what_has_been_hidden_already(codec):
    found, _ = change(codec, **{"privacy.update-clip": 0.5})
    assert norm(found) == pytest.approx(0.5, rel=0.02)


def test_a_messages_noise_is_never_another_ones():
    settings = {"privacy.update-clip": 0.5, "privacy.update-noise": 1.0}
    (first, _), (second, _) = change(**settings), change(**settings)
    assert all((first[place] != second[place]).any() for place in STEP)
    # 290 numbers of standard deviation 1, whatever was learned.
    assert norm(first) == pytest.approx(np.sqrt(290), rel=0.25)


def test_a_run_states_what_its_updates_noise_was_worth(tiny_folder, tmp_path):
    # Of standard deviation 24: the guard, which refuses changes above 10, makes room for it.
    noise = {"privacy.update-clip": 4.0, "privacy.update-noise": 3.0, "privacy.delta": 1e-4}
    config = {**run_config(tiny_folder, tmp_path / "run", rounds=2), **noise}
    folder = serve(config)
    facts = read_result(folder.path).privacy
    assert facts.tokens is None
    came = [event["client"] for event in events(folder, "client-replied")]
    assert events(folder, "client-rejected") == []
    assert facts.updates.releases == {str(c): came.count(c) for c in sorted(set(came))}
    most = max(facts.updates.releases.values())
    assert facts.updates.epsilon == epsilon_of(1e-4, 3.0, most)
    assert facts.updates.hidden == "all samples of a client, replaced by any others"
