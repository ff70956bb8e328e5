"""What would fail after a run has begun is told before, all of it at once."""

from __future__ import annotations

import pytest

from fcit_app.config import PRESETS, flatten, parse
from fcit_app.data.load import MiniBenchmark
from fcit_app.data.stages import client_samples, make_stages
from fcit_app.errors import ConfigError, DataError
from fcit_app.preflight import foreseen, preflight


def problems(clients=None, **changes) -> list[str]:
    flat = {key.replace("__", ".").replace("_", "-"): value for key, value in changes.items()}
    return foreseen(flatten(parse(flat)), clients)


@pytest.mark.parametrize("setting", ["task", "capability"])
@pytest.mark.parametrize("method", ["disco", "blind", "zero-shot"])
def test_the_presets_have_no_problems(setting, method):
    assert problems(5, setting=setting, method=method) == []


def test_too_few_clients():
    (only,) = problems(2, clients_per_round=3)
    assert "--clients 3" in only
    assert "num-supernodes=3" in only
    assert problems(None, clients_per_round=3) == []
    assert problems(1, clients_per_round=3, method="zero-shot") == []


def test_too_few_samples():
    few = {"data__train_samples": 20, "data__min_samples": 8}
    (only,) = problems(3, **few)
    assert only.startswith("data.train-samples: 20 ")
    assert "at least 24" in only
    assert problems(2, **few) == []


def test_a_capability_pools_the_samples_of_its_tasks():
    # 48 samples for the clients: `other` has two tasks, the rest have three or more.
    few = {"data__min_samples": 8, "setting": "capability", "beta": 1e6}
    assert problems(6, data__train_samples=24, **few) == []
    (only,) = problems(6, data__train_samples=23, **few)
    assert "at least 24" in only
    assert problems(6, data__train_samples=16, tasks="general,chart", **few) == []


def test_more_prompts_than_the_pool_has():
    (only,) = problems(l2p__pool=3, l2p__top=4)
    assert only.startswith("l2p.top: 4 is not allowed; allowed: a whole number from 1 to l2p.pool")
    assert problems(l2p__pool=4, l2p__top=4) == []


def test_feedback_is_int8s():
    (only,) = problems(codec="bf16", codec_feedback=True)
    assert only.startswith("codec-feedback: true is not allowed with codec = bf16; allowed: false")
    assert problems(codec="int8", codec_feedback=True) == []


def test_noise_that_hides_nothing():
    (only,) = problems(identity__noise=0.5)
    assert only.startswith("identity.clip: 0 is not allowed with identity.noise = 0.5; allowed: a")
    bounded = {"identity__noise": 0.5, "identity__clip": 1.0}
    assert problems(**bounded) == []
    (only,) = problems(**bounded, identity__prototypes=4)
    assert only.startswith("identity.prototypes: 4 is not allowed with identity.noise = 0.5")
    assert problems(identity__clip=1.0, identity__prototypes=4, identity__min_samples=20) == []
    (only,) = problems(privacy__update_noise=0.5)
    assert only.startswith("privacy.update-clip: 0 is not allowed with privacy.update-noise = 0.5")
    bounded = {"privacy__update_noise": 0.5, "privacy__update_clip": 1.0}
    assert problems(**bounded) == []
    (only,) = problems(**bounded, method="ewc")
    assert only.startswith("privacy.update-noise: 0.5 is not allowed for method ewc")


def test_a_hopeless_beta():
    (only,) = problems(5, beta=0.001)
    assert only.startswith("stage imagenet-r: beta = 0.001 hardly ever gives each of 5 clients")


@pytest.mark.parametrize("beta", [0.05, 0.1, 0.2, 0.5])
def test_it_deals_as_the_clients_will(beta, monkeypatch):
    monkeypatch.setattr("fcit_app.data.partition._MOST_DRAWS", 3)
    config = parse(
        {"beta": beta, "tasks": "dvqa,iconqa", "data.train-samples": 40, "data.min-samples": 4}
    )
    benchmark = MiniBenchmark(config.seed, 40, 1)
    try:
        for stage in make_stages(config):
            client_samples(benchmark, config, stage, 0, 3)
        holds = True
    except DataError:
        holds = False
    assert (foreseen(flatten(config), 3) == []) == holds


