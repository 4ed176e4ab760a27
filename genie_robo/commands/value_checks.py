"""Checks of settings by themselves, or against those of a run: what fails is a usage error.

Nothing here imports torch, or looks at a dataset.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from genie_robo import config as cfg
from genie_robo.commands.command import UsageError
from genie_robo.commands.suite_settings import checked_suites
from genie_robo.eval_suites.bounds import check_window
from genie_robo.imagine.actions import check_steering
from genie_robo.models.sizes import check_sizes, count_latent_actions
from genie_robo.settings import check_numbers
from genie_robo.train.label_checks import check_labels, number_of_labels
from genie_robo.train.settings import check_loggers

_NO_LABELS = "0"
"""Value of `labels` with which no robot control is trained."""
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?|mps")


@contextmanager
def usage_errors() -> Iterator[None]:
    """Errors of this block are about settings: the command line is wrong, with status 2."""
    try:
        yield
    except (ValueError, KeyError) as error:
        raise UsageError(error.args[0]) from error


def check_ranges(config: Any) -> None:
    """Every number in the range of its field."""
    with usage_errors():
        check_numbers(config)


def check_device(name: str, *, setting: str = "device") -> None:
    """Refuse a device that no machine has.

    Raises:
        UsageError: It is no name of a device.
    """
    if not _DEVICE.fullmatch(name):
        raise UsageError(
            f"{setting}={name} is no device; choose one of auto, cpu, cuda, cuda:NUMBER and mps"
        )


def check_training(config: cfg.TrainConfig | cfg.DemoConfig, stage: cfg.Stage) -> None:
    """Numbers in range, a model that can be built, batches that can be divided, known labels."""
    if not config.run:
        raise UsageError("run= is empty: name a folder to train in")
    check_ranges(config)
    check_device(config.engine.device, setting="engine.device")
    with usage_errors():
        _check_transitions(config, stage)
        check_sizes(config.model, (config.data.image_height, config.data.image_width))
        if config.labels != _NO_LABELS:
            number_of_labels(config)
        for each in stage.trained:
            check_labels(each, config)
            config.engine.part_size(getattr(config, each).batch_size)


def _check_transitions(config: cfg.TrainConfig | cfg.DemoConfig, stage: cfg.Stage) -> None:
    """Windows of a latent action have a frame before and after it."""
    for each in stage.trained:
        num_frames = config.world_model.num_frames
        if each is not cfg.Stage.tokenizer and num_frames < 2:
            raise ValueError(
                f"world_model.num_frames={num_frames} must be at least 2: latent actions lead from "
                "a frame to the next"
            )


def check_live(config: cfg.TrainConfig) -> None:
    """An address that a viewer can have, and loggers that are installed.

    Raises:
        ImportError: A logger is not installed.
        UsageError: The address is not HOST:PORT.
    """
    from genie_robo.viz.live import check_address  # imports numpy

    with usage_errors():
        check_address(config.viewer)
    check_loggers(config.loggers)


def check_suites(suites: Mapping[str, Any], windows: Sequence[int]) -> None:
    """Settings of suites that an evaluation can use, in models that see so many frames at once."""
    with usage_errors():
        for suite in checked_suites(suites):
            for num_frames in windows:
                check_window(suite, num_frames)


def check_actions(config: cfg.RolloutConfig, model: cfg.ModelConfig, data: cfg.DataConfig) -> None:
    """A horizon, and actions that a model knows."""
    from genie_robo.data.sources import action_dim  # imports numpy

    with usage_errors():
        check_steering(
            config,
            num_codes=count_latent_actions(model.latent_action),
            action_dim=action_dim(data.source),
            joint_names=data.source.action.joint_names,
        )
