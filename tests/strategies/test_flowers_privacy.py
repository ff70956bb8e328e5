"""What Flower has for privacy, tried with per-subspace aggregation (docs/privacy.md quotes this).

A test that fails here after an update of Flower says that the page has to be written anew.
"""

from __future__ import annotations

import numpy as np
import pytest
from fake_clients import as_bits, client_app, empty_bank, make_disco, moved, new_adapter, play
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.client.mod import secaggplus_mod
from flwr.clientapp import ClientApp
from flwr.clientapp.mod import LocalDpMod, fixedclipping_mod
from flwr.common import Code, FitIns, FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.compat.common import recorddict_compat
from flwr.server import LegacyContext
from flwr.server.strategy import FedAvg as LegacyFedAvg
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD, Key
from flwr.serverapp.strategy import DifferentialPrivacyServerSideFixedClipping, FedAvg
from in_process_grid import InProcessGrid

from fcit_app.errors import ConfigError
from fcit_app.identity.accountant import epsilon_of
from strategies import make_aggregator, to_record

START = new_adapter(0)
EXAMPLES = (17, 7, 27)


def app_with(*mods, everywhere=False, train=moved):
    """ClientApp whose clients move arrays; mods around training, or around every message."""
    app = ClientApp(mods=list(mods) if everywhere else None)

    @app.query("hello")
    def hello(message: Message, context: Context) -> Message:
        return Message(RecordDict(), reply_to=message)

    @app.train(mods=None if everywhere else list(mods))
    def handle(message: Message, context: Context) -> Message:
        client = int(context.node_config["partition-id"])
        content = RecordDict()
        for name, record in message.content.array_records.items():
            content[name] = ArrayRecord(
                {key: Array(train(array.numpy(), client, key)) for key, array in record.items()}
            )
        content["metrics"] = MetricRecord({"num-examples": EXAMPLES[client]})
        return Message(content, reply_to=message)

    return app


def answer(app, *names, kind="train"):
    grid = InProcessGrid(app, 1)
    records = {name: to_record(START) for name in names}
    content = RecordDict({**records, "config": ConfigRecord({"stage": 1})})
    (reply,) = grid.send_and_receive([Message(content, 1000, kind)])
    return reply


def local_dp(epsilon=1e9):
    return LocalDpMod(clipping_norm=0.5, sensitivity=1.0, epsilon=epsilon, delta=1e-5)


def test_flowers_local_dp_shortens_an_adapter_that_travels_alone():
    found = answer(app_with(local_dp()), "adapter").content["adapter"]
    change = [found[key].numpy() - START[key] for key in START]
    assert np.sqrt(sum(float((part**2).sum()) for part in change)) == pytest.approx(0.5, abs=1e-3)


def test_it_refuses_an_adapter_with_a_shared_projector():
    reply = answer(app_with(local_dp()), "adapter", "projector")
    assert "expects exactly one ArrayRecord, but found 2" in reply.error.reason


def test_around_every_message_it_refuses_queries():
    reply = answer(app_with(local_dp(), everywhere=True), kind="query.hello")
    assert "expects exactly one ArrayRecord, but found 0" in reply.error.reason


def test_it_divides_by_the_norm_of_a_client_that_learned_nothing():
    reply = answer(app_with(local_dp(), train=lambda array, client, key: array), "adapter")
    assert "float division by zero" in reply.error.reason


def test_its_noise_is_anybodys_who_seeds_numpy():
    found = []
    for _ in range(2):
        np.random.seed(7)
        found.append(answer(app_with(local_dp(1.0)), "adapter").content["adapter"])
    assert as_bits(found[0]) == as_bits(found[1])


@pytest.mark.parametrize(("asked", "had"), [(1.0, 0.751), (10.0, 10.39), (50.0, 96.43)])
def test_its_epsilon_is_too_small_above_eight(asked, had):
    noise = np.sqrt(2 * np.log(1.25 / 1e-5)) / asked
    assert epsilon_of(1e-5, noise) == pytest.approx(had, rel=0.001)


def test_fixed_clipping_by_clients_needs_a_server_that_says_how_much():
    reply = answer(app_with(fixedclipping_mod), "adapter")
    assert "requires the key 'clipping_norm'" in reply.error.reason


def test_the_wrapper_cannot_be_written_as_an_aggregator():
    path = "flwr.serverapp.strategy:DifferentialPrivacyServerSideFixedClipping"
    with pytest.raises(ConfigError, match="needs strategy"):
        make_aggregator(path, "noise_multiplier=1.0, clipping_norm=1.0, num_sampled_clients=2")


def wrapped():
    inner = FedAvg(min_train_nodes=1, min_evaluate_nodes=0, min_available_nodes=1)
    return DifferentialPrivacyServerSideFixedClipping(inner, 1e-12, 0.5, 5)


