"""Prototypes ride with the tokens: merged once a stage, for routing only, and off by default."""

from __future__ import annotations

import numpy as np
import pytest
from fake_clients import WIDTH, as_bits, client_app, empty_bank, make_disco, play, samples
from flwr.app import ArrayRecord
from in_process_grid import InProcessGrid

from fcit_app.errors import ConfigError
from strategies import read_bank


def direction(axis: int, count: int) -> np.ndarray:
    total = np.zeros(WIDTH, dtype=np.float32)
    total[axis] = count
    return total


def parts(client: int, stage: int) -> list[tuple[np.ndarray, int]]:
    """Axis 0 and one more: 2 + client in the first stage, 9 in the second."""
    other = 2 + client if stage == 1 else 9
    few = 5
    return [
        (direction(0, samples(client) - few), samples(client) - few),
        (direction(other, few), few),
    ]


def total(client: int, stage: int) -> np.ndarray:
    return np.sum([part for part, _ in parts(client, stage)], axis=0, dtype=np.float32)


def app(prototypes: bool = True):
    return client_app(token=total, prototypes=parts if prototypes else None)


def seen(bank: ArrayRecord) -> dict[int, int]:
    """Axis of each prototype of the only subspace to its count."""
    (subspace,) = read_bank(bank).subspaces.values()
    found = {int(part.total.argmax()): part.count for part in subspace.token.prototypes}
    assert len(found) == len(subspace.token.prototypes)
    return found


CLIENTS = [1, 2, 3]


def grid_of(prototypes: bool = True, **settings) -> InProcessGrid:
    return InProcessGrid(app(prototypes), CLIENTS, **settings)


def test_a_clients_prototypes_count_once_a_stage() -> None:
    disco, grid = make_disco(prototypes=8), grid_of()
    bank = play(disco, grid, empty_bank(), rounds=3)
    most = sum(samples(client) - 5 for client in CLIENTS)
    assert seen(bank) == {0: most, 3: 5, 4: 5, 5: 5}
    bank = play(disco, grid, bank, stage=2, rounds=2, first_round=4)
    assert seen(bank) == {0: 2 * most, 3: 5, 4: 5, 5: 5, 9: 15}


def test_the_order_of_nodes_and_replies_does_not_matter() -> None:
    expected = play(make_disco(prototypes=8), grid_of(), empty_bank(), rounds=2)
    for clients in ([3, 2, 1], [2, 3, 1]):
        turned = InProcessGrid(app(), clients, reorder=lambda replies: replies[::-1])
        bank = play(make_disco(prototypes=8), turned, empty_bank(), rounds=2)
        assert as_bits(bank) == as_bits(expected)


def test_their_number_is_bounded() -> None:
    bank = play(make_disco(prototypes=1), grid_of(), empty_bank())
    (subspace,) = read_bank(bank).subspaces.values()
    assert len(subspace.token.prototypes) == 2
    assert sum(part.count for part in subspace.token.prototypes) == subspace.token.count


def test_off_they_change_nothing_and_on_they_change_nothing_else() -> None:
    plain = as_bits(play(make_disco(), grid_of(prototypes=False), empty_bank(), rounds=2))
    assert not any("prototype" in key for key in plain)
    assert as_bits(play(make_disco(), grid_of(), empty_bank(), rounds=2)) == plain
    bank = as_bits(play(make_disco(prototypes=4), grid_of(), empty_bank(), rounds=2))
    assert {k: v for k, v in bank.items() if "prototype" not in k} == plain
    assert bank.keys() > plain.keys()


def test_malformed_ones_leave_the_client_out() -> None:
    def wrong(client: int, stage: int) -> list[tuple[np.ndarray, int]]:
        found = parts(client, stage)
        return found[:1] if client == 2 else found

    disco = make_disco(prototypes=4)
    bank = play(
        disco, InProcessGrid(client_app(token=total, prototypes=wrong), CLIENTS), empty_bank()
    )
    (rejection,) = disco.rejected
    assert "counts add up to" in rejection.reason
    assert 4 not in seen(bank)


def test_a_negative_number_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"identity\.prototypes = -1"):
        make_disco(prototypes=-1)
