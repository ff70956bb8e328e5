"""Fine-tuning is a pure function that learns, and touches nothing but what it was given."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from tiny_llava import toy_samples
from torch import Tensor
from torch.nn import Parameter
from toy_banks import RANK, SCALING, fingerprint, random_bank, same_bits

from fcit_app.arrays import Arrays
from fcit_app.errors import DataError, FcitError, ModelError
from fcit_app.model.adapters import (
    initial_adapter,
    is_adapter,
    load_parameters_,
    parameter_handles,
    read_parameters,
    wrap,
)
from fcit_app.model.base import BaseModel
from fcit_app.model.preserve import preserved
from fcit_app.model.stacked import BankSession
from fcit_app.model.vision import VisionFeatures
from fcit_app.train.collate import Collator, shuffled_batches
from fcit_app.train.loop import FitResult, TrainConfig, TrainingError, answer_loss, fit

CONFIG = TrainConfig(steps=4, batch_size=4, learning_rate=1e-2, projector_learning_rate=1e-3)
SAMPLES = toy_samples(10)


@pytest.fixture
def adapted(tiny_base: BaseModel) -> PeftModel:
    return wrap(tiny_base, RANK, SCALING)


@pytest.fixture
def handles(adapted: PeftModel) -> dict[str, Parameter]:
    return parameter_handles(adapted, projector=True)


@pytest.fixture
def start(handles: dict[str, Parameter]) -> Arrays:
    return read_parameters(handles) | initial_adapter(handles, seed=0)


@pytest.fixture
def run(tiny_base: BaseModel, tiny_vision: VisionFeatures, handles: dict[str, Parameter]) -> Any:
    def run(arrays: Arrays, seed: int = 1, **changes: Any) -> FitResult:
        options: dict[str, Any] = {
            "samples": SAMPLES,
            "vision": tiny_vision,
            "config": CONFIG,
        } | changes
        mine = {name: handles[name] for name in handles if name in arrays}
        return fit(tiny_base, mine, arrays, seed=seed, **options)

    return run


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_fit_is_a_pure_function(tiny_base: BaseModel, run: Any, dropout: float) -> None:
    wrap(tiny_base, RANK, SCALING, dropout)
    try:
        live = parameter_handles(wrap(tiny_base, RANK, SCALING, dropout), projector=True)
        begin = read_parameters(live) | initial_adapter(live, seed=0)

        def once(arrays: Arrays, seed: int) -> FitResult:
            cold = VisionFeatures(tiny_base)
            return fit(tiny_base, live, arrays, SAMPLES, cold, seed, CONFIG)

        first = once(begin, 5)
        torch.rand(3)
        np.random.rand(3)  # the global state must not matter
        other = once(first.arrays, 6)  # another client in between
        again = once(begin, 5)
    finally:
        wrap(tiny_base, RANK, SCALING)
    assert same_bits(first.arrays, again.arrays) and first.losses == again.losses
    assert not same_bits(first.arrays, begin) and not same_bits(first.arrays, other.arrays)


def test_the_model_is_left_exactly_as_it_was(adapted: PeftModel, start: Arrays, run: Any) -> None:
    before, random_state = fingerprint(adapted), torch.get_rng_state()
    numbers = {name: array.copy() for name, array in start.items()}
    result = run(start)
    assert fingerprint(adapted) == before
    assert torch.equal(torch.get_rng_state(), random_state)
    assert same_bits(start, numbers), "the arrays given are not written to"
    assert all(np.isfinite(array).all() for array in result.arrays.values())
    assert all((result.arrays[name] != start[name]).any() for name in start)


def test_dropout_is_used_in_training(tiny_base: BaseModel, start: Arrays, run: Any) -> None:
    expected = run(start).losses[1:]
    wrap(tiny_base, RANK, SCALING, 0.5)
    try:
        live = parameter_handles(wrap(tiny_base, RANK, SCALING, 0.5), projector=True)
        vision = VisionFeatures(tiny_base)
        result = fit(tiny_base, live, start, SAMPLES, vision, 1, CONFIG)
    finally:
        wrap(tiny_base, RANK, SCALING)
    assert result.losses[1:] != expected


def test_without_the_projector_it_stays(start: Arrays, run: Any) -> None:
    adapter = {name: array for name, array in start.items() if is_adapter(name)}
    result = run(adapter)
    assert result.arrays.keys() == adapter.keys()
    assert all((result.arrays[name] != start[name]).any() for name in adapter)


def test_gradients_reach_only_what_is_trained(
    tiny_base: BaseModel,
    tiny_vision: VisionFeatures,
    handles: dict[str, Parameter],
    start: Arrays,
    run: Any,
) -> None:
    reached: dict[bool, set[str]] = {}
    for projector in (False, True):
        arrays = {n: a for n, a in start.items() if projector or is_adapter(n)}
        seen: set[str] = set()

        def look(step: int, total: int, loss: float, into: set[str] = seen) -> None:
            trainable = dict(tiny_base.adapted.named_parameters()).items()  # type: ignore[union-attr]
            into.update(name for name, p in trainable if p.requires_grad)

        run(arrays, on_step=look)
        reached[projector] = {name.replace(".client.", ".") for name in seen}
        assert reached[projector] == set(arrays)


def test_the_loss_equals_the_models_own(
    tiny_base: BaseModel,
    tiny_vision: VisionFeatures,
    handles: dict[str, Parameter],
    start: Arrays,
) -> None:
    batch = Collator(tiny_base, SAMPLES).batch(range(6))
    vision = tiny_vision.of(SAMPLES[:6])
    with preserved(tiny_base.model, handles.values()), torch.no_grad():
        load_parameters_(handles, start)
        mine = answer_loss(tiny_base, batch, vision)
        own = tiny_base.model(
            inputs_embeds=tiny_base.embed(batch.input_ids, vision),
            attention_mask=(batch.input_ids != tiny_base.tokenizer.pad_token_id).long(),
            labels=batch.labels,
        ).loss
    torch.testing.assert_close(mine, own, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_the_loss_does_not_depend_on_padding_or_batch_mates(
    tiny_base: BaseModel, tiny_vision: VisionFeatures
) -> None:
    collator = Collator(tiny_base, SAMPLES)

    def total(places: list[int]) -> float:
        batch = collator.batch(places)
        tokens = int((batch.labels != -100).sum())
        features = tiny_vision.of([SAMPLES[place] for place in places])
        return float(answer_loss(tiny_base, batch, features)) * tokens

    alone = sum(total([place]) for place in range(4))
    assert total([0, 1, 2, 3]) == pytest.approx(alone, rel=1e-5)


def test_training_learns(start: Arrays, run: Any) -> None:
    config = dataclasses.replace(CONFIG, steps=40, learning_rate=2e-2)
    result = run(start, config=config, samples=SAMPLES[:4])
    assert result.loss_last < 0.5 * result.loss_first
    assert result.steps == 40 == len(result.losses)
    assert result.loss_first == result.losses[0] and result.loss_last == result.losses[-1]


def test_fit_equals_a_plain_loop_over_the_models_own_loss(
    tiny_base: BaseModel,
    tiny_vision: VisionFeatures,
    handles: dict[str, Parameter],
    start: Arrays,
    run: Any,
) -> None:
    """AdamW on fresh gradients, at rates 1/3, 2/3, 1 and 1/2 of the peak, cut to a norm of 1."""
    config = dataclasses.replace(CONFIG, warmup=0.5)
    actual = run(start, seed=2, config=config)
    collator = Collator(tiny_base, SAMPLES)
    parameters = list(handles.values())
    with preserved(tiny_base.model, parameters):
        load_parameters_(handles, start)
        for parameter in parameters:
            parameter.requires_grad_(True)
        rates = [1e-2 if is_adapter(name) else 1e-3 for name in handles]
        groups = [{"params": [p], "lr": lr} for p, lr in zip(parameters, rates, strict=True)]
        optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
        batches = shuffled_batches(len(SAMPLES), 4, 4, seed=2)
        for factor, places in zip((1 / 3, 2 / 3, 1, 1 / 2), batches, strict=True):
            batch = collator.batch(places)
            features = tiny_vision.of([SAMPLES[place] for place in places])
            embedded = tiny_base.embed(batch.input_ids, features)
            loss = tiny_base.model(inputs_embeds=embedded, labels=batch.labels).loss
            gradients = torch.autograd.grad(loss, parameters)
            length = torch.cat([gradient.ravel() for gradient in gradients]).norm()
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient / max(1.0, float(length))
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = factor * rate
            optimizer.step()
        expected = read_parameters(handles)
    for name in expected:
        np.testing.assert_allclose(actual.arrays[name], expected[name], rtol=1e-3, atol=1e-5)


def test_the_proximal_terms_gradient_is_mu_times_the_way_gone(
    tiny_base: BaseModel, tiny_vision: VisionFeatures, start: Arrays, run: Any
) -> None:
    """Plain descent with FedProx's gradient, g + mu (w - w_0), takes the same two steps."""
    mu = 3.0
    handles = parameter_handles(tiny_base.adapted, projector=True)  # type: ignore[arg-type]
    seen: dict[str, list[Tensor]] = {}
    config = dataclasses.replace(CONFIG, steps=2, max_gradient_norm=None, proximal_mu=mu)

    def note(step: int, total: int, loss: float) -> None:
        for name, handle in handles.items():
            seen.setdefault(name, []).append(handle.detach().clone())

    gradients: list[dict[str, Tensor]] = []
    cut = torch.nn.utils.clip_grad_norm_

    def spy(parameters: Any, norm: float) -> Tensor:
        gradients.append({n: h.grad.clone() for n, h in handles.items() if h.grad is not None})
        return cut(parameters, norm)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.utils, "clip_grad_norm_", spy)
        run(start, config=config, on_step=note)
    collator = Collator(tiny_base, SAMPLES)
    parameters = list(handles.values())
    batches = list(shuffled_batches(len(SAMPLES), 4, 2, seed=1))
    with preserved(tiny_base.model, parameters):
        for step, places in enumerate(batches):
            now = start if step == 0 else {name: seen[name][0].numpy() for name in seen}
            load_parameters_(handles, now)
            for parameter in parameters:
                parameter.requires_grad_(True)
            features = tiny_vision.of([SAMPLES[place] for place in places])
            loss = answer_loss(tiny_base, collator.batch(places), features)
            plain = torch.autograd.grad(loss, parameters)
            for (name, got), gradient in zip(gradients[step].items(), plain, strict=True):
                wanted = gradient + mu * torch.from_numpy(now[name] - start[name])
                torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-6)
    pulled = max(float((mu * (seen[n][0] - torch.from_numpy(start[n]))).abs().max()) for n in seen)
    assert pulled > 1e-3, "the term must matter for the comparison to say anything"


