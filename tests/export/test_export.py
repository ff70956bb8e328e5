"""An export is read by stock tools where this project is absent, and answers as the run does."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from export_runs import TASKS, run_of
from tiny_llava import QUESTIONS, toy_picture
from toy_banks import RANK, SCALING, random_adapter

from fcit_app.data.sample import Sample
from fcit_app.errors import ConfigError, ModelError, RunFolderError
from fcit_app.export.bundle import Wanted, export_run
from fcit_app.identity.encoders import load_encoder
from fcit_app.methods.m_lora import PartScales
from fcit_app.model.activation import activation_weights
from fcit_app.model.adapters import parameter_handles, wrap
from fcit_app.model.bank import Bank, Subspace
from fcit_app.model.gated import GatedParts
from fcit_app.model.prompt import encode_prompts
from fcit_app.model.stacked import BankSession

ASKED = QUESTIONS[:2]


@torch.inference_mode()
def our_logits(base, vision, bank, question, weights=None):
    """Logits of the product's own way to answer."""
    sample = Sample(question, TASKS[0], question, "", lambda: toy_picture(1))
    ids = torch.tensor(encode_prompts(base, [sample]))
    with BankSession(base, bank) as session:
        if weights is None and session.tokens is not None:
            feature = torch.from_numpy(load_encoder("hashed-ngrams").encode([question]))
            weights = activation_weights(feature, session.tokens)
        elif weights is None:
            weights = torch.ones(1, len(bank.subspaces))
        with session.weighted(weights):
            inputs = base.inputs(ids, vision.of([sample]), torch.ones_like(ids))
            return base.model(**inputs).logits.numpy()


@pytest.fixture(scope="module")
def runs(run, tiny_base, tmp_path_factory):
    """DISCO's run, O-LoRA's and M-LoRA's."""
    folder = tmp_path_factory.mktemp("others")
    bare = tuple(replace(subspace, token=None) for subspace in run.bank.subspaces)
    o_lora = run_of(Bank(bare, None), tiny_base.name, folder / "o", "o-lora", projector="frozen")
    model = wrap(tiny_base, RANK * 4, SCALING, extension=GatedParts(PartScales, 4))
    adapter = random_adapter(parameter_handles(model, projector=False), 7)
    single = Bank((Subspace(0, adapter, None, 1),), None)
    m_lora = run_of(single, tiny_base.name, folder / "m", "m-lora")
    return {"disco": run, "o-lora": o_lora, "m-lora": m_lora}


def test_stock_tools_without_this_project_give_the_same_logits(
    runs, tiny_base, tiny_vision, tiny_folder, tmp_path
):
    exports = {
        "whole": ("disco", Wanted(), "bank", "bank"),
        "second": ("disco", Wanted(subspace=1), "adapter", ""),
        "mixture": ("disco", Wanted(mixture="imagenet-r=0.6,iconqa=0.4"), "adapter", ""),
        "merged": ("disco", Wanted(subspace=1, merge=True), "merged", ""),
        "o-lora": ("o-lora", Wanted(), "adapter", ""),
        "m-lora": ("m-lora", Wanted(), "adapter", ""),
    }
    for name, (method, wanted, _, _) in exports.items():
        export_run(runs[method], tmp_path / name, wanted)
    toy_picture(1).save(tmp_path / "picture.png")
    order = {
        "base": str(tiny_folder),
        "pairs": [(str(tmp_path / "picture.png"), question) for question in ASKED],
        "exports": {n: (k, str(tmp_path / n / sub)) for n, (_, _, k, sub) in exports.items()},
    }
    order["exports"]["part"] = ("adapter", str(tmp_path / "whole" / "subspace-001"))
    (tmp_path / "order.json").write_text(json.dumps(order))
    script = Path(__file__).with_name("stock.py")
    files = [str(tmp_path / "order.json"), str(tmp_path / "logits.npz")]
    subprocess.run([sys.executable, "-I", str(script), *files], cwd=tmp_path, check=True)
    found = np.load(tmp_path / "logits.npz")

    wrap(tiny_base, RANK, SCALING)
    disco = runs["disco"].bank
    # of the 30 samples of imagenet-r 20 went to subspace 0, 5 to each other one
    mixed = torch.tensor([[0.6 * 20 / 30, 0.6 * 5 / 30, 0.6 * 5 / 30 + 0.4]])
    one = torch.tensor([[0.0, 1.0, 0.0]])
    expected = {
        "whole": (disco, None),
        "second": (disco, one),
        "part": (disco, one),
        "mixture": (disco, mixed),
        "merged": (disco, one),
        "o-lora": (runs["o-lora"].bank, None),
    }
    for number, question in enumerate(ASKED):
        base_alone = our_logits(tiny_base, tiny_vision, Bank(), question)
        for name, (bank, weights) in expected.items():
            ours = our_logits(tiny_base, tiny_vision, bank, question, weights)
            assert np.abs(ours - base_alone).max() > 0.1, name
            np.testing.assert_allclose(found[f"{name}-{number}"], ours, atol=2e-4, err_msg=name)
    wrap(tiny_base, RANK * 4, SCALING, extension=GatedParts(PartScales, 4))
    for number, question in enumerate(ASKED):
        ours = our_logits(tiny_base, tiny_vision, runs["m-lora"].bank, question)
        np.testing.assert_allclose(found[f"m-lora-{number}"], ours, atol=2e-4)


