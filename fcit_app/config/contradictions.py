"""Settings that are each allowed but contradict each other, told from the configuration alone.

What has to be looked up on the disk, in the installed packages or in the federation is foreseen by
``fcit_app.preflight``.
"""

from __future__ import annotations

from fcit_app.config.paths import is_hub_name
from fcit_app.config.schema import RunConfig


def contradictions(config: RunConfig) -> list[str]:
    """Find what a configuration says against itself.

    Returns
    -------
    list[str]
        One sentence a problem: a base without revisions has one, general ability is asked of a base
        without a skill set, more prompts are to be taken from a pool than it has, the method cannot
        have the projector asked for, a method without clients is to be evaluated by them or to keep
        its answers, a round needs more replies than it has participants, noise has no bound or
        meets prototypes or importances, a codec is to feed back that cannot, or there are too few
        samples to exchange pictures.
    """
    checks = (
        _no_revisions,
        _no_skill_set,
        _more_prompts_than_there_are,
        _one_projector_only,
        _nobody_to_share_with,
        _more_replies_than_participants,
        _noise_that_hides_nothing,
        _nothing_to_feed_back,
        _too_few_to_exchange,
    )
    return [problem for check in checks for problem in check(config)]


def _no_revisions(config: RunConfig) -> list[str]:
    model = config.model
    if not model.revision or is_hub_name(model.name):
        return []
    return [
        f"model.revision: {model.revision!r} is not allowed for {model.name!r}, which has no "
        "revisions; allowed: nothing. Only a checkpoint's name, organisation/model, has some."
    ]


def _no_skill_set(config: RunConfig) -> list[str]:
    if not config.evaluate.general or config.model.name == "mini":
        return []
    return [
        f"evaluate.general: true is not allowed for the base {config.model.name!r}, which has no "
        "held-out skill set; allowed: false. Only the base mini has one (model.name = mini)."
    ]


def _more_prompts_than_there_are(config: RunConfig) -> list[str]:
    if config.l2p.top <= config.l2p.pool:
        return []
    return [
        f"l2p.top: {config.l2p.top} is not allowed; allowed: a whole number from 1 to l2p.pool, "
        f"which is {config.l2p.pool}. Lower l2p.top or raise l2p.pool."
    ]


def _one_projector_only(config: RunConfig) -> list[str]:
    if config.projector != "per-subspace" or config.method == "disco":
        return []
    return [
        f"projector: 'per-subspace' is not allowed for method {config.method}, which has no "
        "subspaces; allowed: shared, frozen (or method = disco)."
    ]


def _nobody_to_share_with(config: RunConfig) -> list[str]:
    if config.federated:
        return []
    evaluate, method = config.evaluate, config.method
    problems = []
    if evaluate.where != "server":
        problems.append(
            f"evaluate.where: {evaluate.where!r} is not allowed with method {method}, which has no "
            "clients; allowed: server."
        )
    if evaluate.predictions:
        problems.append(
            f"evaluate.predictions: true is not allowed with method {method}, whose answers are "
            "not kept; allowed: false."
        )
    return problems


def _more_replies_than_participants(config: RunConfig) -> list[str]:
    if config.min_clients <= config.clients_per_round:
        return []
    return [
        f"min-clients: {config.min_clients} is not allowed; allowed: a whole number from 1 to "
        f"clients-per-round, which is {config.clients_per_round}. Lower min-clients or raise "
        "clients-per-round."
    ]


def _noise_that_hides_nothing(config: RunConfig) -> list[str]:
    identity, problems = config.identity, []
    if identity.noise > 0 and identity.clip == 0:
        problems.append(
            f"identity.clip: {identity.clip:g} is not allowed with identity.noise = "
            f"{identity.noise:g}; allowed: a number above 0. Noise hides a sample only if there is "
            "a bound on what a sample can change. Set identity.clip to the length of the encoder's "
            "features (1 for hashed-ngrams and sentence-transformers)."
        )
    if identity.noise > 0 and identity.prototypes > 0:
        problems.append(
            f"identity.prototypes: {identity.prototypes} is not allowed with identity.noise = "
            f"{identity.noise:g}; allowed: 0. One sample can change how all the others divide into "
            "clusters, which this noise does not hide."
        )
    privacy = config.privacy
    if privacy.update_noise > 0 and privacy.update_clip == 0:
        problems.append(
            f"privacy.update-clip: {privacy.update_clip:g} is not allowed with "
            f"privacy.update-noise = {privacy.update_noise:g}; allowed: a number above 0. Noise "
            "hides a client's data only if there is a bound on what they can change."
        )
    if privacy.update_noise > 0 and config.method == "ewc":
        problems.append(
            f"privacy.update-noise: {privacy.update_noise:g} is not allowed for method ewc, whose "
            "clients also send what they measure of their data without noise; allowed: 0."
        )
    return problems


def _nothing_to_feed_back(config: RunConfig) -> list[str]:
    if not config.codec_feedback or config.codec == "int8":
        return []
    return [
        f"codec-feedback: true is not allowed with codec = {config.codec}; allowed: false (or "
        "codec = int8)."
    ]


def _too_few_to_exchange(config: RunConfig) -> list[str]:
    if config.method != "blind":
        return []
    sizes = {
        "data.train-samples": config.data.train_samples,
        "data.test-samples": config.data.test_samples,
    }
    return [
        f"{key}: {size} is not allowed; allowed for method blind, which exchanges pictures "
        "between samples: a whole number, at least 2."
        for key, size in sizes.items()
        if size < 2
    ]
