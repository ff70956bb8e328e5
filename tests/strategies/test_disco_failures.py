import numpy as np
import pytest
from fake_clients import (
    INNERS,
    WIDTH,
    adapter_of,
    as_bits,
    client_app,
    count_of,
    empty_bank,
    make_disco,
    new_adapter,
    play,
    samples,
    stock_alone,
    subspaces_of,
    token_total,
)
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from in_process_grid import InProcessGrid


def failing(clients, message_type, kind="error"):
    return lambda client, message: (
        kind if client in clients and message.metadata.message_type == message_type else None
    )


@pytest.mark.parametrize("kind", ["error", "superlink", "silent"])
@pytest.mark.parametrize("inner", ["FedAvg", "FedAdam", "FedMedian", "Krum"])
def test_a_failing_client_is_ignored(inner, kind):
    app = client_app()
    disco = make_disco(inner)
    grid = InProcessGrid(app, 4, fail=failing({1}, "train", kind))
    bank = play(disco, grid, empty_bank(), rounds=3)
    alone = stock_alone(inner, app, [0, 2, 3], new_adapter(0), 3)
    assert {k: v.tobytes() for k, v in adapter_of(bank, 0).items()} == {
        k: v.tobytes() for k, v in alone.items()
    }
    assert count_of(bank, 0) == samples(0) + samples(2) + samples(3)
    (rejection,) = disco.rejected
    assert (rejection.node, rejection.client, rejection.phase) == (1001, 1, "train")
    assert ("no reply" if kind == "silent" else "injected failure") in rejection.reason


def test_a_client_that_recovers_is_counted_once():
    grid = InProcessGrid(client_app(), 3, fail=failing({1}, "train"))
    disco = make_disco()
    bank = play(disco, grid, empty_bank(), rounds=2)
    grid.fail = lambda client, message: None
    bank = play(disco, grid, bank, rounds=2)
    assert count_of(bank, 0) == sum(map(samples, range(3)))
    assert disco.rejected == []


@pytest.mark.parametrize("kind", ["error", "superlink", "silent"])
def test_a_client_without_a_token_does_not_take_part_in_the_round(kind):
    grid = InProcessGrid(client_app(), 3, fail=failing({2}, "query.identity", kind))
    disco = make_disco()
    bank = play(disco, grid, empty_bank())
    assert [grid.partition(m.metadata.dst_node_id) for m in grid.sent_of("train")] == [0, 1]
    (rejection,) = disco.rejected
    assert (rejection.node, rejection.client, rejection.phase) == (1002, None, "identity")
    grid.fail = lambda client, message: None
    bank = play(disco, grid, bank)
    assert count_of(bank, 0) == sum(map(samples, range(3)))
    asked = [grid.partition(m.metadata.dst_node_id) for m in grid.sent_of("query.identity")]
    assert asked == [0, 1, 2, 2]


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (np.ones(WIDTH + 1, dtype=np.float32), "17 features where the others have 16"),
        (np.full(WIDTH, np.nan, dtype=np.float32), "finite"),
        (np.full(WIDTH, 1e300), "finite"),
        (np.ones((4, 4), dtype=np.float32), "shape"),
        (np.array(["a"] * WIDTH), "real numbers"),
    ],
)
@pytest.mark.parametrize("malformed", [0, 2])
def test_a_malformed_token_keeps_its_client_out(bad, named, malformed):
    app = client_app(token=lambda c, stage: bad if c == malformed else token_total(0, samples(c)))
    good = [c for c in range(3) if c != malformed]
    disco = make_disco()
    bank = play(disco, InProcessGrid(app, 3), empty_bank(), rounds=2)
    assert count_of(bank, 0) == sum(map(samples, good))
    assert list(disco.assignment) == good
    (rejection,) = disco.rejected
    assert (rejection.node, rejection.phase) == (1000 + malformed, "identity")
    assert named in rejection.reason


@pytest.mark.parametrize("stype", ["numpy.ndarray", "pickle"])
def test_a_token_that_cannot_be_read_keeps_its_client_out(stype):
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': (2**60,)}\n".replace(
        "2**60", str(2**60)
    )
    data = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()

    def spoil(replies):
        for reply in replies:
            if reply.metadata.src_node_id == 1000 and "token" in reply.content:
                reply.content["token"]["total"] = Array("float32", (WIDTH,), stype, data)
        return replies

    disco = make_disco()
    play(disco, InProcessGrid(client_app(), 2, reorder=spoil), empty_bank())
    assert list(disco.assignment) == [1]
    assert "cannot be read" in disco.rejected[0].reason


