"""The map between a run's latent actions and the robot's: fitted on val, measured on test."""

import logging
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from genie_robo.checkpoint import weights_digest
from genie_robo.eval_suites.adapters import GenieEncoder
from genie_robo.eval_suites.rollouts import read_episodes
from genie_robo.eval_suites.statistics import (
    Estimate,
    bootstrap,
    episode_sums,
    mean_r2,
    ratio_of_sums,
)
from genie_robo.inference.action_map import (
    ActionDictionary,
    ActionMap,
    ActionMapReport,
    CodeRegressor,
    LatentRegressor,
    Measured,
)
from genie_robo.run_lock import only_writer
from genie_robo.trained_run import TrainedRun
from genie_robo.types import Split, action_names

MAX_TEST_EPISODES = 50
_UNKNOWN = Measured(None, None)

_log = logging.getLogger(__name__)


class Labels(NamedTuple):
    """Transitions with both kinds of action."""

    codes: Int[np.ndarray, " n"]
    latents: Float[np.ndarray, "n e"]
    robot_actions: Float[np.ndarray, "n a"]
    """From frame to frame: composed from the actions of the steps between them."""
    episode: Int[np.ndarray, " n"]
    """Number of the transition's episode, from 0."""
    mask: Bool[np.ndarray, " a"]
    """Dimensions that the dataset has."""


def fetch_action_map(trained: TrainedRun, *, num_labels: int) -> ActionMap:
    """The action map in a run's folder; a missing or outdated one is fitted and saved.

    On another dataset than the run's own it is fitted and not saved.

    Raises:
        ValueError: The saved one is damaged, there are no labels, or an action is not finite.
        RuntimeError: Another process writes into the run.
    """
    if not trained.is_own_data:
        return fit_action_map(trained, num_labels=num_labels, origin={})
    origin = {
        **_origin(trained, num_labels=num_labels),
        "fit": trained.windows(Split.val).fingerprint,
        "test": trained.windows(Split.test).fingerprint,
    }
    try:
        found = ActionMap.load(trained.folder.action_map)
    except FileNotFoundError:
        found = None
    if found and found.origin == origin:
        return found
    fitted = fit_action_map(trained, num_labels=num_labels, origin=origin)
    with only_writer(trained.folder):
        fitted.save(trained.folder.action_map)
    return fitted


def saved_action_map(trained: TrainedRun, *, num_labels: int | None = None) -> ActionMap | None:
    """The action map in a run's folder if it is of these models; opens no dataset.

    `num_labels` asks for one of as many labels.

    Raises:
        ValueError: It is damaged.
    """
    try:
        found = ActionMap.load(trained.folder.action_map)
    except FileNotFoundError:
        return None
    wanted = _origin(trained, num_labels=num_labels)
    return found if found.origin.items() >= wanted.items() else None


def _origin(trained: TrainedRun, *, num_labels: int | None) -> dict[str, str | int]:
    models: dict[str, str | int] = {
        "latent_action": weights_digest(trained.folder, "latent_action"),
        "tokenizer": weights_digest(trained.folder, "tokenizer"),
    }
    return models if num_labels is None else models | {"num_labels": num_labels}


def find_action_map(trained: TrainedRun, *, num_labels: int) -> ActionMap | None:
    """The result of `fetch_action_map`; None, with a warning, where that fails."""
    try:
        return fetch_action_map(trained, num_labels=num_labels)
    except ValueError as error:
        _log.warning("latent actions stay without robot actions: %s", error)
        return None


def fit_action_map(
    trained: TrainedRun, *, num_labels: int, origin: dict[str, str | int]
) -> ActionMap:
    """Fit to the first labels of the val episodes, which are in random order.

    Raises:
        ValueError: There are no labels, or an action is not finite.
    """
    num_codes = trained.genie.latent_action.num_codes
    fit = _collect_labels(trained, Split.val, max_labels=num_labels)
    test = _collect_labels(trained, Split.test, max_episodes=MAX_TEST_EPISODES)
    dictionary = ActionDictionary.fit(fit.codes, fit.robot_actions, num_codes=num_codes)
    regressor = CodeRegressor.fit(fit.robot_actions, fit.codes, num_codes=num_codes)
    latents = LatentRegressor.fit(fit.robot_actions, fit.latents)
    return ActionMap(
        dictionary=dictionary,
        regressor=regressor,
        latents=latents,
        report=measure(
            dictionary, regressor, latents, fit=fit, test=test, names=trained.dataset.action_names
        ),
        origin=origin,
    )


