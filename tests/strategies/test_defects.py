"""Each defect found in the official code's dynamic knowledge organisation is excluded here."""

import ast
import inspect
from pathlib import Path

import numpy as np
import pytest
from fake_clients import (
    WIDTH,
    adapter_of,
    as_bits,
    client_app,
    count_of,
    empty_bank,
    make_disco,
    moved,
    new_adapter,
    play,
    samples,
    subspaces_of,
    token_of,
    token_total,
)
from flwr.app import ConfigRecord
from in_process_grid import InProcessGrid

import strategies
from fcit_app.identity.matching import match
from fcit_app.identity.tokens import IdentityToken, cosine


def in_plane(degrees, count=10):
    radians = np.deg2rad(degrees)
    total = np.zeros(WIDTH, dtype=np.float32)
    total[:2] = count * np.cos(radians), count * np.sin(radians)
    return total


def test_d1_the_mean_token_of_a_recurring_task_stays_bounded():
    grid = InProcessGrid(client_app(lambda client, stage: client % 2), 4)
    disco, bank = make_disco(), empty_bank()
    for stage in range(1, 9):
        bank = play(disco, grid, bank, stage=stage)
    for identifier, clients in ((0, (0, 2)), (1, (1, 3))):
        once = sum(map(samples, clients))
        assert count_of(bank, identifier) == 8 * once
        assert (token_of(bank, identifier) == token_total(identifier, 8 * once)).all()
        mean = IdentityToken(token_of(bank, identifier), count_of(bank, identifier)).mean
        assert np.linalg.norm(mean) == 1.0
    assert subspaces_of(bank) == [0, 1]


def test_d2_two_new_tasks_in_one_stage_open_two_subspaces_and_keep_both_updates():
    def topic(client, stage):
        return 0 if stage == 1 else client

    grid = InProcessGrid(client_app(topic), [3, 7])
    disco = make_disco()
    bank = play(disco, grid, empty_bank(), stage=1)
    bank = play(disco, grid, bank, stage=2)
    assert subspaces_of(bank) == [0, 1, 2]
    for identifier, client in ((1, 3), (2, 7)):
        for name, start in new_adapter(identifier).items():
            expected = moved(start, client, name)
            assert (adapter_of(bank, identifier)[name] == expected).all()


def test_d3_a_client_trains_one_subspace_for_the_whole_stage():
    # The client's samples are mixed: single batches would go either way, the client may not.
    def token(client, stage):
        return in_plane([0, 40, 20][client])

    grid = InProcessGrid(client_app(token=token), 3)
    disco, bank = make_disco(), empty_bank()
    bank = play(disco, grid, bank, nodes=[1000])
    bank = play(disco, grid, bank, nodes=[1001])
    before = as_bits(bank)
    bank = play(disco, grid, bank, nodes=[1002], rounds=3)
    sent = [m for m in grid.sent_of("train") if m.metadata.dst_node_id == 1002]
    assert len({m.content["config"]["subspace"] for m in sent}) == 1
    assert all(set(m.content.array_records) == {"adapter", "projector"} for m in sent)
    assert all(len(m.content["adapter"]) == len(new_adapter(0)) for m in sent)
    other = 1 - disco.assignment[2]
    untouched = [key for key in before if key.startswith(f"subspace-00{other}")]
    assert {k: as_bits(bank)[k] for k in untouched} == {k: before[k] for k in untouched}


def test_d4_similarities_that_are_not_transitive_never_put_a_client_in_two_groups():
    # 0-20 and 20-40 degrees are alike at tau 0.9, 0-40 are not; 90 is alone.
    clients = {0: 0, 1: 20, 2: 40, 3: 20, 4: 90}
    tokens = {c: IdentityToken(in_plane(angle), 10) for c, angle in clients.items()}
    assert cosine(tokens[0].total, tokens[2].total) < 0.9
    assert match([], tokens, 0.9).opened == ((0, 1, 2, 3), (4,))

    grid = InProcessGrid(client_app(token=lambda c, stage: in_plane(clients[c])), 5)
    disco = make_disco()
    bank = play(disco, grid, empty_bank())
    assert sum(count_of(bank, i) for i in subspaces_of(bank)) == sum(map(samples, range(5)))
    assert disco.assignment == {0: 0, 1: 0, 2: 0, 3: 0, 4: 1}