@pytest.mark.parametrize("count", [0, -4, 2**60])
def test_an_impossible_count_keeps_its_client_out(count):
    app = client_app(count=lambda c: count if c == 1 else samples(c))
    disco = make_disco()
    bank = play(disco, InProcessGrid(app, 3), empty_bank())
    assert count_of(bank, 0) == samples(0) + samples(2)
    assert "count" in disco.rejected[0].reason


def test_the_width_of_the_bank_counts_and_not_the_majority():
    grid = InProcessGrid(client_app(), 1)
    bank = play(make_disco(), grid, empty_bank())
    wide = client_app(token=lambda c, stage: np.ones(WIDTH + (c > 0), dtype=np.float32))
    disco = make_disco()
    play(disco, InProcessGrid(wide, 3), bank, stage=2)
    assert list(disco.assignment) == [0]
    assert [r.client for r in disco.rejected] == [1, 2]


def test_an_answer_of_another_form_keeps_its_client_out():
    def spoil(replies):
        for reply in replies:
            if reply.metadata.src_node_id == 1000 and "token" in reply.content:
                reply.content = RecordDict({"metrics": MetricRecord({"client": 0})})
        return replies

    disco = make_disco()
    play(disco, InProcessGrid(client_app(), 2, reorder=spoil), empty_bank())
    assert list(disco.assignment) == [1]
    assert "metrics/num-examples" in disco.rejected[0].reason


def test_two_nodes_with_one_name_both_stay_out():
    disco = make_disco()
    grid = InProcessGrid(client_app(), [4, 7, 4])
    bank = play(disco, grid, empty_bank())
    assert count_of(bank, 0) == samples(7)
    assert [(r.node, r.client) for r in disco.rejected] == [(1000, 4), (1002, 4)]
    # Once one of them is gone, the other takes part.
    bank = play(disco, grid, bank, nodes=[1001, 1002])
    assert count_of(bank, 0) == samples(7) + samples(4)


def test_a_client_that_comes_back_as_another_node_is_counted_once():
    grid = InProcessGrid(client_app(), [0, 1, 1])
    disco = make_disco()
    bank = play(disco, grid, empty_bank(), nodes=[1000, 1001])
    bank = play(disco, grid, bank, nodes=[1000, 1002])
    assert count_of(bank, 0) == samples(0) + samples(1)


@pytest.mark.parametrize("kind", ["error", "superlink", "silent"])
def test_a_new_subspace_whose_clients_all_fail_is_not_kept(kind):
    grid = InProcessGrid(
        client_app(lambda client, stage: client % 2), 4, fail=failing({1, 3}, "train", kind)
    )
    disco = make_disco()
    bank = play(disco, grid, empty_bank())
    assert subspaces_of(bank) == [0]
    assert disco.assignment == {0: 0, 2: 0}
    assert list(disco.inners) == [0]
    grid.fail = lambda client, message: None
    bank = play(disco, grid, bank)
    assert subspaces_of(bank) == [0, 1]
    assert disco.assignment == {0: 0, 1: 1, 2: 0, 3: 1}
    assert disco.inners[1].rounds == 1
    assert len(grid.sent_of("query.identity")) == 4


def test_a_subspace_keeps_its_number_when_an_earlier_one_is_not_kept():
    grid = InProcessGrid(client_app(lambda client, stage: client), 3, fail=failing({0, 1}, "train"))
    disco = make_disco()
    bank = play(disco, grid, empty_bank())
    assert subspaces_of(bank) == [2]
    assert disco.assignment == {2: 2}
    grid.fail = lambda client, message: None
    bank = play(disco, grid, bank)
    assert subspaces_of(bank) == [2, 3, 4]
    assert disco.assignment == {0: 3, 1: 4, 2: 2}


