"""A trained Genie by the path of its run or of its export."""

from pathlib import Path

from genie_robo.api.exported import is_export, read_export
from genie_robo.api.loaded import LoadedGenie
from genie_robo.build import build_device
from genie_robo.config import ActionMapConfig
from genie_robo.fit_action_map import saved_action_map
from genie_robo.fit_trust import kept_usual
from genie_robo.inference.action_map import ActionMap
from genie_robo.inference.settings import Sampler
from genie_robo.inference.world import GenieWorld
from genie_robo.pretrained import CONFIG_FILE, Genie
from genie_robo.run_folder import RunFolder
from genie_robo.trained_run import TrainedRun, open_run


def load(path: str | Path, *, device: str = "auto", sampler: Sampler | None = None) -> LoadedGenie:
    """Load a trained Genie; opens no dataset and executes no code.

    Args:
        path: What `genie-robo export` wrote, or the folder of a finished run.
        device: auto, cpu or cuda.
        sampler: How frames are decoded; by default in one step.

    Raises:
        FileNotFoundError: It is neither, a file is missing, or training has not finished.
        ValueError: A file is damaged or of another version, or the device is not there.
    """
    folder = Path(path)
    if is_export(folder):
        return read_export(folder, device=build_device(device), sampler=sampler)
    run = RunFolder.at(folder)
    if not run.config.exists():
        state = "holds neither" if folder.is_dir() else "is no folder, so it cannot hold"
        raise FileNotFoundError(
            f"{folder} {state} {CONFIG_FILE} of `genie-robo export` or {run.config.name} of a run. "
            "Give one of these folders, such as exported/demo or runs/demo"
        )
    trained = open_run(str(folder), device=device)
    model = trained.robot_genie or trained.genie
    return of_run(trained, model, saved_action_map(trained), sampler=sampler)


def of_run(
    trained: TrainedRun, model: Genie, action_map: ActionMap | None, *, sampler: Sampler | None
) -> LoadedGenie:
    """One of the models of a run, with the trust that is kept in the run.

    Raises:
        ValueError: The file of the trust is damaged.
    """
    num_labels = ActionMapConfig.num_labels
    if action_map is not None:
        num_labels = int(action_map.origin.get("num_labels", num_labels))
    sampler = sampler or Sampler()
    world = GenieWorld(model, sampler=sampler)
    usual = kept_usual(trained, world, num_labels=num_labels)
    return LoadedGenie(model, action_map=action_map, usual=usual, sampler=sampler)
