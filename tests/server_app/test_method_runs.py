"""Whole runs of the paper's baselines: real ServerApp, strategy, ClientApp and training."""

from __future__ import annotations

import re

import numpy as np
import pytest
from app_runs import events, run_config, serve
from flwr.app import Array, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from in_process_grid import InProcessGrid

from client_app.app import app as client_app
from fcit_app.errors import RunError
from fcit_app.parcel import PARCEL
from fcit_app.runs import RunFolder
from server_app.guard import judge_importance
from strategies.continual import IMPORTANCE_QUERY
from strategies.continual_record import read_state
from strategies.records import packed, to_record, unpacked

NEW = ("ewc", "o-lora", "m-lora", "moelora", "l2p")
ROUNDS = {"rounds": 2, "clients_per_round": 3}


def bits(folder):
    arrays, meta = folder.load_state()
    return {name: (a.dtype, a.shape, a.tobytes()) for name, a in arrays.items()}, meta["bank"]


def watched(tiny_folder, out, **changes):
    """A run, and the messages its clients were sent."""
    config = run_config(tiny_folder, out, **changes)
    grid = InProcessGrid(client_app, 5, run_config=config)
    return serve(config, grid), grid


@pytest.fixture(scope="module")
def finished(tiny_folder, tmp_path_factory):
    """One run of each method, with its grid; and the states saved after each round."""
    runs = {}
    for method in ("finetune", *NEW):
        out = tmp_path_factory.mktemp("run") / method
        saved = []
        with pytest.MonkeyPatch.context() as patch:
            save = RunFolder.save_state

            def spy(self, arrays, meta, save=save, saved=saved):
                save(self, arrays, meta)
                if meta["step"] == "round":
                    saved.append(bits(self))

            patch.setattr(RunFolder, "save_state", spy)
            folder, grid = watched(tiny_folder, out, method=method, **ROUNDS)
        runs[method] = folder, grid, saved
    return runs


@pytest.mark.parametrize("method", NEW)
def test_every_method_runs_to_its_end(finished, method):
    folder, _, saved = finished[method]
    result = folder.read_result()
    assert result.method == method
    assert [len(row) for row in result.accuracy] == [1, 2]
    assert None not in (result.last, result.avg, result.backward_transfer, result.forgetting)
    assert len(saved) == 4
    assert len({str(state) for state in saved}) == 4
    assert not events(folder, "client-rejected")
    assert f"<td>{result.last:.1f}</td>" in (folder.path / "report.html").read_text()


@pytest.mark.parametrize("method", NEW)
def test_the_memory_is_sent_and_not_sent_back(finished, method):
    folder, grid, _ = finished[method]
    sent = grid.sent_of("train")
    with_memory = [m for m in sent if "memory" in m.content.array_records]
    stages = [m.content.config_records["config"]["stage"] for m in with_memory]
    assert stages == ([2] * 6 if method in ("ewc", "o-lora") else [])
    result = folder.read_result()
    asked = grid.sent_of(IMPORTANCE_QUERY)
    size = {id(m): sum(r.count_bytes() for r in m.content.array_records.values())
            for m in (*sent, *asked)}  # fmt: skip
    assert result.bytes.down == sum(size.values())
    remembered = sum(m.content.array_records["memory"].count_bytes() for m in with_memory)
    assert result.bytes.up == result.bytes.down - remembered
    assert len(asked) == (6 if method == "ewc" else 0)
    gathered = events(folder, "importance-gathered")
    assert [event["stage"] for event in gathered] == ([1, 2] if method == "ewc" else [])


@pytest.mark.parametrize("method", ["ewc", "o-lora"])
def test_the_first_stage_is_fine_tunings_to_the_bit(finished, method):
    assert finished[method][2][:2] == finished["finetune"][2][:2]
    assert finished[method][2][2:] != finished["finetune"][2][2:]


def test_ewc_of_strength_nought_is_fine_tuning_to_the_bit(finished, tiny_folder, tmp_path):
    config = run_config(tiny_folder, tmp_path / "run", method="ewc", ewc__strength=0.0, **ROUNDS)
    assert bits(serve(config)) == finished["finetune"][2][-1]