def test_a_round_in_which_all_fail_changes_nothing():
    grid = InProcessGrid(client_app(), 3)
    disco = make_disco("FedAdam")
    bank = play(disco, grid, empty_bank())
    grid.fail = failing({0, 1, 2}, "train")
    messages = disco.configure_train(2, bank, ConfigRecord(), grid)
    assert disco.aggregate_train(2, grid.send_and_receive(messages)) == (None, None)
    assert disco.inners[0].rounds == 1
    assert len(disco.rejected) == 3


def test_a_round_that_was_given_up_leaves_no_trace():
    grid = InProcessGrid(client_app(lambda client, stage: client), 2)
    disco = make_disco()
    disco.configure_train(1, empty_bank(), ConfigRecord(), grid)
    bank = play(disco, grid, empty_bank())
    clean = play(make_disco(), InProcessGrid(client_app(lambda c, s: c), 2), empty_bank())
    assert as_bits(bank) == as_bits(clean)


def without_adapter(content):
    return {"projector": content["projector"], "metrics": content["metrics"]}


def renamed_array(content):
    arrays = dict(content["adapter"].items())
    arrays["other"] = arrays.pop("b.lora_A.weight")
    return dict(content) | {"adapter": ArrayRecord(arrays)}


def other_shape(content):
    arrays = dict(content["adapter"].items()) | {"b.lora_A.weight": Array(np.ones(5))}
    return dict(content) | {"adapter": ArrayRecord(arrays)}


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (without_adapter, "no ArrayRecord 'adapter'"),
        (renamed_array, "not the ones sent"),
        (other_shape, r"shape \(5,\) instead of \(4,\)"),
    ],
)
def test_a_reply_that_does_not_mirror_the_parts_is_left_out(spoil, named):
    def reorder(replies):
        for reply in replies:
            if reply.metadata.src_node_id == 1001 and "adapter" in reply.content:
                reply.content = RecordDict(spoil(reply.content))
        return replies

    disco = make_disco()
    bank = play(disco, InProcessGrid(client_app(), 3, reorder=reorder), empty_bank())
    clean = play(
        make_disco(), InProcessGrid(client_app(), 3, fail=failing({1}, "train")), empty_bank()
    )
    assert as_bits(bank) == as_bits(clean)
    with pytest.raises(AssertionError, match=named):
        raise AssertionError(disco.rejected[0].reason)


def test_a_client_with_odd_metrics_does_not_stop_the_run():
    def odd(replies):
        for reply in replies:
            if reply.metadata.src_node_id == 1001 and "adapter" in reply.content:
                records = dict(reply.content)
                records["metrics"] = MetricRecord({"num-examples": 10**9, "mood": 3.0})
                reply.content = RecordDict(records)
        return replies

    bank = play(make_disco(), InProcessGrid(client_app(), 3, reorder=odd), empty_bank())
    clean = play(make_disco(), InProcessGrid(client_app(), 3), empty_bank())
    assert as_bits(bank) == as_bits(clean)


def test_two_replies_to_one_message_and_replies_nobody_asked_for():
    def twice(replies):
        return replies + [r for r in replies if r.metadata.src_node_id == 1001]

    disco = make_disco()
    grid = InProcessGrid(client_app(), 3)
    messages = disco.configure_train(1, empty_bank(), ConfigRecord(), grid)
    replies = twice(grid.send_and_receive(messages))
    stray = grid.send_and_receive(
        make_disco().configure_train(1, empty_bank(), ConfigRecord(), grid)
    )
    for reply in stray:
        reply.metadata.__dict__["_src_node_id"] = 77
    bank, _ = disco.aggregate_train(1, [*stray, *replies])
    assert count_of(bank, 0) == samples(0) + samples(2)
    assert [(r.client, r.reason) for r in disco.rejected] == [(1, "2 replies to one message")]


@pytest.mark.parametrize("inner", INNERS)
def test_replies_are_not_altered(inner):
    grid = InProcessGrid(client_app(), 3)
    disco = make_disco(inner)
    replies = grid.send_and_receive(disco.configure_train(1, empty_bank(), ConfigRecord(), grid))
    before = [as_bits(reply.content["adapter"]) for reply in replies]
    disco.aggregate_train(1, replies)
    assert [as_bits(reply.content["adapter"]) for reply in replies] == before
    assert all(reply.content["metrics"]["client"] == c for c, reply in enumerate(replies))
