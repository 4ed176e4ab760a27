"""`rerun-importer-genie-robo`: what `rerun PATH` shows of a run or of an RLDS folder."""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from genie_robo.run_folder import RunFolder
from genie_robo.viz.importer import FAILED, NOT_OURS, OK, Found, Kind, find

NUM_EPISODES = 5
"""Of a dataset, evenly spread."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Answer the Rerun viewer: recordings on standard output, errors on standard error."""
    parser = argparse.ArgumentParser(
        prog="rerun-importer-genie-robo",
        description="What the Rerun viewer shows of a run or an RLDS folder; the viewer starts it.",
    )
    parser.add_argument("path", type=Path)
    parser.add_argument("--application-id", default="")
    options, _ = parser.parse_known_args(arguments)
    try:
        return _answer(find(options.path, application_id=options.application_id))
    except BrokenPipeError:  # the viewer was closed
        return FAILED
    except (ValueError, KeyError, OSError, ImportError) as error:
        sys.stderr.write(f"{error}\n")
        return FAILED


def _answer(found: Found) -> int:
    match found.kind:
        case Kind.foreign:
            return NOT_OURS
        case Kind.run:
            for recording in sorted(RunFolder(found.folder).rollouts.glob("*.rrd")):
                _send(recording)
        case Kind.dataset:
            with TemporaryDirectory() as temporary:
                recording = Path(temporary) / "episodes.rrd"
                _record(found.folder, recording)
                _send(recording)
        case Kind.ours:
            pass
    return OK


def _record(folder: Path, recording: Path) -> None:
    # The viewer starts this program for every path; most of them need no torch.
    from genie_robo.inspection.facts import record_first

    record_first(folder, recording, num_episodes=NUM_EPISODES)


def _send(recording: Path) -> None:
    with recording.open("rb") as file:
        shutil.copyfileobj(file, sys.stdout.buffer)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