def test_o_loras_earlier_adapter_keeps_its_bits(finished):
    _, _, saved = finished["o-lora"]
    first, last = saved[1][0], saved[-1][0]
    adapters = {name for name in first if name.startswith("subspace-000/")}
    assert adapters
    assert all(first[name] == last[name] for name in adapters)
    assert any(name.startswith("subspace-001/") for name in last)
    subspaces = finished["o-lora"][0].read_result().subspaces
    assert [list(s.task_counts) for s in subspaces] == [["imagenet-r"], ["figureqa"]]


@pytest.mark.parametrize("method", ["ewc", "l2p"])
def test_neither_repeating_nor_reordering_changes_a_bit(finished, tiny_folder, tmp_path, method):
    config = run_config(tiny_folder, tmp_path / "again", method=method, **ROUNDS)
    grid = InProcessGrid(
        client_app,
        [3, 1, 0, 4, 2],
        nodes=[77, 5, 923, 12, 400],
        reorder=lambda replies: sorted(replies, key=lambda r: -r.metadata.src_node_id),
        run_config=config,
    )
    assert bits(serve(config, grid)) == finished[method][2][-1]


@pytest.mark.parametrize(
    ("method", "aggregator"), [("o-lora", "fedadam"), ("moelora", "fedmedian")]
)
def test_methods_and_aggregators_are_independent(tiny_folder, tmp_path, method, aggregator):
    config = run_config(tiny_folder, tmp_path / "run", method=method, aggregator=aggregator)
    folder = serve(config)
    assert [len(row) for row in folder.read_result().accuracy] == [1, 2]
    assert not events(folder, "client-rejected")


def test_a_frozen_projector_stays_the_bases_own(tiny_folder, tmp_path):
    folder, grid = watched(tiny_folder, tmp_path / "run", method="ewc", projector="frozen")
    assert not any(name.startswith("projector/") for name in folder.load_state()[0])
    message = grid.sent_of("train")[-1]
    assert not any("projector" in key for key in message.content.array_records["memory"])


def test_the_state_alone_says_where_a_run_is(tiny_folder, tmp_path):
    from server_app.loop import Federation

    seen = []
    with pytest.MonkeyPatch.context() as patch:
        finish = Federation.finish_stage

        def spy(self, arrays, stage):
            seen.append(finish(self, arrays, stage))
            return seen[-1]

        patch.setattr(Federation, "finish_stage", spy)
        serve(run_config(tiny_folder, tmp_path / "run", method="ewc"))
    states = [read_state(record) for record in seen]
    assert [state.stage for state in states] == [1, 2]
    for state in states:
        assert set(state.memory) == {"importance", "anchor"}
        assert all(
            np.array_equal(state.memory["anchor"][n], array) for n, array in state.trained.items()
        )
        assert all((array >= 0).all() for array in state.memory["importance"].values())


# Bad answers to the importance query.

BAD = 4
"""A client whose answers are bad."""


def inside(change):
    """Change the record in the parcel of an answer."""

    def alter(reply):
        record = unpacked(reply.content["importance"])
        change(record)
        reply.content["importance"] = packed(record)

    return alter


def on_values(change):
    def alter(record):
        key = min(record)
        record[key] = Array(change(record[key].numpy()).astype(np.float32))

    return inside(alter)


@inside
def drop_first(record):
    del record[min(record)]


def damaged(reply):
    record = reply.content["importance"]
    record[PARCEL] = Array(record[PARCEL].numpy()[::-1].copy())


def opened(reply):
    reply.content["importance"] = unpacked(reply.content["importance"])


def torn(reply):
    array = reply.content["importance"][PARCEL]
    torn = Array(array.dtype, array.shape, array.stype, array.data[:-3])
    reply.content["importance"][PARCEL] = torn


def metric(key, value):
    def alter(reply):
        reply.content["metrics"][key] = value

    return alter


