"""Captions as words: the Penn Treebank tokeniser of COCO's scores, or a plain one without Java."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from fcit_app.errors import DataError

_WORD = re.compile(r"'?\w+(?:-\w+)*")


@cache
def java_works() -> bool:
    """Whether there is a Java that runs; a file of that name may only offer to install one."""
    try:
        found = subprocess.run(["java", "-version"], capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return found.returncode == 0


def ptb_words(texts: Sequence[str]) -> list[str]:
    """Split texts as COCO's caption scores do: Stanford's PTBTokenizer, then no punctuation.

    The jar and the list of punctuation are pycocoevalcap's. Its own class is not used, because it
    writes a file beside the package, which may be read-only, counts lines wrongly if a text holds
    another line break than a line feed, and takes the characters for those of the locale.

    Returns
    -------
    list[str]
        Of each text its words in lower case, with one blank between them.

    Raises
    ------
    DataError
        If Java fails.
    """
    from pycocoevalcap.tokenizer import ptbtokenizer

    jar = Path(ptbtokenizer.__file__).with_name(ptbtokenizer.STANFORD_CORENLP_3_4_1_JAR)
    lines = "".join(f"{_one_line(text)}\n" for text in texts)
    done = subprocess.run(
        [
            *("java", "-Dfile.encoding=UTF-8", "-cp", str(jar)),
            *("edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"),
            *("-encoding", "UTF-8"),
        ],
        input=lines.encode(),
        capture_output=True,
        check=False,
    )
    split = done.stdout.decode(errors="replace").split("\n")[:-1]
    if done.returncode or len(split) != len(texts):
        raise DataError(
            f"The captions' tokeniser (java, {jar}) failed: exit code {done.returncode}, "
            f"{len(split)} lines for {len(texts)} captions. "
            f"{done.stderr.decode(errors='replace').strip()[-300:]}"
        )
    marks = set(ptbtokenizer.PUNCTUATIONS)
    return [" ".join(w for w in line.rstrip().split(" ") if w not in marks) for line in split]


def simple_words(texts: Sequence[str]) -> list[str]:
    """Split texts without Java: runs of letters and digits in lower case, inner hyphens kept.

    What follows an apostrophe is a word of its own with it (``dog 's``); all else is left out.
    """
    return [" ".join(_WORD.findall(text.lower().replace("’", "'"))) for text in texts]


def _one_line(text: str) -> str:
    """Text without line breaks of any kind; half characters, which no file can hold, become ?."""
    return " ".join(text.encode(errors="replace").decode().split())
