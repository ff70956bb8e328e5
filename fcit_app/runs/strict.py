"""Schemas of the JSON files in a run folder: frozen, and nothing unknown in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from fcit_app.errors import RunFolderError


class Strict(BaseModel):
    """A frozen part of a file; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def check(cls, content: Mapping[str, Any], where: str = "") -> Self:
        """Validate a mapping.

        Parameters
        ----------
        content : Mapping[str, Any]
            What was read, or is about to be written.
        where : str
            The file, for an error's text; the schema's name by default.

        Raises
        ------
        RunFolderError
            Naming every missing key, unknown key and wrong value.
        """
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            lines = "; ".join(
                f"{'.'.join(str(part) for part in entry['loc']) or 'as a whole'}: {entry['msg']}"
                for entry in error.errors()
            )
            raise RunFolderError(
                f"{where or cls.__name__} does not fit the schema: {lines}"
            ) from error