PROBLEMS = {
    "negative": (on_values(lambda values: values - 2), "^a/w holds values outside 0 to 1e"),
    "huge": (on_values(lambda values: values + 1e9), "^a/w holds values outside 0 to 1e"),
    "nan": (on_values(lambda values: values * np.nan), "^a/w holds values that are not finite"),
    "shape": (on_values(lambda values: values[:1]), r"^a/w has shape \(1,\) instead of \(2,\)"),
    "missing": (drop_first, "misses 1 keys, first a/w"),
    "samples": (metric("num-examples", 41), "num-examples is 41, not a whole number from 1 to 40"),
    "none": (metric("num-examples", 0), "num-examples is 0"),
    "other": (metric("client", 0), "the node now says that it is client 0"),
    "damaged": (damaged, "parcel of arrays cannot be read"),
    "torn": (torn, "the parcel cannot be read"),
    "unpacked": (opened, "importance: 2 arrays that are no parcel"),
    "record": (lambda reply: reply.content.pop("importance"), "array records .* instead of"),
}


def answer_to_query(change):
    """A query and the answer of client BAD with 40 samples, altered."""
    InProcessGrid(client_app, 1)
    arrays = packed(to_record({name: np.ones(2) for name in ("a/w", "b/w")}))
    sent = Message(RecordDict({"arrays": arrays}), 5, IMPORTANCE_QUERY)
    metrics = MetricRecord({"num-examples": 40, "client": BAD})
    reply = Message(RecordDict({"importance": arrays.copy(), "metrics": metrics}), reply_to=sent)
    change(reply)
    return sent, reply


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_problem_of_an_importance_is_named(name):
    change, reason = PROBLEMS[name]
    found = judge_importance(*answer_to_query(change), BAD, 40)
    assert found is not None
    assert re.search(reason, found), found


def test_a_good_importance_passes():
    assert judge_importance(*answer_to_query(lambda reply: None), BAD, 40) is None


def altered_importance(change):
    """The real ClientApp; client BAD's importances pass through the change."""
    app = ClientApp()

    def handle(message: Message, context: Context) -> Message:
        reply = client_app(message=message, context=context)
        if int(context.node_config["partition-id"]) == BAD:
            change(reply)
        return reply

    def honest(message: Message, context: Context) -> Message:
        return client_app(message=message, context=context)

    app.query("hello")(honest)
    app.train()(honest)
    app.query("importance")(handle)
    return app


def test_a_bad_importance_is_left_out_and_the_run_goes_on(tiny_folder, tmp_path):
    config = run_config(
        tiny_folder, tmp_path / "run", method="ewc", clients_per_round=5, train__steps=1
    )
    negative = altered_importance(on_values(lambda values: values - 1))
    folder = serve(config, InProcessGrid(negative, 5, run_config=config))
    told = events(folder, "client-rejected")
    assert [(event["stage"], event["client"]) for event in told] == [(1, BAD), (2, BAD)]
    assert all("holds values outside 0" in event["reason"] for event in told)
    used = [event["clients"] for event in events(folder, "importance-gathered")]
    assert used == [[0, 1, 2, 3]] * 2
    assert folder.read_result().last is not None


def test_without_a_single_importance_the_stage_is_as_it_was(finished, tiny_folder, tmp_path):
    config = run_config(tiny_folder, tmp_path / "run", method="ewc", **ROUNDS)
    silent = InProcessGrid(
        client_app,
        5,
        fail=lambda client, m: "error" if m.metadata.message_type == IMPORTANCE_QUERY else None,
        run_config=config,
    )
    folder = serve(config, silent)
    assert bits(folder) == finished["finetune"][2][-1]
    assert [e["clients"] for e in events(folder, "importance-gathered")] == [[], []]


def test_another_method_measures_no_importance(tiny_folder, tmp_path):
    from client_app.node import worker_of

    worker = worker_of(run_config(tiny_folder, tmp_path / "run", method="finetune"))
    with pytest.raises(RunError, match="method = finetune has no use"):
        worker.importance({}, 1, 0, 5)