def test_d5_a_tiny_client_is_never_dropped():
    # Client 0 holds far less than a thousandth of the samples, and its task is its own.
    app = client_app(lambda c, stage: min(c, 1), count=lambda c: 1 if c == 0 else 10**6)
    disco = make_disco()
    bank = play(disco, InProcessGrid(app, 4), empty_bank(), rounds=2)
    assert disco.assignment == {0: 0, 1: 1, 2: 1, 3: 1}
    assert count_of(bank, 0) == 1
    for name, start in new_adapter(0).items():
        expected = moved(moved(start, 0, name), 0, name)
        assert (adapter_of(bank, 0)[name] == expected).all()


def test_d6_there_may_be_more_than_eight_subspaces():
    grid = InProcessGrid(client_app(lambda client, stage: client), 12)
    disco = make_disco()
    bank = play(disco, grid, empty_bank())
    assert subspaces_of(bank) == list(range(12))
    assert disco.assignment == {client: client for client in range(12)}
    one_a_stage = InProcessGrid(client_app(lambda client, stage: stage - 1), 1)
    disco, bank = make_disco(), empty_bank()
    for stage in range(1, 13):
        bank = play(disco, one_a_stage, bank, stage=stage)
    assert subspaces_of(bank) == list(range(12))


def test_d7_tokens_and_adapters_have_one_sample_weight():
    # Training that reports another count (say, of the batches it saw) changes neither.
    def misreport(replies):
        for reply in replies:
            if "adapter" in reply.content:
                reply.content["metrics"]["num-examples"] = 3
        return replies

    honest = play(make_disco(), InProcessGrid(client_app(), 3), empty_bank(), rounds=2)
    grid = InProcessGrid(client_app(), 3, reorder=misreport)
    assert as_bits(play(make_disco(), grid, empty_bank(), rounds=2)) == as_bits(honest)
    weights = [samples(client) for client in range(3)]
    first = play(make_disco(), InProcessGrid(client_app(), 3), empty_bank())
    assert count_of(first, 0) == sum(weights)
    for name, start in new_adapter(0).items():
        parts = [moved(start, c, name).astype(np.float64) for c in range(3)]
        expected = np.average(parts, axis=0, weights=weights)
        np.testing.assert_allclose(adapter_of(first, 0)[name], expected, atol=1e-6)


@pytest.mark.parametrize("split", [[12], [6, 6], [1, 11], [1] * 12, [5, 4, 3]])
def test_d8_a_token_does_not_depend_on_how_the_data_are_split(split):
    features = np.random.default_rng(0).normal(1, 0.1, size=(12, WIDTH)).astype(np.float32)
    starts = np.concatenate([[0], np.cumsum(split)])

    def shard(client):
        return features[starts[client] : starts[client + 1]]

    app = client_app(
        count=lambda c: split[c], token=lambda c, stage: IdentityToken.of(shard(c)).total
    )
    bank = play(make_disco(), InProcessGrid(app, len(split)), empty_bank())
    assert count_of(bank, 0) == 12
    np.testing.assert_allclose(token_of(bank, 0), features.sum(axis=0), rtol=1e-6)


@pytest.mark.parametrize("large", [257, 2**24 + 1, 2**40 + 1])
def test_d9_counts_are_exact(large):
    app = client_app(count=lambda client: [large, 1, 2][client])
    disco, grid, bank = make_disco(), InProcessGrid(app, 3), empty_bank()
    for stage in (1, 2, 3):
        bank = play(disco, grid, bank, stage=stage)
    assert bank["subspace-000/count"].numpy().dtype == np.int64
    assert count_of(bank, 0) == 3 * (large + 3)


