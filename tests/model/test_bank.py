"""A bank survives the disk, and one whose parts do not belong together is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_banks import same_bits

from fcit_app.errors import ModelError
from fcit_app.identity.prototypes import with_prototypes
from fcit_app.identity.tokens import IdentityToken
from fcit_app.model.bank import Bank, Subspace
from fcit_app.runs import RunFolder
from strategies import BankRecord, SubspaceRecord, to_record, write_bank


def adapter(seed: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {f"layer.lora_{m}.weight": generator.random((2, 3), dtype=np.float32) for m in "AB"}


def full_bank() -> Bank:
    tokens = [IdentityToken.of(np.random.default_rng(i).random((7 + i, 4))) for i in range(2)]
    subspaces = tuple(Subspace(5 * i, adapter(i), tokens[i], i + 1) for i in range(2))
    return Bank(subspaces, {"projector.weight": np.ones((2, 2), np.float32)})


def bank_with_everything() -> Bank:
    """Subspaces with prototypes and projectors of their own."""
    features = np.random.default_rng(0).random((40, 4)) + 9 * np.repeat(np.eye(4)[:2], 20, axis=0)
    token = with_prototypes(features, 2)
    assert len(token.prototypes) == 2
    own = [{"projector.weight": np.full((2, 2), i, np.float32)} for i in range(2)]
    subspaces = tuple(Subspace(i, adapter(i), token, 1, own[i]) for i in range(2))
    return Bank(subspaces, {"projector.weight": np.ones((2, 2), np.float32)})


BANKS: dict[str, Callable[[], Bank]] = {
    "full": full_bank,
    "finetune": lambda: Bank((Subspace(0, adapter(0), None, 1),), None),
    "everything": bank_with_everything,
    "empty": Bank,
    "empty projector": lambda: Bank((), {}),
}


@pytest.mark.parametrize("kind", BANKS)
def test_a_bank_survives_the_disk(tmp_path: Path, kind: str) -> None:
    bank = BANKS[kind]()
    folder = RunFolder.create(tmp_path / "run", {}, {})
    arrays, facts = bank.to_arrays()
    folder.save_state(arrays, {"bank": facts})
    arrays, meta = folder.load_state()
    read = Bank.from_arrays(arrays, meta["bank"])
    assert len(read.subspaces) == len(bank.subspaces)
    for mine, other in zip(bank.subspaces, read.subspaces, strict=True):
        assert (mine.identifier, mine.first_stage) == (other.identifier, other.first_stage)
        assert same_bits(mine.adapter, other.adapter)
        assert (mine.token is None) == (other.token is None)
        if mine.token is not None and other.token is not None:
            assert mine.token.count == other.token.count
            assert np.array_equal(mine.token.total, other.token.total)
            for part, again in zip(mine.token.prototypes, other.token.prototypes, strict=True):
                assert part.count == again.count
                assert np.array_equal(part.total, again.total)
        assert (mine.projector is None) == (other.projector is None)
        assert same_bits(mine.projector or {}, other.projector or {})
    assert (bank.projector is None) == (read.projector is None)
    assert same_bits(bank.projector or {}, read.projector or {})


def test_the_keys_are_readable_and_number_by_identifier() -> None:
    arrays, facts = full_bank().to_arrays()
    assert "subspace-005/adapter/layer.lora_A.weight" in arrays and "subspace-005/token" in arrays
    assert "projector/projector.weight" in arrays
    assert facts["subspaces"][1] == {"identifier": 5, "count": 8, "first-stage": 2}


@pytest.mark.parametrize("kind", ["full", "everything"])
def test_the_keys_are_those_of_the_record_that_strategies_see(kind: str) -> None:
    bank = BANKS[kind]()
    known = {
        s.identifier: SubspaceRecord(
            s.identifier,
            to_record(s.adapter),
            s.token,
            s.first_stage,
            to_record(s.projector) if s.projector else None,
        )
        for s in bank.subspaces
        if s.token is not None
    }
    record = write_bank(BankRecord(known, to_record(bank.projector or {})))
    arrays, _ = bank.to_arrays()
    assert arrays.keys() <= record.keys()
    facts = {"count", "first-stage", *(["prototype-counts"] if kind == "everything" else [])}
    assert {name.rpartition("/")[2] for name in record.keys() - arrays.keys()} == facts
    assert all(record[name].numpy().tobytes() == array.tobytes() for name, array in arrays.items())


DAMAGES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "fewer": (lambda f: {"subspaces": f["subspaces"][:1]}, "does not name: 'subspace-005/"),
    "twice": (lambda f: {"subspaces": f["subspaces"] * 2}, "lacks or garbles 'subspace-000/token'"),
    "unknown": (
        lambda f: {"subspaces": [{"identifier": 3, "count": None, "first-stage": 1}]},
        "names subspace 3 but holds no adapter",
    ),
    "format": (lambda f: {"format": "other"}, "has format 'other'"),
    "untyped": (lambda f: {"subspaces": [1, 2]}, "lacks or garbles"),
}


@pytest.mark.parametrize("how", DAMAGES)
def test_arrays_and_facts_that_do_not_belong_together_are_refused(how: str) -> None:
    change, words = DAMAGES[how]
    arrays, facts = full_bank().to_arrays()
    with pytest.raises(ModelError, match=words):
        Bank.from_arrays(arrays, facts | change(facts))


def test_facts_that_lack_something_are_refused() -> None:
    arrays, facts = full_bank().to_arrays()
    with pytest.raises(ModelError, match="lacks or garbles 'subspaces'"):
        Bank.from_arrays(arrays, {"format": facts["format"]})
