"""Every page is measured at its smallest, by the code that measures it on a GPU."""

from __future__ import annotations

import json
from pathlib import Path

import all as all_pages
import command
import generation
import memory
import page
import pytest
import round as one_round
import torch
import training
from idle import finished_rounds
from page import NOT_YET, PAGES, Notebook, Page, Target
from random_llava import build_base
from sizes import SIZES, WARM_UP

from fcit_app.config import parse
from fcit_app.model.sizes import LLAVA_15_7B, model_sizes

TINY, CPU = SIZES["tiny"], torch.device("cpu")


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(command, "find_device", lambda size: CPU)
    monkeypatch.setattr(memory, "FOLDER", tmp_path / "bases")
    return tmp_path


def table_of(folder: Path, page: Page) -> list[str]:
    """Rows of a page's table, by name."""
    lines = (folder / f"{page.name}.md").read_text(encoding="utf-8").splitlines()
    return [line.split("|")[1].strip() for line in lines if line.startswith("| ")][1:]


def test_training_page(cpu: Path) -> None:
    command.take(training.PAGE, training.measure, "tiny", cpu, again=False)
    rows = page.read_rows(training.PAGE, cpu)[1]
    assert table_of(cpu, training.PAGE) == list(rows)
    kinds = [name for name in rows if name.startswith("ours")]
    assert len(kinds) == 2 * len(TINY.training_batches)
    for name, values in rows.items():
        assert name == training.PEAK or values["samples/s"] > 0
        assert ("ours" in name) == isinstance(values.get("× plain"), float)
    # what the targets look for is there
    assert all("–" not in target.line(rows) for target in training.PAGE.targets)


def test_generation_page(cpu: Path) -> None:
    command.take(generation.PAGE, generation.measure, "tiny", cpu, again=False)
    rows = page.read_rows(generation.PAGE, cpu)[1]
    assert table_of(cpu, generation.PAGE) == list(rows)
    assert len(rows) == len(generation.WAYS) * len(TINY.generation_batches)
    for batch in TINY.generation_batches:
        ours = rows[f"{generation.BANK}, batch {batch}"]
        one = rows[f"{generation.ONE}, batch {batch}"]
        assert ours["seconds"] / one["seconds"] == ours["time ÷ one adapter's"]
        assert ours["× official"] > 0


def test_memory_page(cpu: Path) -> None:
    command.take(memory.PAGE, memory.measure, "tiny", cpu, again=False)
    rows = page.read_rows(memory.PAGE, cpu)[1]
    assert table_of(cpu, memory.PAGE) == list(rows) and len(rows) == 4
    said = {values[memory.WEIGHTS] for name, values in rows.items() if name.startswith("NF4")}
    assert said == {"needs a GPU"}
    assert all(v[memory.ESTIMATED] > 1 for n, v in rows.items() if n.startswith("bfloat16"))


def test_phases_of_a_round_and_the_time_in_which_nobody_trains() -> None:
    seconds = {
        "configure": 1.0, "train": 5.0, "wait": 6.0, "guard": 0.5, "aggregate": 0.5, "save": 1.0
    }  # fmt: skip
    events = [
        {"event": "round-started", "time": 100.0},
        {"event": "client-replied", "time": 106.0, "seconds": 4.0},
        {"event": "client-replied", "time": 107.0, "seconds": 5.0},
        {"event": "client-replied", "time": 112.0, "seconds": 3.0},
        {"event": "round-finished", "time": 114.0, "seconds": seconds, "stage": 1, "round": 1},
        {"event": "client-replied", "time": 121.0, "seconds": 4.0},
        {"event": "round-finished", "time": 124.0, "seconds": seconds, "stage": 1, "round": 2},
        {"event": "client-replied", "time": 999.0, "seconds": 9.0},
    ]
    assert [(r.number, r.whole, r.idle) for r in finished_rounds(events)] == [
        (1, 14.0, 6.0),
        (2, 14.0, 10.0),
    ]
    rows = one_round.phases(events)
    # 102-107 and 109-112 of 14 seconds
    assert rows[one_round.OUTSIDE] == {"seconds": 6.0, "% of the round": pytest.approx(600 / 14)}
    assert [rows[phase]["seconds"] for phase in seconds] == list(seconds.values())
    assert one_round.PAGE.targets[0].line(rows).endswith("**missed** |")


