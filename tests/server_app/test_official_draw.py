"""The official draw gives the participants of the published runs, slot by slot."""

from __future__ import annotations

import pytest

from fcit_app.config import parse
from fcit_app.data.stages import make_stages
from server_app.plan import plan_round
from server_app.sampling import draw_slots, official_slots

# Official code, 50 clients, 5 a round: rounds 1 to 10 of stages 1 to 8.
PUBLISHED = """
2 41 10 11 28|2 35 38 40 27|36 9 13 47 28|39 9 12 47 31|4 6 11 12 48|6 42 19 28 29|38 7 40 49 23|42 13 15 22 30|36 44 48 49 23|2 37 44 14 21
37 42 44 47 23|2 36 37 45 22|36 7 41 46 28|0 4 43 46 20|37 14 47 21 30|35 37 38 41 26|34 3 36 20 25|42 44 16 19 21|43 16 20 26 30|35 23 24 26 30
4 8 12 45 14|7 43 44 14 25|32 33 12 47 25|32 13 14 17 18|32 5 8 19 26|36 7 41 46 17|2 10 43 44 14|6 43 46 14 20|9 11 16 27 31|35 45 48 22 26
32 41 10 43 20|32 2 4 5 31|35 41 44 16 49|37 5 40 15 27|0 1 3 39 16|39 22 26 29 31|32 11 12 18 29|0 37 41 13 49|0 40 17 21 29|2 47 16 23 29
33 38 45 49 29|32 9 14 49 18|39 45 13 17 30|36 14 19 20 28|36 5 37 6 47|2 5 7 9 47|3 35 9 10 14|32 39 40 42 13|1 3 8 45 47|39 14 16 25 31
1 34 36 38 8|0 4 15 48 47|3 40 8 19 26|1 2 8 21 28|38 39 10 49 24|3 6 15 22 28|38 7 40 45 20|39 9 16 20 29|5 47 48 16 18|32 1 47 48 21
4 38 40 20 28|7 41 48 22 29|4 39 15 48 31|36 8 47 16 31|1 33 37 9 13|41 45 17 20 23|1 4 5 47 25|1 6 11 15 20|3 37 41 18 30|34 4 8 10 19
38 40 47 19 30|32 35 4 39 20|4 11 48 49 22|32 34 49 20 28|32 8 16 22 26|2 4 5 15 22|41 9 45 47 49|38 40 45 13 16|33 37 10 19 26|39 42 44 48 21
"""  # noqa: E501
ROWS = [row.split("|") for row in PUBLISHED.strip().splitlines()]


@pytest.mark.parametrize("stage", range(1, 9))
def test_it_equals_the_published_participants_in_slot_order(stage):
    for number, cell in enumerate(ROWS[stage - 1], start=1):
        expected = tuple(map(int, cell.split()))
        assert official_slots(range(50), 5, stage, number) == expected


def test_it_works_for_any_numbers_and_whatever_clients_are_there():
    for clients, count in ((5, 5), (7, 3), (200, 40)):
        drawn = official_slots(range(clients), count, 2, 3)
        assert len(set(drawn)) == count
        assert set(drawn) <= set(range(clients))
    here = [40, 3, 17, 8]
    drawn = official_slots(here, 3, 1, 1)
    assert drawn == tuple(sorted(here)[i] for i in official_slots(range(4), 3, 1, 1))


def test_a_plan_draws_as_configured_and_gives_each_slot_its_lesson():
    flat = {"preset": "mini-het", "client-draw": "official"}
    for seed in (0, 7):
        config = parse({**flat, "seed": seed})
        stages = make_stages(config)
        plan = plan_round(config, range(50), stages[1], 4)
        assert plan.participants == (0, 4, 43, 46, 20)
        lessons = ["clevr-math", "ocr-vqa", "flickr30k", "super-clevr", "super-clevr"]
        assert plan.settings == {"participants": [0, 4, 43, 46, 20], "lessons": lessons}
        assert plan.tasks[46] == plan.tasks[20] == ("super-clevr",)
    hom = parse({"client-draw": "official", "clients-per-round": 5})
    plan = plan_round(hom, range(50), make_stages(hom)[0], 1)
    assert plan.participants == (2, 10, 11, 28, 41)
    assert plan.settings == {}


def test_a_hom_round_has_the_seeded_slots_clients_in_ascending_order():
    first, hom = [0] * 5, parse({"clients-per-round": 3})
    for number in range(1, 401):
        slots = draw_slots(range(5), 3, hom.seed, 1, number)
        plan = plan_round(hom, range(5), make_stages(hom)[0], number)
        assert plan.participants == tuple(sorted(slots))
        first[slots[0]] += 1
    assert all(50 < count < 110 for count in first)
