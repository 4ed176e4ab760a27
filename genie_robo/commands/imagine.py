"""`genie-robo imagine`: what follows a prompt, beside what MuJoCo says happens."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from genie_robo.commands.base import Command
from genie_robo.config import ImagineConfig

if TYPE_CHECKING:
    from genie_robo.imagine.episode import ImaginedEpisode
    from genie_robo.imagine.prompts import Prompt
    from genie_robo.imagine.readers import RolloutReaders
    from genie_robo.imagine.steering import Steering
    from genie_robo.progress import Advance
    from genie_robo.trained_run import TrainedRun


def run(config: ImagineConfig) -> None:
    """Imagine what follows each prompt, then say where it is."""
    from rich.console import Console

    recordings = imagine_prompts(config)
    names = _run_names(config)
    shown = f"path={recordings[-1]}" if len(names) > 1 else f"run={names[0]}"
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"recordings  {' '.join(map(str, recordings))}", markup=False)
    console.print(f"look at it  genie-robo view {shown}", markup=False)


def imagine_prompts(config: ImagineConfig) -> list[Path]:
    """Write a recording, a video, a strip and tokens for each prompt; the recordings come back.

    Of several runs each gets its own, and one recording with all of them comes last.

    Raises:
        ValueError: Something that is asked for cannot be followed, or runs cannot be compared.
    """
    from genie_robo.imagine.pairs import check_one_truth, check_same_prompts, write_beside
    from genie_robo.progress import progress_bar
    from genie_robo.trained_run import open_run

    names = _run_names(config)
    if len(names) > 1:
        check_one_truth(config)
    # Everything that can be refused is known before the first frame is imagined.
    plans = {name: _plan(open_run(name, device=config.device), config) for name in names}
    check_same_prompts({name: plan.prompts for name, plan in plans.items()})
    num_frames = sum(len(plan.prompts) for plan in plans.values()) * config.horizon
    recordings: list[Path] = []
    episodes: dict[str, list[ImaginedEpisode]] = {}
    with progress_bar("imagine", total=num_frames, unit="frames") as advance:
        for name, plan in plans.items():
            if config.branches:
                recordings += _imagine_branches(plan, config, advance)
            else:
                written, episodes[name] = _imagine(plan, config, advance)
                recordings += written
    return [*recordings, write_beside(config, episodes)] if len(names) > 1 else recordings


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What one run is asked for."""

    trained: "TrainedRun"
    prompts: "list[Prompt]"
    steered: "list[Steering]"
    """By prompt; none with branches, which hold every code."""
    readers: "RolloutReaders"


def _plan(trained: "TrainedRun", config: ImagineConfig) -> _Plan:
    from genie_robo.imagine.prompts import find_prompts
    from genie_robo.imagine.readers import find_readers
    from genie_robo.imagine.steering import check_steering, steer

    check_steering(config, num_codes=trained.genie.latent_action.num_codes)
    prompts, follows = find_prompts(trained, config), not config.branches
    return _Plan(
        trained=trained,
        prompts=prompts,
        steered=[steer(trained, p, config, n) for n, p in enumerate(prompts) if follows],
        readers=find_readers(trained, num_labels=config.action_map.num_labels, poses=follows),
    )


def _imagine(
    plan: _Plan, config: ImagineConfig, advance: "Advance"
) -> "tuple[list[Path], list[ImaginedEpisode]]":
    from genie_robo.imagine.episode import imagine_prompt
    from genie_robo.imagine.files import write_episode

    recordings, episodes = [], []
    for number, (prompt, steering) in enumerate(zip(plan.prompts, plan.steered, strict=True)):
        episode = imagine_prompt(
            plan.trained, prompt, steering, config, number, advance, plan.readers
        )
        recordings.append(write_episode(plan.trained.folder.rollouts, episode))
        episodes.append(episode)
    return recordings, episodes


def _imagine_branches(plan: _Plan, config: ImagineConfig, advance: "Advance") -> list[Path]:
    from genie_robo.imagine.branches import Branches, imagine_branches, write_branches

    recordings = []
    for number, prompt in enumerate(plan.prompts):
        rollout = imagine_branches(plan.trained, prompt, config, number, advance)
        branches = Branches(rollout, plan.readers.action_map)
        recordings.append(write_branches(plan.trained.folder.rollouts, prompt, branches))
    return recordings


def _run_names(config: ImagineConfig) -> list[str]:
    from genie_robo.commands.run_names import run_names

    return run_names(config.run, command="imagine", purpose="the run folder that imagines")


COMMAND = Command(
    name="imagine",
    summary="imagine what follows a prompt, beside what MuJoCo says happens",
    config=ImagineConfig,
    run=run,
    details=(
        "A prompt is a test episode, a fresh simulated scene or a picture file. What follows is "
        "steered by the latent actions that the true frames imply, by the true robot actions, by "
        "codes or robot actions of your own, or at random; branches=true tries every code. In "
        "simulation MuJoCo is restored at the prompt frame and executes the same actions (of a "
        "code its mean robot action); elsewhere the dataset's own frames stand for the truth "
        "while they were reached by the same actions. Robot actions and codes are translated by a "
        "map that is fitted to action_map.num_labels steps of validation episodes and kept in "
        "RUN/action_map. Writes a Rerun recording, a video, a strip and an archive of tokens, "
        "actions and uncertainty for each prompt to RUN/rollouts. run=[A,B] asks several models "
        "from the same prompts, and writes one recording with all of them beside one truth to "
        "OUTPUT/rollouts. docs/imagination.md"
    ),
    examples=(
        "genie-robo imagine run=runs/demo",
        "genie-robo imagine run=runs/demo num_episodes=10 horizon=12 start=5",
        "genie-robo imagine run=runs/demo prompt=simulator actions=robot seed=7",
        "genie-robo imagine run=runs/demo prompt=sketch.png actions=[0,3,3,1] horizon=4",
        "genie-robo imagine run=runs/demo branches=true num_episodes=1",
        "genie-robo imagine run=[runs/demo,runs/longer] actions=robot",
        "genie-robo imagine run=runs/demo sampler.temperature=0.5 sampler.guidance=2",
    ),
)
