"""The table of methods."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from toy_results import toy_result

from fcit_app.report import comparison_table, cost_line
from fcit_app.report.table import all_tasks, cells, header, label


def rendered(results, width=160):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(comparison_table(results))
    return console.export_text()


def test_a_row_has_the_last_accuracies_and_the_summaries():
    result = toy_result(accuracy=[[90.0], [40.25, 80.0]], last=60.1, avg=75.0, transfer=-49.75)
    assert header(result.tasks) == ["imagenet-r", "figureqa", "Last", "Avg", "BWT"]
    assert cells(result, result.tasks) == ["40.2", "80.0", "60.1", "75.0", "-49.8"]


def test_what_is_missing_is_an_en_dash():
    result = toy_result("blind", tasks=["figureqa"], accuracy=[[50.0]], last=50.0)
    assert cells(result, ["imagenet-r", "figureqa"]) == ["–", "50.0", "50.0", "–", "–"]
    nothing = toy_result(accuracy=None)
    assert cells(nothing, ["figureqa"]) == ["–"] * 4


def test_rows_go_from_references_to_methods():
    methods = ["disco", "other", "finetune", "centralized", "blind", "zero-shot"]
    text = rendered([toy_result(method) for method in methods])
    order = ["zero-shot", "blind", "centralized", "finetune", "disco", "other"]
    places = [text.index(f" {method} ") for method in order]
    assert places == sorted(places)


def test_columns_are_the_tasks_of_all_runs():
    one, two = toy_result(tasks=["b", "a"]), toy_result(tasks=["a", "c"])
    assert all_tasks([one, two]) == ["b", "a", "c"]
    text = rendered([one, two])
    for title in ("b", "a", "c", "Last", "Avg", "BWT"):
        assert f" {title} " in text


def test_runs_of_one_method_are_told_apart_by_what_differs():
    results = [
        toy_result("disco"),
        toy_result("disco", scenario="het", beta=0.5),
        toy_result("finetune", scenario="het"),
    ]
    assert [label(r, results) for r in results] == [
        "disco, hom, β = 1.0",
        "disco, het, β = 0.5",
        "finetune",
    ]


def test_runs_of_one_method_are_told_apart_by_their_seed():
    results = [toy_result("disco", seed=0), toy_result("disco", seed=1), toy_result("finetune")]
    assert [label(r, results) for r in results] == ["disco, seed 0", "disco, seed 1", "finetune"]
    text = rendered(list(reversed(results)))
    assert text.index("disco, seed 0") < text.index("disco, seed 1")


def test_a_narrow_terminal_still_shows_every_method():
    text = rendered([toy_result("zero-shot"), toy_result("centralized")], width=60)
    assert "zero-shot" in text
    assert "centralized" in text


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"total": 185.0, "up": 1_500_000, "down": 250_000}, "disco 3:05 (1.5 MB up, 0.2 MB down)"),
        ({"total": 12.0}, "disco 12 s"),
        ({}, "disco"),
    ],
)
def test_the_cost_line(fields, text):
    assert cost_line([toy_result(**fields)]) == f"Time and traffic: {text}"


def test_the_cost_line_of_several_runs():
    line = cost_line([toy_result("disco", total=5.0), toy_result("zero-shot", total=1.0)])
    assert line == "Time and traffic: zero-shot 1 s · disco 5 s"