@pytest.mark.parametrize("name", SIZES)
def test_the_rounds_settings_are_allowed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_round, "save_folder", lambda size, device, folder: folder)
    words = one_round.command(SIZES[name], torch.device("cuda"), tmp_path)
    given = dict(words[place + 1].split("=", 1) for place, w in enumerate(words) if w == "--set")
    config = parse({"preset": "mini", **given})
    assert (config.clients_per_round, config.rounds, len(config.stages)) == (5, 1, 1)
    assert words[words.index("--client-gpus") + 1] == "1"


def test_the_large_size_has_the_shapes_of_llava_15_7b() -> None:
    size, sizes = SIZES["7b"], model_sizes(LLAVA_15_7B)
    assert size.decoder_weights == sizes.packable
    found = (size.layers, size.hidden, size.ffn, size.heads, size.image_tokens)
    assert found == (sizes.layers, sizes.hidden, sizes.ffn, sizes.heads, sizes.image_tokens)
    with torch.device("meta"):
        built = build_base(size, torch.device("meta")).model
    vision = sum(p.numel() for p in built.model.vision_tower.parameters())
    embeddings = 2 * size.hidden * size.vocabulary
    norms = (2 * size.layers + 1) * size.hidden
    assert vision + norms + embeddings == sizes.other + 2 * size.hidden * 64  # 64 added tokens
    assert sum(p.numel() for p in built.model.multi_modal_projector.parameters()) == sizes.projector


TOY = Page("toy", "Toy", "What is done.", ("speed",), (Target("speed", 2, lambda r: r["a"]["s"]),))


def test_rows_are_kept_at_once_and_measured_once(tmp_path: Path) -> None:
    facts = {"size": "7b", "device": "x", "date": "one"}
    first = Notebook(TOY, tmp_path, facts)
    first.row("a", lambda: {"speed": 3.0})
    with pytest.raises(ZeroDivisionError):
        first.row("b", lambda: {"speed": 1 / 0})
    second = Notebook(TOY, tmp_path, {**facts, "date": "two"})
    second.row("a", lambda: {"speed": 1 / 0})
    assert second.rows == {"a": {"speed": 3.0}}
    assert Notebook(TOY, tmp_path, {**facts, "device": "y"}).rows == {}
    assert Notebook(TOY, tmp_path, facts, again=True).rows == {}
    assert "| a | 3 |" in (tmp_path / "toy.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("rows", "said"),
    [({}, NOT_YET), ({"a": {"s": 2.0}}, "| met |"), ({"a": {"s": 1.9}}, "**missed**")],
)
def test_targets_say_what_was_reached(rows: dict, said: str) -> None:
    assert said in TOY.targets[0].line(rows)


def test_targets_beyond_one_number() -> None:
    rows = {"ours, batch 16, no checkpointing": {"samples/s": 23.0},
            "ours, batch 32, no checkpointing": {"samples/s": "out of memory"}}  # fmt: skip
    assert [target.line(rows).split("|")[4].strip() for target in training.PAGE.targets] == [
        "met", NOT_YET
    ]  # fmt: skip
    seconds = {generation.OFFICIAL: {1: 3.0}, generation.ONE: {32: 4.0}, generation.BANK: {32: 4.4}}
    rows = {f"{way}, batch {b}": {"seconds": s} for way, v in seconds.items() for b, s in v.items()}
    ratio, faster = (target.measured(rows) for target in generation.PAGE.targets)
    assert ratio == pytest.approx(1.1) and faster == pytest.approx(3 / (4.4 / 32))


@pytest.mark.parametrize("name", all_pages.BUDGET)
def test_committed_pages_show_their_numbers(name: str, tmp_path: Path) -> None:
    wanted = all_pages.PAGES_BY_NAME[name]
    facts, rows = page.read_rows(wanted, PAGES)
    assert (PAGES / f"{name}.md").read_text("utf-8") == wanted.markdown(facts, rows)
    assert (PAGES.parent / f"{name}.py").is_file()
    if rows:
        assert facts["size"] == "7b"
        json.dumps(rows, allow_nan=False)


def test_all_pages_fit_ten_minutes_and_steps_are_counted() -> None:
    assert sum(all_pages.BUDGET.values()) <= 600 and set(all_pages.BUDGET) == set(
        all_pages.PAGES_BY_NAME
    )
    assert all(size.steps > WARM_UP for size in SIZES.values())
