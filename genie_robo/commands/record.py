"""`genie-robo record`: scripted policies in MuJoCo become an RLDS dataset."""

from pathlib import Path

from genie_robo.config import RecordConfig
from genie_robo.sim.record import RecordSpec, record_dataset


def run(config: RecordConfig) -> None:
    """Record; a folder that the same settings made is kept."""
    spec = RecordSpec(
        num_episodes=config.num_episodes,
        num_steps=config.num_steps,
        control_hz=config.control_hz,
        image_size=(config.image_size, config.image_size),
        robot=config.robot,
        renderer=config.renderer.value,
        pick=config.pick,
        push=config.push,
        random=config.random,
        seed=config.seed,
        num_workers=config.num_workers,
    )
    record_dataset(Path(config.path), spec)