def test_a_proximal_term_holds_training_near_its_start(start: Arrays, run: Any) -> None:
    def distance(mu: float) -> float:
        arrays = run(start, config=dataclasses.replace(CONFIG, steps=8, proximal_mu=mu)).arrays
        return float(sum(np.square(arrays[name] - start[name]).sum() for name in start))

    free, held, tight = distance(0.0), distance(1.0), distance(100.0)
    assert tight < held < free


def test_without_a_proximal_term_nothing_changes(start: Arrays, run: Any) -> None:
    free, none = run(start), run(start, config=dataclasses.replace(CONFIG, proximal_mu=0.0))
    assert same_bits(free.arrays, none.arrays) and free.losses == none.losses
    held = run(start, config=dataclasses.replace(CONFIG, proximal_mu=1.0))
    assert held.losses[0] == free.losses[0], "the loss told is the answers' own"
    assert not same_bits(held.arrays, free.arrays)


def test_rates_of_adapter_and_projector_are_apart(start: Arrays, run: Any) -> None:
    frozen = run(start, config=dataclasses.replace(CONFIG, projector_learning_rate=0.0)).arrays
    for name, array in frozen.items():
        assert np.array_equal(array, start[name]) == (not is_adapter(name))


def test_gradients_are_cut_only_when_asked(start: Arrays, run: Any) -> None:
    free = run(start, config=dataclasses.replace(CONFIG, max_gradient_norm=None))
    wide = run(start, config=dataclasses.replace(CONFIG, max_gradient_norm=1e9))
    assert same_bits(free.arrays, wide.arrays)


