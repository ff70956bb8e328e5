"""What DISCO refuses before a round: parameters out of range, a bank made with other projectors."""

from __future__ import annotations

from fcit_app.errors import ConfigError, ModelError
from strategies.bank_record import BankRecord

_PROJECTORS = ("shared", "frozen", "per-subspace")


def check_parameters(
    tau: float, projector: str, identity_timeout: float, count: str, prototypes: int
) -> None:
    """Raise ConfigError with all that is out of range; see `strategies.disco.Disco`."""
    problems = []
    if not 0.0 < tau <= 1.0:
        problems.append(f"identity.tau = {tau!r}: must be above 0 and at most 1.")
    if projector not in _PROJECTORS:
        allowed = ", ".join(f'"{name}"' for name in _PROJECTORS)
        problems.append(f'projector = "{projector}": must be one of {allowed}.')
    if not identity_timeout > 0.0:
        problems.append(f"identity_timeout = {identity_timeout!r}: must be above 0 seconds.")
    if count not in ("stage", "round"):
        problems.append(f'identity.count = "{count}": must be "stage" or "round".')
    if prototypes < 0:
        problems.append(f"identity.prototypes = {prototypes!r}: must be 0 or more.")
    if problems:
        raise ConfigError(problems)


def check_projectors(bank: BankRecord, projector: str) -> None:
    """Raise unless the bank's projectors are where the setting `projector` wants them.

    Raises
    ------
    ConfigError
        If a projector is to be trained but the bank holds none.
    ModelError
        If a subspace has a projector of its own without "per-subspace", or lacks it with it.
    """
    if projector != "frozen" and bank.projector is None:
        raise ConfigError(
            f'projector = "{projector}": the arrays hold no "projector/..." keys to '
            'train; add them or set projector = "frozen".'
        )
    for identifier, known in bank.subspaces.items():
        if (known.projector is not None) != (projector == "per-subspace"):
            has = "no" if known.projector is None else "a"
            raise ModelError(
                f"Subspace {identifier} of the bank has {has} projector of its own, which does "
                f'not go with projector = "{projector}". Go on with the setting that the '
                "bank was made with."
            )
