"""The federated methods: what each one keeps on the server and gives to inference.

Most methods are classes of ``fcit_app.methods`` around one stock aggregator; a new one is listed in
``fcit_app/config/methods.py`` and needs nothing here. The loop knows none of them by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from flwr.app import ArrayRecord
from flwr.serverapp.strategy import Strategy

from fcit_app.arrays import Arrays
from fcit_app.config import RunConfig
from fcit_app.config.methods import FEDERATED
from fcit_app.methods import load_method
from fcit_app.methods.state import State
from fcit_app.model.bank import Bank, Subspace
from strategies.aggregators import make_aggregator
from strategies.bank_record import BankRecord, read_bank, write_bank
from strategies.continual import Continual
from strategies.continual_record import read_state, write_state
from strategies.disco import Disco
from strategies.records import to_arrays, to_record
from strategies.single import initial_single, split_single

NewAdapter = Callable[[int], Arrays]
"""Draws the initial adapter of a subspace, by its identifier."""


@dataclass(frozen=True)
class FederatedMethod:
    """How one method looks to the loop.

    Parameters
    ----------
    strategy : Callable[[RunConfig, NewAdapter], Strategy]
        The Flower strategy that drives the rounds.
    initial : Callable[[NewAdapter, Arrays | None], ArrayRecord]
        The global record before the first round, from the projector (None if frozen).
    bank : Callable[[RunConfig, ArrayRecord], Bank]
        What inference uses of the global record.
    """

    strategy: Callable[[RunConfig, NewAdapter], Strategy]
    initial: Callable[[NewAdapter, Arrays | None], ArrayRecord]
    bank: Callable[[RunConfig, ArrayRecord], Bank]


def _disco_strategy(config: RunConfig, new_adapter: NewAdapter) -> Strategy:
    return Disco(
        inner=make_aggregator(config.aggregator, config.aggregator_arguments),
        new_adapter=new_adapter,
        tau=config.identity.tau,
        projector=config.projector,
        identity_timeout=config.client_timeout,
        count=config.identity.count,
        prototypes=config.identity.prototypes,
    )


def _disco_initial(new_adapter: NewAdapter, projector: Arrays | None) -> ArrayRecord:
    return write_bank(BankRecord(projector=to_record(projector) if projector else None))


def _disco_bank(config: RunConfig, arrays: ArrayRecord) -> Bank:
    record = read_bank(arrays)
    subspaces = tuple(
        Subspace(
            known.identifier,
            to_arrays(known.adapter),
            known.token,
            known.first_stage,
            to_arrays(known.projector) if known.projector else None,
        )
        for known in record.subspaces.values()
    )
    return Bank(subspaces, to_arrays(record.projector) if record.projector else None)


def _finetune_strategy(config: RunConfig, new_adapter: NewAdapter) -> Strategy:
    return make_aggregator(config.aggregator, config.aggregator_arguments)()


def _finetune_initial(new_adapter: NewAdapter, projector: Arrays | None) -> ArrayRecord:
    return initial_single(new_adapter(0), projector)


def _finetune_bank(config: RunConfig, arrays: ArrayRecord) -> Bank:
    adapter, projector = split_single(arrays)
    return Bank((Subspace(0, adapter, None, 1),), projector)


def _continual_strategy(config: RunConfig, new_adapter: NewAdapter) -> Strategy:
    inner = make_aggregator(config.aggregator, config.aggregator_arguments)
    return Continual(load_method(config), inner, new_adapter)


def _continual_initial(new_adapter: NewAdapter, projector: Arrays | None) -> ArrayRecord:
    return write_state(State(0, new_adapter(0), projector))


def _continual_bank(config: RunConfig, arrays: ArrayRecord) -> Bank:
    return load_method(config).bank(read_state(arrays))


_CONTINUAL = FederatedMethod(_continual_strategy, _continual_initial, _continual_bank)

METHODS: Mapping[str, FederatedMethod] = MappingProxyType(
    {
        **dict.fromkeys(FEDERATED, _CONTINUAL),
        "disco": FederatedMethod(_disco_strategy, _disco_initial, _disco_bank),
        "finetune": FederatedMethod(_finetune_strategy, _finetune_initial, _finetune_bank),
    }
)
"""Name in the configuration to method."""
