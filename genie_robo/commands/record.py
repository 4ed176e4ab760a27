"""`genie-robo record`: an RLDS dataset of scripted policies in MuJoCo."""

from genie_robo.config import RecordConfig
from genie_robo.sim.record import record_dataset


def run(config: RecordConfig) -> None:
    """Record; a folder that the same settings made is kept."""
    record_dataset(config)
