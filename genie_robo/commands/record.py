"""`genie-robo record`: scripted policies in MuJoCo become an RLDS dataset."""

from pathlib import Path

from genie_robo.commands.base import Command
from genie_robo.config import RecordConfig


def run(config: RecordConfig) -> None:
    """Record, or keep what the same settings have recorded before."""
    from genie_robo.sim.record import RecordSpec, record_dataset

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


COMMAND = Command(
    name="record",
    summary="roll scripted policies in MuJoCo and write them as an RLDS dataset",
    config=RecordConfig,
    run=run,
    details=(
        "The dataset is array_record with RT-1 style 7-D actions, opens with "
        "tfds.builder_from_directory, and holds the simulator state of every step. It is written "
        "beside its place and moved there when it is complete. google_robot and wx250s are read "
        "from the folder that MENAGERIE_ROOT names, or from the package mujoco-menagerie."
    ),
    examples=(
        "genie-robo record path=datasets/tabletop",
        "genie-robo record path=datasets/google robot=google_robot",
        "genie-robo record path=datasets/big num_episodes=2000 image_size=128 renderer=egl",
        "genie-robo record path=datasets/pick pick=1 push=0 random=0 control_hz=5",
    ),
)
