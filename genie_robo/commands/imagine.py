"""`genie-robo imagine`: rollouts from prompts, next to the ground truth."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from genie_robo.command_line import command_line, write_setting
from genie_robo.commands.checks import runs_that_imagine
from genie_robo.config import ImagineConfig
from genie_robo.data.sources import action_dim
from genie_robo.eval_context import find_world
from genie_robo.fit_trust import watch_run
from genie_robo.imagine.actions import check_one_truth, check_steering, steers_by_robot
from genie_robo.imagine.files import Branches, write_branches, write_comparison, write_episode
from genie_robo.imagine.names import beside_others
from genie_robo.imagine.pictures import needs_no_dataset
from genie_robo.imagine.prompts import check_same_prompts, find_prompts
from genie_robo.imagine.rollout import (
    RolloutReaders,
    find_readers,
    imagine_branches,
    imagine_prompt,
    saved_readers,
)
from genie_robo.imagine.steering import Steering, steer
from genie_robo.imagine.view import ImaginedEpisode, make_view
from genie_robo.inference.world import Codes, GenieWorld, World
from genie_robo.models.genie import Genie
from genie_robo.progress import Advance, progress_bar
from genie_robo.prompts import Clip
from genie_robo.run_lock import only_writer
from genie_robo.trained_run import TrainedRun, open_run


def run(config: ImagineConfig) -> None:
    """Imagine a rollout from each prompt, then print where the recordings are."""
    recordings = imagine_prompts(config)
    names = runs_that_imagine(config)
    shown = ("path", recordings[-1]) if len(names) > 1 else ("run", names[0])
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"recordings  {' '.join(map(str, recordings))}", markup=False)
    console.print(f"look at it  {command_line('view', write_setting(*shown))}", markup=False)


def imagine_prompts(config: ImagineConfig) -> list[Path]:
    """Write a recording, a video, a strip and tokens for each prompt; returns the recordings.

    Of several runs each gets its own, and one recording with all of them comes last.

    Raises:
        ValueError: The actions cannot steer from these prompts, or runs cannot be compared.
    """
    names = runs_that_imagine(config)
    if len(names) > 1:
        check_one_truth(config)
    # Everything that can be refused is refused before the first frame is imagined.
    opened = {name: _open(name, config) for name in names}
    with only_writer(*(trained.folder for trained in opened.values())):
        return _imagine_runs(config, opened)


def _imagine_runs(config: ImagineConfig, opened: Mapping[str, TrainedRun]) -> list[Path]:
    plans = {name: _plan(trained, config) for name, trained in opened.items()}
    check_same_prompts({name: plan.clips for name, plan in plans.items()})
    num_frames = sum(len(plan.clips) for plan in plans.values()) * config.horizon
    recordings: list[Path] = []
    episodes: dict[str, list[ImaginedEpisode]] = {}
    with progress_bar("imagine", total=num_frames, unit="frames") as advance:
        for name, plan in plans.items():
            if config.branches:
                recordings += _imagine_branches(plan, config, advance)
            else:
                written, episodes[name] = _imagine(plan, config, advance)
                recordings += written
    return [*recordings, write_comparison(config, episodes)] if len(plans) > 1 else recordings


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """The world, prompts and actions of one run."""

    trained: TrainedRun
    world: World
    clips: list[Clip]
    steered: list[Steering]
    """By prompt; empty with branches, which hold every code."""
    readers: RolloutReaders


def _plan(trained: TrainedRun, config: ImagineConfig) -> _Plan:
    check_steering(
        config,
        num_codes=trained.genie.latent_action.num_codes,
        action_dim=action_dim(trained.data.source),
        joint_names=trained.data.source.action.joint_names,
    )
    world = find_world(
        trained,
        config.world_model,
        genie=lambda: GenieWorld(_genie(trained, config), sampler=config.sampler),
    )
    clips = beside_others(trained, find_prompts(trained, config), config)
    is_steered, num_labels = not config.branches, config.action_map.num_labels
    steered = [steer(trained, clip, config, n) for n, clip in enumerate(clips) if is_steered]
    return _Plan(
        trained=trained,
        world=watch_run(
            trained,
            world,
            kinds={type(actions) for steering in steered for actions in steering.steps(world)}
            or {Codes},
            num_labels=num_labels,
            may_measure=not needs_no_dataset(config),
        ),
        clips=clips,
        steered=steered,
        readers=saved_readers(trained, num_labels=num_labels)
        if needs_no_dataset(config)
        else find_readers(trained, num_labels=num_labels, poses=is_steered),
    )


def _genie(trained: TrainedRun, config: ImagineConfig) -> Genie:
    """The Genie that was trained on robot actions, if these steer and there is one."""
    controlled = trained.robot_genie if steers_by_robot(config) else None
    return controlled or trained.genie


def _imagine(
    plan: _Plan, config: ImagineConfig, advance: Advance
) -> tuple[list[Path], list[ImaginedEpisode]]:
    recordings, episodes = [], []
    for number, (clip, steering) in enumerate(zip(plan.clips, plan.steered, strict=True)):
        seed = config.seed + number
        parts = imagine_prompt(
            plan.trained,
            plan.world,
            clip,
            steering,
            config,
            seed=seed,
            advance=advance,
            readers=plan.readers,
        )
        episodes.append(ImaginedEpisode(parts, make_view(parts, config, seed=seed)))
        recordings.append(write_episode(plan.trained.folder.rollouts, episodes[-1]))
    return recordings, episodes


def _imagine_branches(plan: _Plan, config: ImagineConfig, advance: Advance) -> list[Path]:
    recordings, num_codes = [], plan.trained.genie.latent_action.num_codes
    for number, clip in enumerate(plan.clips):
        seed = config.seed + number
        imagined = imagine_branches(
            plan.world, clip, config, num_codes=num_codes, seed=seed, advance=advance
        )
        branches = Branches(clip, imagined, plan.readers.action_map)
        recordings.append(write_branches(plan.trained.folder.rollouts, branches))
    return recordings


def _open(name: str, config: ImagineConfig) -> TrainedRun:
    return open_run(
        name, device=config.device, data=config.data, other_dataset=config.other_dataset
    )