def test_a_subspace_of_one_client_gets_the_noise_of_five():
    # The wrapper divides its noise by the number it was told, whoever is in the subspace.
    app = client_app(topic=lambda client, stage: int(client == 0))
    arrays = play(make_disco(wrapped), InProcessGrid(app, 5), empty_bank())
    for identifier in (0, 1):
        prefix = f"subspace-{identifier:03d}/adapter/"
        change = [arrays[prefix + key].numpy() - new_adapter(identifier)[key] for key in START]
        norm = np.sqrt(sum(float((part**2).sum()) for part in change))
        assert norm <= 0.5 + 1e-5
    # Client 0 alone moves subspace 0 by the whole bound, not by a fifth of it.
    assert norm_of_subspace(arrays, 0) == pytest.approx(0.5, abs=1e-5)


def norm_of_subspace(arrays, identifier):
    prefix = f"subspace-{identifier:03d}/adapter/"
    start = new_adapter(identifier)
    parts = [arrays[prefix + key].numpy() - start[key] for key in start]
    return np.sqrt(sum(float((part**2).sum()) for part in parts))


def test_secure_aggregation_knows_the_legacy_context_only():
    context = Context(run_id=1, node_id=1, node_config={}, state=RecordDict(), run_config={})
    with pytest.raises(TypeError, match="Expect a LegacyContext, but get Context"):
        SecAggPlusWorkflow(3, 2)(InProcessGrid(app_with(secaggplus_mod), 3), context)


def test_its_mod_refuses_a_strategys_message():
    assert (
        "KeyError('secaggplus_configs')" in answer(app_with(secaggplus_mod), "adapter").error.reason
    )


def as_fit(message: Message, context: Context, call_next):
    """Translate between the legacy messages of secure aggregation and the ones of today."""
    names, content = list(START), message.content
    sent = content.array_records["fitins.parameters"]
    arrays = parameters_to_ndarrays(recorddict_compat.arrayrecord_to_parameters(sent, True))
    record = to_record(dict(zip(names, arrays, strict=True)))
    settings = content.config_records["fitins.config"]
    message.content = RecordDict({"adapter": record, "config": settings})
    reply = call_next(message, context).content
    trained = ndarrays_to_parameters([reply["adapter"][name].numpy() for name in names])
    result = FitRes(Status(Code.OK, ""), trained, reply["metrics"]["num-examples"], {})
    return Message(recorddict_compat.fitres_to_recorddict(result, True), reply_to=message)


class Proxy:
    """All that the workflow asks of a client."""

    def __init__(self, node):
        self.node_id = node


class OnceForAll(LegacyFedAvg):
    """A legacy strategy that sends its parameters to all nodes."""

    def __init__(self, nodes):
        super().__init__()
        self.nodes = nodes

    def num_available(self):
        return len(self.nodes)

    def configure_fit(self, server_round, parameters, client_manager):
        return [(Proxy(node), FitIns(parameters, {"stage": 1})) for node in self.nodes]


def securely(app, clients):
    """One round of secure aggregation, driven by hand: the arrays after it, and the grid."""
    grid = InProcessGrid(app, clients)
    strategy = OnceForAll(list(grid.contexts))
    context = Context(run_id=1, node_id=1, node_config={}, state=RecordDict(), run_config={})
    legacy = LegacyContext(context, strategy=strategy, client_manager=strategy)
    legacy.state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord({Key.CURRENT_ROUND: 1})
    start = ndarrays_to_parameters(list(START.values()))
    legacy.state.array_records[MAIN_PARAMS_RECORD] = recorddict_compat.parameters_to_arrayrecord(
        start, True
    )
    SecAggPlusWorkflow(num_shares=1.0, reconstruction_threshold=0.5)(grid, legacy)
    after = legacy.state.array_records[MAIN_PARAMS_RECORD]
    return parameters_to_ndarrays(recorddict_compat.arrayrecord_to_parameters(after, True)), grid


def test_without_translation_secure_aggregation_gives_nothing_up_in_silence():
    arrays, _ = securely(app_with(secaggplus_mod), 3)
    assert all((found == start).all() for found, start in zip(arrays, START.values(), strict=True))


@pytest.mark.parametrize("clients", [2, 3])
def test_translated_it_gives_the_weighted_mean_to_its_grid(clients):
    arrays, grid = securely(app_with(secaggplus_mod, as_fit), clients)
    weights = np.array(EXAMPLES[:clients]) / sum(EXAMPLES[:clients])
    for (key, start), found in zip(START.items(), arrays, strict=True):
        each = [moved(start, client, key).astype(np.float64) for client in range(clients)]
        expected = np.tensordot(weights, np.stack(each), axes=1)
        assert np.abs(found - expected).max() < 1e-3
        assert np.abs(found - expected).max() > 1e-7  # values are quantised to a grid of -8 to 8
    # Four messages a client and round, where others have one.
    assert len(grid.sent) == 4 * clients


def test_a_subspace_of_one_client_is_not_aggregated_securely():
    arrays, grid = securely(app_with(secaggplus_mod, as_fit), 1)
    assert (arrays[0] == next(iter(START.values()))).all()
    assert grid.sent == []
