"""A bank survives disk and message, and a damaged one is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from toy_banks import same_bits

from fcit_app.errors import ModelError
from fcit_app.identity.tokens import IdentityToken
from fcit_app.model.bank import Bank, Subspace, load_bank, save_bank


def adapter(seed: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {f"layer.lora_{m}.weight": generator.random((2, 3), dtype=np.float32) for m in "AB"}


def full_bank() -> Bank:
    tokens = [IdentityToken.of(np.random.default_rng(i).random((7 + i, 4))) for i in range(2)]
    subspaces = tuple(Subspace(5 * i, adapter(i), tokens[i], i + 1) for i in range(2))
    return Bank(subspaces, {"projector.weight": np.ones((2, 2), np.float32)})


BANKS: dict[str, Callable[[], Bank]] = {
    "full": full_bank,
    "finetune": lambda: Bank((Subspace(0, adapter(0), None, 1),), None),
    "empty": Bank,
    "empty projector": lambda: Bank((), {}),
}


@pytest.mark.parametrize("kind", BANKS)
def test_a_bank_survives_the_disk(tmp_path: Path, kind: str) -> None:
    bank = BANKS[kind]()
    save_bank(bank, tmp_path / "state")
    read = load_bank(tmp_path / "state")
    assert len(read.subspaces) == len(bank.subspaces)
    for mine, other in zip(bank.subspaces, read.subspaces, strict=True):
        assert (mine.identifier, mine.first_stage) == (other.identifier, other.first_stage)
        assert same_bits(mine.adapter, other.adapter)
        assert (mine.token is None) == (other.token is None)
        if mine.token is not None and other.token is not None:
            assert mine.token.count == other.token.count
            assert np.array_equal(mine.token.total, other.token.total)
    assert (bank.projector is None) == (read.projector is None)
    assert same_bits(bank.projector or {}, read.projector or {})
    assert not list((tmp_path / "state").glob("*.tmp"))


def test_the_keys_are_readable() -> None:
    arrays, facts = full_bank().to_arrays()
    assert "subspace-001/adapter/layer.lora_A.weight" in arrays and "subspace-001/token" in arrays
    assert "projector/projector.weight" in arrays
    assert facts["subspaces"][1] == {"identifier": 5, "count": 8, "first-stage": 2}


def damage(folder: Path, how: str) -> None:
    arrays, facts = folder / "bank.safetensors", folder / "bank.json"
    known = json.loads(facts.read_text())
    match how:
        case "cut arrays":
            arrays.write_bytes(arrays.read_bytes()[:-9])
        case "no arrays":
            arrays.unlink()
        case "cut facts":
            facts.write_text(facts.read_text()[:-9])
        case "no facts":
            facts.unlink()
        case "list":
            facts.write_text("[]")
        case "fewer":
            facts.write_text(json.dumps(known | {"subspaces": known["subspaces"][:1]}))
        case "more":
            facts.write_text(json.dumps(known | {"subspaces": known["subspaces"] * 2}))
        case "format":
            facts.write_text(json.dumps(known | {"format": "other"}))
        case "lacks":
            facts.write_text(json.dumps({"format": known["format"]}))
        case "untyped":
            facts.write_text(json.dumps(known | {"subspaces": [1, 2]}))


DAMAGES = ["cut arrays", "no arrays", "cut facts", "no facts", "list", "fewer", "more", "format"]


@pytest.mark.parametrize("how", [*DAMAGES, "lacks", "untyped"])
def test_a_damaged_bank_is_refused_by_name(tmp_path: Path, how: str) -> None:
    save_bank(full_bank(), tmp_path)
    damage(tmp_path, how)
    with pytest.raises(ModelError, match=str(tmp_path)):
        load_bank(tmp_path)
