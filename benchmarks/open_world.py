"""What the open world's limit does: ``python benchmarks/open_world.py RUN [--out PAGE.md]``.

RUN is a finished run of DISCO on the mini benchmark (``make run`` leaves one in runs/mini/disco).
The limit is calibrated on validation questions of the run's own tasks; then its bank answers the
test questions of all twelve tasks and the base's own held-out questions, without and with it. About
a minute on two cores.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fcit_app.data.catalogue import REST, never_trained
from fcit_app.data.load import load_benchmark
from fcit_app.evaluate.evaluator import Evaluator
from fcit_app.evaluate.open_world import Similarities, calibrate_run
from fcit_app.evaluate.saved_run import SavedRun, open_saved_run
from fcit_app.model.bank import Bank

KEY = "identity.open-world"


def main() -> None:
    """Measure, print and perhaps write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    limit = round(calibrate_run(Similarities(open_saved_run(given.run))).limit, 3)
    rows = {}
    for name, value in (("no limit (paper)", 0.0), (f"limit {limit}", limit)):
        rows[name] = _numbers(open_saved_run(given.run, {KEY: value}))
    plain = open_saved_run(given.run)
    rows["the base alone"] = _numbers(plain, Bank())
    lines = ["| | learned tasks | unseen tasks | own skills, short | own skills, sentences |"]
    lines += ["|---|---|---|---|---|"]
    lines += [f"| {name} | {' | '.join(f'{n:.1f}' for n in row)} |" for name, row in rows.items()]
    text = "\n".join(lines) + "\n"
    sys.stdout.write(text)
    if given.out:
        given.out.write_text(text, encoding="utf-8")


def _numbers(run: SavedRun, bank: Bank | None = None) -> tuple[float, float, float, float]:
    """Mean accuracy of the learned tasks and of the others, and the base's own skills."""
    evaluator = Evaluator(run.config, load_benchmark(run.config))
    asked = run.bank if bank is None else bank
    learned = evaluator.accuracy(asked, run.tasks)
    unseen = evaluator.accuracy(asked, never_trained((REST,), run.tasks))
    skills = evaluator.general(asked)
    means = (sum(learned) / len(learned), sum(unseen) / len(unseen))
    return (*means, skills.short, skills.sentences)


if __name__ == "__main__":
    main()
