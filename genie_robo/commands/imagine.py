"""`genie-robo imagine`: test episodes imagined from a prompt, beside what MuJoCo says happens."""

from genie_robo.commands.base import Command
from genie_robo.config import ImagineConfig


def run(config: ImagineConfig) -> None:
    """Imagine the first test episodes of a run and write recordings, videos and strips."""
    from genie_robo.commands.imagined_episode import imagine_episode, write_episode
    from genie_robo.commands.trained_run import open_run
    from genie_robo.progress import progress_bar
    from genie_robo.types import Split

    trained = open_run(config.run, device=config.device)
    windows = trained.windows(Split.test)
    count = min(config.num_episodes, len(windows.episodes))
    with progress_bar("imagine", total=count * config.horizon, unit="frames") as advance:
        for number in range(count):
            episode = imagine_episode(trained, windows, number, config, advance)
            write_episode(trained.folder.rollouts, f"episode_{number:03d}", episode)


COMMAND = Command(
    name="imagine",
    summary="imagine test episodes from their first frame, beside what MuJoCo says happens",
    config=ImagineConfig,
    run=run,
    details=(
        "Latent actions are inferred from the true frames, and the world model imagines what "
        "follows the prompt under them. In recorded simulation MuJoCo is restored at the prompt "
        "frame and executes the true robot actions; elsewhere the dataset's own frames stand for "
        "the truth. Writes a Rerun recording, a video, a strip and the tokens of each episode to "
        "RUN/rollouts."
    ),
    examples=(
        "genie-robo imagine run=runs/demo",
        "genie-robo imagine run=runs/demo num_episodes=10 horizon=12 start=5",
        "genie-robo imagine run=runs/demo sampler.temperature=0.5 sampler.num_steps=10",
    ),
)