def test_blind_exchanges_pictures_between_at_least_two_samples():
    few = {"data__train_samples": 1, "data__test_samples": 1, "data__min_samples": 1}
    found = problems(method="blind", **few)
    assert [problem.split(":")[0] for problem in found] == [
        "data.train-samples",
        "data.test-samples",
    ]
    assert problems(method="zero-shot", **few) == []


def test_missing_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    assert problems(model__name="here", identity__encoder="clip:./here") == []
    assert problems(model__name=str(tmp_path / "here")) == []
    for encoder in ("clip:/nope", "clip:./nope", "sentence-transformers:a/b/c"):
        (only,) = problems(identity__encoder=encoder)
        assert only.startswith(f"identity.encoder: '{encoder}' is not allowed")
    for name in ("sentence-transformers:all-MiniLM-L6-v2", "clip:openai/clip-vit-large-patch14"):
        assert problems(identity__encoder=name) == []  # may lie in the local cache
    (only,) = problems(model__name="llava")
    assert only.startswith("model.name: 'llava' is not allowed; allowed: mini, or a folder")


def test_everything_is_told_at_once():
    flat = {"model.name": "/nope", "identity.encoder": "clip:/nope", "beta": 0.001}
    with pytest.raises(ConfigError) as caught:
        preflight(parse(flat | {"clients-per-round": 9}), 5)
    assert len(caught.value.problems) == 4
    # Beside wrong values, what can be judged without them.
    with pytest.raises(ConfigError) as caught:
        parse(flat | {"seed": -1, "tasks": "imagenet"}, [foreseen])
    keys = [problem.split(":")[0] for problem in caught.value.problems]
    assert keys == ["seed", "tasks", "model.name", "identity.encoder"]


def test_what_a_run_trains_is_not_unseen():
    (only,) = problems(evaluate__unseen="figureqa,dvqa")
    assert only.startswith("evaluate.unseen: 'figureqa' is not allowed, since this run trains it")
    assert "aokvqa, grounding, dvqa, tabmwp" in only
    assert problems(evaluate__unseen="figureqa", tasks="dvqa,iconqa") == []
    assert problems(evaluate__unseen="rest", setting="capability") == []


def test_general_ability_needs_a_base_with_a_skill_set(tmp_path):
    assert problems(evaluate__general=True) == []
    (only,) = problems(evaluate__general=True, model__name=str(tmp_path))
    assert only.startswith("evaluate.general: true is not allowed for the base")
    assert "model.name = mini" in only


def test_the_papers_presets_want_data():
    for preset in (name for name in PRESETS if name.startswith("paper-")):
        (only,) = problems(50, preset=preset)
        assert only.startswith(f"data.root: nothing is not allowed with preset {preset}")


def test_a_checkpoint_may_have_a_name_and_a_revision(tmp_path):
    name = "llava-hf/llava-1.5-7b-hf"
    assert problems(model__name=name, model__revision="main") == []
    for other in ("mini", str(tmp_path)):
        (only,) = problems(model__name=other, model__revision="main")
        assert only.startswith("model.revision: 'main' is not allowed for")


def test_quantisation_needs_its_package(monkeypatch):
    for device in ("cpu", "cuda"):
        assert problems(model__quantization="nf4", model__device=device) == []
    monkeypatch.setattr("fcit_app.preflight.find_spec", lambda name: None)
    (only,) = problems(model__quantization="int8")
    assert only.startswith("model.quantization: 'int8' is not allowed without the package")
    assert "pip install" in only


def test_flash_attention_needs_a_gpu_bfloat16_and_its_package(monkeypatch):
    flash = {"model__attention": "flash_attention_2"}
    for changes in ({"model__device": "cpu"}, {"model__dtype": "float32"}):
        (only,) = problems(**flash, **changes)
        assert only.startswith("model.attention: 'flash_attention_2' is not allowed on the CPU")
    for there, expected in ((None, 1), ("flash_attn", 0)):
        monkeypatch.setattr("fcit_app.preflight.find_spec", lambda name, there=there: there)
        found = problems(**flash)
        assert len(found) == expected
        assert all("pip install flash-attn" in problem for problem in found)