def _collect_labels(
    trained: TrainedRun,
    split: Split,
    *,
    max_labels: int | None = None,
    max_episodes: int | None = None,
) -> Labels:
    """Transitions of the episodes of one split, whole episodes until there are enough.

    Raises:
        ValueError: There is none.
    """
    rows = []
    num_found = 0
    for row in _read(trained, split, max_episodes=max_episodes):
        rows.append(row)
        num_found += len(row[0])
        if max_labels is not None and num_found >= max_labels:
            break
    if num_found == 0 or (max_labels is not None and max_labels < 1):
        raise ValueError(
            f"an action map needs labelled steps of {split.value} episodes, but there are "
            f"{num_found} and action_map.num_labels={max_labels}"
        )
    codes, latents, actions, masks = zip(*rows, strict=True)
    episode = np.repeat(np.arange(len(rows)), [len(row) for row in codes])
    return Labels(
        np.concatenate(codes)[:max_labels],
        np.concatenate(latents)[:max_labels],
        np.concatenate(actions)[:max_labels].astype(np.float64),
        episode[:max_labels],
        np.all(masks, axis=0),
    )


def measure(
    dictionary: ActionDictionary,
    regressor: CodeRegressor,
    latents: LatentRegressor,
    *,
    fit: Labels,
    test: Labels,
    names: Sequence[str] = (),
) -> ActionMapReport:
    """Accuracy of all three maps on test episodes; `names` are those of a robot action."""
    errors = (dictionary.mean(test.codes) - test.robot_actions) ** 2
    deviations = (fit.robot_actions.mean(0) - test.robot_actions) ** 2
    num_episodes = int(test.episode.max()) + 1
    sums = episode_sums(np.stack([errors, deviations], 1), test.episode, num_episodes=num_episodes)
    hits = regressor.predict(test.robot_actions) == test.codes
    counts = np.stack([hits, np.ones_like(hits)], 1).astype(float)
    hit_sums = episode_sums(counts, test.episode, num_episodes=num_episodes)
    majority = np.bincount(fit.codes).argmax()
    known = fit.mask & test.mask
    latent_errors = (latents.predict(test.robot_actions) - test.latents) ** 2
    spread = (fit.latents.mean(0) - test.latents) ** 2
    latent_sums = episode_sums(
        np.stack([latent_errors, spread], 1), test.episode, num_episodes=num_episodes
    )
    return ActionMapReport(
        num_labels=len(fit.codes),
        num_fit_episodes=int(fit.episode.max()) + 1,
        num_test_steps=len(test.codes),
        num_test_episodes=num_episodes,
        r2={
            name: _measured(bootstrap(sums[:, :, [d]], mean_r2)) if known[d] else _UNKNOWN
            for d, name in enumerate(names or action_names(len(known)))
        },
        accuracy=_measured(bootstrap(hit_sums, ratio_of_sums)),
        majority=float((test.codes == majority).mean()),
        latent_r2=tuple(
            _measured(bootstrap(latent_sums[:, :, [d]], mean_r2))
            for d in range(test.latents.shape[1])
        ),
    )


def _measured(estimate: Estimate) -> Measured:
    return Measured(estimate.value, estimate.ci95)


def _read(
    trained: TrainedRun, split: Split, *, max_episodes: int | None
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Codes, latents, robot actions and action mask, episode by episode."""
    windows = trained.windows(split)
    encoder = GenieEncoder(genie=trained.genie, device=trained.device)
    count = max_episodes or len(windows.episodes)
    description = f"action map: {split.value}"
    for _, window in read_episodes(windows, max_episodes=count, description=description):
        num_transitions = int((~window.is_pad[1:]).sum())
        codes, latents = encoder.encode(window)
        labels = window.robot_actions[:num_transitions]
        yield codes[:num_transitions], latents[:num_transitions], labels, window.action_mask
