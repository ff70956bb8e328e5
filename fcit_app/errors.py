"""Errors that a user can mend; the command line prints them without a stack trace."""

from __future__ import annotations

from collections.abc import Sequence


class FcitError(Exception):
    """Base of every error whose text tells a user what is wrong and how to mend it."""


class ConfigError(FcitError):
    """One or more wrong configuration values, all reported at once.

    Parameters
    ----------
    problems : Sequence[str]
        One sentence per problem: key, value, what is allowed, how to mend it.
    """

    def __init__(self, problems: Sequence[str] | str) -> None:
        self.problems: tuple[str, ...] = (
            (problems,) if isinstance(problems, str) else tuple(problems)
        )
        noun = "problem" if len(self.problems) == 1 else "problems"
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(f"{len(self.problems)} {noun} in the configuration:\n{lines}")


class DataError(FcitError):
    """A data set, sample or partition that cannot be used."""


class ModelError(FcitError):
    """A base model, adapter or weight file that cannot be used."""


class RunFolderError(FcitError):
    """A run folder that is missing, unreadable or already taken."""


class RunError(FcitError):
    """A federated run that could not go on."""


def reason_of(error: BaseException) -> str:
    """One text that says why something failed: our own errors explain themselves."""
    if isinstance(error, FcitError):
        return str(error)
    return f"{type(error).__name__}: {error}".removesuffix(": ")