def test_checksums_and_card_tell_what_there_is_and_no_client(run, tmp_path):
    done = export_run(run, tmp_path / "out", Wanted())
    lines = (done.folder / "checksums.sha256").read_text().splitlines()
    listed = dict(reversed(line.split("  ")) for line in lines)
    files = [file for file in done.folder.rglob("*") if file.is_file()]
    for file in files:
        if file.name != "checksums.sha256":
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            assert listed.pop(str(file.relative_to(done.folder))) == digest
    assert listed == {}
    assert {file.suffix for file in files} == {".sha256", ".json", ".safetensors", ".md", ".py"}
    card = (done.folder / "README.md").read_text()
    assert "| imagenet-r | 50.00 | 0.00 |" in card
    rows = [line for line in card.splitlines() if line.startswith("| 1 |")]
    assert len(rows) == 1 and rows[0].endswith(": 10 |")
    pseudonym = rows[0].split("|")[-2].split(":")[0].strip()
    again = export_run(run, tmp_path / "again", Wanted())
    assert pseudonym not in (again.folder / "README.md").read_text()
    assert str(run.path) not in card


def test_a_target_is_replaced_only_when_asked_and_only_if_it_is_an_export(run, tmp_path):
    out = tmp_path / "out"
    one = Wanted(subspace=0)
    export_run(run, out, one)
    with pytest.raises(RunFolderError, match="--force"):
        export_run(run, out, one)
    export_run(run, out, Wanted(subspace=1), force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    (out / "mine.txt").write_text("precious")
    with pytest.raises(RunFolderError, match=r"mine\.txt"):
        export_run(run, out, one, force=True)
    assert (out / "mine.txt").read_text() == "precious"


def test_an_unfinished_run_is_exported_only_when_asked(run, tmp_path):
    shutil.copytree(run.path, tmp_path / "half")
    (tmp_path / "half" / "result.json").unlink()
    half = replace(run, path=tmp_path / "half", trained={})
    with pytest.raises(RunFolderError, match="--allow-unfinished"):
        export_run(half, tmp_path / "out", Wanted())
    assert not (tmp_path / "out").exists()
    done = export_run(half, tmp_path / "out", Wanted(), unfinished=True)
    assert "had not finished" in (done.folder / "README.md").read_text()
    with pytest.raises(ConfigError, match="finished run"):
        export_run(half, tmp_path / "x", Wanted(mixture="iconqa=1"), unfinished=True)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Wanted(subspace=9), "no subspace 9; allowed: 0, 1, 2"),
        (Wanted(subspace=1, mixture="iconqa=1"), "Keep one"),
        (Wanted(merge=True), "Add --subspace or --mixture"),
        (Wanted(mixture="iconqa=1,dvqa=1,figureqa=2"), "'dvqa'(.|\n)*'figureqa'"),
        (Wanted(mixture="iconqa=x,iconqa,iconqa=nan"), "'iconqa=x'(.|\n)*'iconqa'"),
        (Wanted(mixture="iconqa=0"), "all weights are 0"),
    ],
)
def test_what_cannot_be_exported_is_refused_and_leaves_nothing(run, tmp_path, wanted, said):
    with pytest.raises(ConfigError, match=said):
        export_run(run, tmp_path / "out", wanted)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("method", "reason"), [("moelora", "gates"), ("l2p", "soft prompts")])
def test_methods_that_are_no_lora_are_refused_with_the_reason(run, tmp_path, method, reason):
    other = replace(run, config=run.config.model_copy(update={"method": method}))
    with pytest.raises(ModelError, match=reason):
        export_run(other, tmp_path / "out", Wanted())


def test_a_bank_with_projectors_of_their_own_is_exported_one_by_one(run, tiny_base, tmp_path):
    bank = Bank(tuple(replace(s, projector=run.bank.projector) for s in run.bank.subspaces))
    own = run_of(bank, tiny_base.name, tmp_path / "run", "disco", projector="per-subspace")
    done = export_run(own, tmp_path / "out", Wanted())
    assert not (done.folder / "bank").exists()
    assert "per-subspace" in done.remarks[0]
    config = json.loads((done.folder / "subspace-002" / "adapter_config.json").read_text())
    assert config["modules_to_save"] == ["model.multi_modal_projector"]
    with pytest.raises(ConfigError, match="projector of its own"):
        export_run(own, tmp_path / "two", Wanted(mixture="imagenet-r=1"))