def test_d10_the_threshold_is_at_least_tau_everywhere():
    tokens = {c: IdentityToken(in_plane(a), 10) for c, a in enumerate((0, 25))}
    similarity = cosine(tokens[0].total, tokens[1].total)
    above = float(np.nextafter(similarity, 2))
    assert match([tokens[0]], {1: tokens[1]}, similarity).joined == {1: 0}
    assert match([tokens[0]], {1: tokens[1]}, above).opened == ((1,),)
    assert match([], tokens, similarity).opened == ((0, 1),)
    assert match([], tokens, above).opened == ((0,), (1,))


def test_d11_matching_happens_on_the_server_and_clients_never_receive_tokens():
    grid = InProcessGrid(client_app(lambda client, stage: (client + stage) % 3), 4)
    disco, bank = make_disco(), empty_bank()
    for stage in (1, 2):
        bank = play(disco, grid, bank, stage=stage, rounds=2)
    tokens = {token_of(bank, i).tobytes() for i in subspaces_of(bank)}
    for message in grid.sent:
        if message.metadata.message_type == "query.identity":
            assert dict(message.content["config"]) == {
                "stage": int(message.content["config"]["stage"])
            }
            assert not message.content.array_records
        for record in message.content.array_records.values():
            assert not [key for key in record if "token" in key or "count" in key]
            assert not tokens & {array.numpy().tobytes() for array in record.values()}
    assert all(m.content["config"]["subspace"] in range(3) for m in grid.sent_of("train"))


def private_names(source):
    """Private attributes of anything but self and cls, and what comes from inside Flower."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else None
            hidden = node.attr.startswith("_") and not node.attr.endswith("__")
            if node.attr == "__dict__" or (hidden and owner not in ("self", "cls")):
                yield ast.unparse(node)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "setattr"):
            name = node.args[1]
            if isinstance(name, ast.Constant) and str(name.value).startswith("_"):
                yield ast.unparse(node)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            module = getattr(node, "module", None)
            for name in node.names:
                path = f"{module}.{name.name}" if module else name.name
                if path.startswith("flwr") and not path.startswith(PUBLIC):
                    yield path


PUBLIC = ("flwr.app.", "flwr.clientapp.", "flwr.serverapp.")
TYPES_ONLY = ["flwr.proto.node_pb2.NodeInfo", "flwr.supercore.run.Run"]
"""In signatures of Flower's own `Grid`, which the view must repeat; it has no public name."""


def test_no_private_name_of_flower_is_used():
    root = Path(inspect.getfile(strategies)).parent.parent
    files = [
        f for room in ("strategies", "server_app", "client_app") for f in root.glob(f"{room}/*.py")
    ]
    assert len(files) > 20
    found = {file.name: list(private_names(file.read_text())) for file in files}
    assert {name: names for name, names in found.items() if names} == {"grid_view.py": TYPES_ONLY}


@pytest.mark.parametrize(
    "source",
    [
        "message._metadata",
        "strategy.inner._state = 1",
        "f()._x()",
        "message.metadata.__dict__",
        "getattr(message, '_metadata')",
        "from flwr.supercore.task_identity import TaskIdentity",
        "from flwr.serverapp.strategy.fedavg import _x as y; y.a._b",
        "import flwr.server",
    ],
)
def test_private_names_are_found(source):
    assert list(private_names(source))
    assert not list(private_names("self._x; cls._y; from flwr.app import Message; a.__class__"))


def test_config_without_a_stage_is_stage_one():
    grid = InProcessGrid(client_app(), 1)
    make_disco().configure_train(1, empty_bank(), ConfigRecord(), grid)
    assert grid.sent[0].content["config"]["stage"] == 1