def test_a_shard_smaller_than_a_batch_is_used_whole(start: Arrays, run: Any) -> None:
    few = run(start, samples=SAMPLES[:2], config=dataclasses.replace(CONFIG, steps=2))
    assert few.steps == 2


def test_progress_is_told_after_each_step(start: Arrays, run: Any) -> None:
    told: list[tuple[int, int, float]] = []
    result = run(start, on_step=lambda *step: told.append(step))
    assert told == [(n, 4, loss) for n, loss in enumerate(result.losses, start=1)]


def test_divergence_is_told_with_step_and_client(
    adapted: PeftModel, start: Arrays, run: Any
) -> None:
    before = fingerprint(adapted)
    wild = dataclasses.replace(CONFIG, steps=20, learning_rate=1e37, projector_learning_rate=1e37)
    with pytest.raises(TrainingError, match=r"client 3 diverged in step \d+ of 20.*train\.lr"):
        run(start, config=wild, client="client 3")
    assert fingerprint(adapted) == before
    assert issubclass(TrainingError, FcitError)


def test_no_training_while_a_bank_is_installed(
    tiny_base: BaseModel, handles: dict[str, Parameter], start: Arrays, run: Any
) -> None:
    with (
        BankSession(tiny_base, random_bank(handles, 1)),
        pytest.raises(RuntimeError, match="not active"),
    ):
        run(start)


def test_wrong_input_is_refused_and_changes_nothing(
    adapted: PeftModel, start: Arrays, run: Any
) -> None:
    before = fingerprint(adapted)
    with pytest.raises(DataError, match="client 4 has no samples"):
        run(start, samples=[], client="client 4")
    poisoned = {name: array * np.float32(np.nan) for name, array in start.items()}
    with pytest.raises(ModelError, match="starting point of client 4"):
        run(poisoned, client="client 4")
    assert fingerprint(adapted) == before
