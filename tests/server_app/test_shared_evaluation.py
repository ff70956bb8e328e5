"""Evaluation by clients gives the result of the server's, whatever the clients do.

That every method's bank answers the same after a way through its arrays is tested with saved runs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from app_runs import altered, events, run_config, serve
from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict
from in_process_grid import InProcessGrid
from saved_runs import ODD

from fcit_app.config import parse
from fcit_app.data.fingerprint import samples_digest
from fcit_app.data.load import load_benchmark
from fcit_app.errors import ConfigError, DataError
from fcit_app.evaluate.activation_summary import UNIT, ActivationTally
from fcit_app.evaluate.evaluation import evaluate_saved
from fcit_app.evaluate.saved_run import open_saved_run
from fcit_app.evaluate.shard import TaskTally, check_samples
from fcit_app.evaluate.shard_message import ShardReport, write_report
from fcit_app.preflight import foreseen
from fcit_app.runs import read_analysis
from server_app.shard_replies import read_shard

SIZES = {"data__test_samples": 5, "evaluate__batch_size": 1}
TIMELESS = {"seconds", "bytes"}


@pytest.fixture(scope="module")
def central(tiny_folder, tmp_path_factory):
    """A run of each method, evaluated by the server."""
    made = {}

    def run(method: str):
        if method not in made:
            out = tmp_path_factory.mktemp("central") / method
            changes = ODD if method == "odd" else {"method": method}
            made[method] = serve(run_config(tiny_folder, out, **(SIZES | changes)))
        return made[method]

    return run


def same(folder, other):
    assert folder.read_result().model_dump(exclude=TIMELESS) == other.read_result().model_dump(
        exclude=TIMELESS
    )
    assert read_analysis(folder.path) == read_analysis(other.path)


@pytest.mark.parametrize("method", ["odd", "finetune", "l2p"])
def test_the_result_is_the_servers_to_the_last_digit(method, central, tiny_folder, tmp_path):
    changes = ODD if method == "odd" else {"method": method}
    where = {"evaluate__where": "clients"}
    folder = serve(run_config(tiny_folder, tmp_path / "run", **(SIZES | where | changes)))
    same(folder, central(method))
    shards = events(folder, "shard-evaluated")
    assert {shard["client"] for shard in shards} == set(range(5))
    asked = dict.fromkeys((0, 1, 2), 0)
    for shard in shards:
        asked[shard["stage"]] += shard["questions"]
        assert shard["bytes"]["up"] < 5000
    assert asked == {0: 10, 1: 5, 2: 10}
    assert events(folder, "shard-rejected") == []
    traffic, plain = folder.read_result().bytes, central(method).read_result().bytes
    for way in ("up", "down"):
        added = getattr(traffic, way) - getattr(plain, way)
        assert added == sum(shard["bytes"][way] for shard in shards) > 0


def spoilt(reply: Message, change: Callable[[dict[str, Any]], object]) -> Message:
    """The reply with its report changed."""
    told = json.loads(reply.content.config_records["report"]["report"])
    change(told)
    reply.content["report"] = ConfigRecord({"report": json.dumps(told)})
    return reply


def test_bad_replies_cost_a_detour_and_no_digit(central, tiny_folder, tmp_path):
    """Client 0 lies, 1 fails, 2 is silent, 3 says that it is 4, and 4 has it all to do."""

    def bad(client, message, reply):
        if client == 0:
            return spoilt(
                reply, lambda told: [t.update(right=99) for t in told["tallies"].values()]
            )
        if client == 1:
            raise ValueError("no memory left")
        if client == 3:
            reply.content["metrics"]["client"] = 4
        return reply

    config = run_config(
        tiny_folder, tmp_path / "run", **SIZES, evaluate__where="clients", client_timeout=1.0
    )

    def fail(partition, message):
        return "silent" if (partition, message.metadata.message_type) == (2, "evaluate") else None

    grid = InProcessGrid(altered(evaluate=bad), 5, run_config=config, fail=fail)
    folder = serve({**config, "method": "finetune"}, grid)
    same(folder, central("finetune"))
    reasons = {e["client"]: e["reason"] for e in events(folder, "shard-rejected")}
    assert "99 right answers to 1 questions" in reasons[0]
    assert "no memory left" in reasons[1]
    assert reasons[2] == "no reply within 1 s (client-timeout)"
    assert "says that it is client 4" in reasons[3]
    assert {tuple(e["to"]) for e in events(folder, "shards-passed-on")} <= {(4,), (0, 4)}
    assert {e["client"] for e in events(folder, "shard-evaluated")} <= {0, 4}


def test_the_server_answers_what_no_client_does(central, tiny_folder, tmp_path):
    config = run_config(
        tiny_folder, tmp_path / "run", **SIZES, method="finetune", evaluate__where="clients"
    )

    def fail(partition, message):
        return "error" if message.metadata.message_type == "evaluate" else None

    grid = InProcessGrid(altered(), 5, run_config=config, fail=fail)
    folder = serve(config, grid)
    same(folder, central("finetune"))
    assert {e["to"] for e in events(folder, "shards-passed-on")} == {"server"}
    assert {e["client"] for e in events(folder, "shard-evaluated")} == {None}
    traffic, plain = folder.read_result().bytes, central("finetune").read_result().bytes
    assert traffic.up == plain.up, "nothing came"
    assert traffic.down > plain.down, "but the bank went out"


@pytest.mark.parametrize("where", ["server", "clients"])
def test_answers_are_kept_if_asked_for(where, central, tiny_folder, tmp_path):
    asked = {"evaluate__where": where, "evaluate__predictions": True}
    folder = serve(run_config(tiny_folder, tmp_path / "run", **(SIZES | asked | ODD)))
    same(folder, central("odd"))
    (again,) = evaluate_saved(
        open_saved_run(folder.path),
        ("imagenet-r", "figureqa"),
        "test",
        ("softmax",),
        tmp_path / "out",
    )
    kept = (folder.path / "predictions" / "stage-02.jsonl").read_bytes()
    assert kept == (again.folder / "predictions.jsonl").read_bytes()
    assert len((folder.path / "predictions" / "stage-00.jsonl").read_bytes().splitlines()) == 10


def test_by_default_no_answer_leaves_a_client(tiny_folder, tmp_path):
    texts = []

    def seen(client, message, reply):
        texts.append(reply.content.config_records["report"]["report"])
        return reply

    config = run_config(
        tiny_folder, tmp_path / "run", **SIZES, method="finetune", evaluate__where="clients"
    )
    serve(config, InProcessGrid(altered(evaluate=seen), 5, run_config=config))
    assert texts and all(json.loads(text)["said"] == {} for text in texts)
    assert not (tmp_path / "run" / "predictions").exists()


REPORT = ShardReport(
    {"dvqa": TaskTally(2, 1, ActivationTally(2, (UNIT, UNIT), (1, 1), True, UNIT))}, {}
)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t["tallies"]["dvqa"].update(questions=3), "3 questions instead of 2"),
        (lambda t: t["tallies"]["dvqa"].update(right=3), "3 right answers to 2"),
        (lambda t: t["tallies"]["dvqa"].update(right=-1), "-1 right answers"),
        (lambda t: t["tallies"]["dvqa"].update(right=1.0), "right"),
        (lambda t: t["tallies"]["dvqa"].update(right=True), "right"),
        (lambda t: t["tallies"].update(iconqa=t["tallies"]["dvqa"]), "it tells of"),
        (lambda t: t["tallies"].clear(), "it tells of"),
        (lambda t: t["tallies"]["dvqa"].update(activation=None), "activation weights"),
        (lambda t: t["tallies"]["dvqa"]["activation"].update(weights=[1]), "1 subspaces"),
        (lambda t: t["tallies"]["dvqa"]["activation"].update(weights=[4 * UNIT, 0]), "larger"),
        (lambda t: t["tallies"]["dvqa"]["activation"].update(weights=[math.inf, 0]), "weights"),
        (lambda t: t["tallies"]["dvqa"]["activation"].update(strongest=[3, -1]), "strongest"),
        (lambda t: t["tallies"]["dvqa"]["activation"].update(entropy=9 * UNIT), "entropy"),
        (lambda t: t["said"].update(dvqa=[]), "asked were those of"),
        (lambda t: t.update(said=None), "said"),
    ],
)
def test_impossible_reports_are_refused_with_their_reason(change, reason):
    asked = {"dvqa": [0, 1]}
    InProcessGrid(altered(), 1)
    content = RecordDict(
        {
            "report": ConfigRecord({"report": write_report(REPORT)}),
            "metrics": MetricRecord({"client": 3}),
        }
    )
    reply = Message(content, 1, "evaluate")
    assert read_shard(reply, 3, asked, 2, []) == REPORT
    with pytest.raises(DataError, match=reason):
        read_shard(spoilt(reply, change), 3, asked, 2, [])


def test_other_test_samples_are_told(tiny_folder):
    benchmark = load_benchmark(parse(run_config(tiny_folder, tiny_folder / "unused")))
    check_samples(benchmark, {"dvqa": samples_digest(benchmark.test_samples("dvqa"))})
    with pytest.raises(DataError, match="The test samples of dvqa here are not those"):
        check_samples(benchmark, {"dvqa": samples_digest(benchmark.test_samples("iconqa"))})


@pytest.mark.parametrize("key", ["evaluate.where=clients", "evaluate.predictions=true"])
def test_a_method_without_clients_cannot_be_evaluated_by_them(key):
    name, value = key.split("=")
    with pytest.raises(ConfigError, match=f"{name}: .* is not allowed with method blind"):
        parse({"method": "blind", name: value}, [foreseen])
