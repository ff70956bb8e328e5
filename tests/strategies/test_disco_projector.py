"""A projector per subspace is trained and merged with its adapter, and touched by nobody else."""

from __future__ import annotations

import numpy as np
import pytest
from fake_clients import (
    INNERS,
    adapter_of,
    as_bits,
    client_app,
    empty_bank,
    initial_projector,
    make_disco,
    new_adapter,
    play,
    stock_alone,
)
from flwr.app import ArrayRecord, ConfigRecord
from in_process_grid import InProcessGrid

from fcit_app.errors import ConfigError, ModelError

OWN = {f"projector/{name}": array for name, array in initial_projector().items()}


def topic(client: int, stage: int) -> int:
    return client % 2 if stage == 1 else 0


def part_of_subspace(bank: ArrayRecord, identifier: int) -> dict[str, np.ndarray]:
    prefix = f"subspace-{identifier:03d}/"
    own = {
        key.removeprefix(prefix): array.numpy()
        for key, array in bank.items()
        if key.startswith(f"{prefix}projector/")
    }
    return adapter_of(bank, identifier) | own


@pytest.mark.parametrize("inner", INNERS)
def test_each_subspace_is_a_stock_strategy_over_adapter_and_projector(inner: str) -> None:
    app = client_app(topic)
    grid = InProcessGrid(app, 6, reorder=lambda replies: replies[::-1])
    disco = make_disco(inner, projector="per-subspace")
    bank = play(disco, grid, empty_bank(), rounds=3)
    assert disco.projector_inner is None
    for identifier, clients in ((0, [0, 2, 4]), (1, [1, 3, 5])):
        alone = stock_alone(inner, app, clients, new_adapter(identifier) | OWN, 3)
        found = part_of_subspace(bank, identifier)
        assert list(found) == list(alone)
        assert {k: a.tobytes() for k, a in found.items()} == {
            k: a.tobytes() for k, a in alone.items()
        }


def test_untouched_subspaces_and_the_start_keep_their_bits() -> None:
    grid = InProcessGrid(client_app(topic), 4)
    disco = make_disco(projector="per-subspace")
    first = play(disco, grid, empty_bank(), stage=1)
    second = play(disco, grid, first, stage=2, rounds=2, first_round=2)
    before, after = as_bits(first), as_bits(second)
    same = [key for key in before if key.startswith(("subspace-001/", "projector/"))]
    assert any("/projector/" in key for key in same)
    assert [key for key in same if before[key] != after[key]] == []
    moved = {key for key in before if before[key] != after[key]}
    assert {"subspace-000/projector/projector.weight", "subspace-000/token"} <= moved
    assert (
        as_bits(empty_bank())["projector/projector.weight"] == after["projector/projector.weight"]
    )


def test_a_client_is_sent_its_own_projector_only() -> None:
    grid = InProcessGrid(client_app(topic), 4)
    disco = make_disco(projector="per-subspace")
    bank = play(disco, grid, empty_bank())
    messages = disco.configure_train(2, bank, ConfigRecord({"stage": 1}), grid)
    for client, message in enumerate(messages):
        (record,) = message.content.array_records.values()
        own = part_of_subspace(bank, client % 2)
        assert {k: a.numpy().tobytes() for k, a in record.items()} == {
            k: a.tobytes() for k, a in own.items()
        }


def test_it_needs_a_projector_to_start_from() -> None:
    grid = InProcessGrid(client_app(), 2)
    with pytest.raises(ConfigError, match=r"per-subspace.*no \"projector/"):
        make_disco(projector="per-subspace").configure_train(
            1, ArrayRecord(), ConfigRecord({"stage": 1}), grid
        )
    with pytest.raises(ConfigError, match='must be one of "shared", "frozen", "per-subspace"'):
        make_disco(projector="each")


@pytest.mark.parametrize(("made", "used"), [("per-subspace", "shared"), ("shared", "per-subspace")])
def test_a_bank_made_otherwise_is_refused(made: str, used: str) -> None:
    grid = InProcessGrid(client_app(), 2)
    bank = play(make_disco(projector=made), grid, empty_bank())
    with pytest.raises(ModelError, match=f'Subspace 0 .* projector of its own.*"{used}"'):
        play(make_disco(projector=used), grid, bank)
