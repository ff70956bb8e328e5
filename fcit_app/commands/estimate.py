"""`fcit estimate`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from fcit_app.commands.settings import merged


def estimate(
    preset: Annotated[str | None, typer.Option(help="As for fcit run.")] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one setting; repeatable."),
    ] = None,
    memory: Annotated[
        float | None,
        typer.Option(min=0, help="GiB of the GPU; by default this machine's, if it has one."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print bytes as JSON and nothing else.")
    ] = False,
) -> None:
    """Say what a run needs: GPU memory, traffic, disk. Exit code 1: it does not fit the GPU.

    The traffic is exact; the memory was never compared with a GPU's own figures.
    """
    from fcit_app.config import parse
    from fcit_app.estimate import advice
    from fcit_app.estimate import estimate as estimated
    from fcit_app.model.precision import gpu_bytes
    from fcit_app.model.sizes import model_sizes

    config = parse(merged({"preset": preset}, assignments or []))
    available = gpu_bytes() if memory is None else int(memory * 2**30)
    on_gpu = config.model.device != "cpu" and available is not None
    sizes = model_sizes(config.model.name, config.model.revision, config.train.lora_targets)
    needs = estimated(config, sizes, on_gpu)
    if as_json:
        typer.echo(json.dumps({**needs.as_dict(), "available": available}, indent=2))
    else:
        where = "the GPU" if on_gpu else "a client process on the CPU"
        typer.echo(f"memory   about {needs.training / 2**30:.1f} GiB of {where} in training,")
        typer.echo(f"         {needs.weights / 2**30:.1f} GiB of it the frozen weights")
        down, up = needs.round_down / 1e6, needs.round_up / 1e6
        typer.echo(f"traffic  {down:.1f} MB to the clients and {up:.1f} MB from them in a round")
        typer.echo(f"disk     at most {needs.disk / 1e6:.1f} MB in the run's folder")
        if needs.features:
            typer.echo(
                f"         at most {needs.features / 1e9:.1f} GB of features in data.feature-cache,"
            )
            typer.echo("         if every sample of the run has a picture of its own")
    if on_gpu and available is not None and needs.training > available:
        typer.echo(advice(config, needs.training, available), err=True)
        raise typer.Exit(1)
