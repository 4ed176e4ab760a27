"""`genie-robo imagine`: what follows a prompt, beside what MuJoCo says happens."""

from pathlib import Path

from genie_robo.commands.base import Command
from genie_robo.config import ImagineConfig


def run(config: ImagineConfig) -> None:
    """Imagine what follows each prompt, then say where it is."""
    from rich.console import Console

    recordings = imagine_prompts(config)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"recordings  {' '.join(map(str, recordings))}", markup=False)
    console.print(f"look at it  genie-robo view run={config.run}", markup=False)


def imagine_prompts(config: ImagineConfig) -> list[Path]:
    """Write a recording, a video, a strip and tokens for each prompt; the recordings come back."""
    from genie_robo.commands.branches import Branches, imagine_branches, write_branches
    from genie_robo.commands.imagined_episode import imagine_prompt
    from genie_robo.commands.prompts import find_prompts
    from genie_robo.commands.rollout_files import write_episode
    from genie_robo.commands.rollout_readers import find_readers
    from genie_robo.commands.steering import check_steering, steer
    from genie_robo.commands.trained_run import open_run
    from genie_robo.progress import progress_bar

    trained = open_run(config.run, device=config.device)
    num_codes, folder = trained.genie.latent_action.num_codes, trained.folder.rollouts
    check_steering(config, num_codes=num_codes)
    prompts = find_prompts(trained, config)
    # Everything that can be refused is known before the first frame is imagined.
    steered = (
        [] if config.branches else [steer(trained, p, config, n) for n, p in enumerate(prompts)]
    )
    readers = find_readers(
        trained, num_labels=config.action_map.num_labels, poses=not config.branches
    )
    recordings: list[Path] = []
    with progress_bar("imagine", total=len(prompts) * config.horizon, unit="frames") as advance:
        for number, prompt in enumerate(prompts):
            if config.branches:
                rollout = imagine_branches(trained, prompt, config, number, advance)
                recording = write_branches(folder, prompt, Branches(rollout, readers.action_map))
            else:
                episode = imagine_prompt(
                    trained, prompt, steered[number], config, number, advance, readers
                )
                recording = write_episode(folder, episode)
            recordings.append(recording)
    return recordings


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
        "actions and uncertainty for each prompt to RUN/rollouts. docs/imagination.md"
    ),
    examples=(
        "genie-robo imagine run=runs/demo",
        "genie-robo imagine run=runs/demo num_episodes=10 horizon=12 start=5",
        "genie-robo imagine run=runs/demo prompt=simulator actions=robot seed=7",
        "genie-robo imagine run=runs/demo prompt=sketch.png actions=[0,3,3,1] horizon=4",
        "genie-robo imagine run=runs/demo branches=true num_episodes=1",
        "genie-robo imagine run=runs/demo sampler.temperature=0.5 sampler.guidance=2",
    ),
)
