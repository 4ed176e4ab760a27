import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from genie_robo.workers import in_order


def wait(seconds: float, value: int) -> int:
    time.sleep(seconds)
    return value


def die() -> None:
    os._exit(9)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_results_come_in_the_order_of_the_jobs(num_workers):
    jobs = [(0.05 if value % 3 == 0 else 0.0, value) for value in range(12)]
    assert list(in_order(wait, jobs, num_workers=num_workers)) == list(range(12))


def test_a_killed_worker_is_a_readable_error():
    with pytest.raises(RuntimeError, match=r"one of 2 worker processes was killed.*fewer workers"):
        list(in_order(die, [(), ()], num_workers=2))


def test_closing_early_ends_the_workers():
    results = in_order(wait, [(0.0, value) for value in range(100)], num_workers=2)
    assert next(results) == 0
    results.close()
    assert list(results) == []


def test_workers_end_when_their_parent_is_killed(tmp_path):
    note = tmp_path / "workers"
    program = (
        "from pathlib import Path\n"
        "from test_workers import leave_note, in_order\n"
        "if __name__ == '__main__':\n"
        f"    list(in_order(leave_note, [(Path({str(note)!r}), i) for i in range(40)], "
        "num_workers=2))\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(program)
    note.mkdir()
    tests = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": f"{tests}{os.pathsep}{tests.parent}"}
    parent = subprocess.Popen([sys.executable, str(script)], env=environment)
    wait_until(lambda: len(list(note.iterdir())) == 2)
    parent.kill()
    parent.wait()

    workers = [int(path.name) for path in note.iterdir()]
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))

    assert len(workers) == 2


def test_processes_of_torchrun_end_with_its_agent(tmp_path):
    note = tmp_path / "worker"
    worker = (
        "import os, time\n"
        "from genie_robo.train.engine import make_fabric\n"
        "from genie_robo.config import EngineConfig\n"
        "make_fabric(EngineConfig(device='cpu', num_threads=1))\n"
        f"open({str(note)!r}, 'w').write(str(os.getpid()))\n"
        "time.sleep(600)\n"
    )
    agent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {worker!r}])"
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "TORCHELASTIC_RUN_ID": "none",
    }
    parent = subprocess.Popen([sys.executable, "-c", agent], env=environment)
    wait_until(lambda: note.exists() and note.read_text())
    parent.kill()
    parent.wait()

    worker_process = Path(f"/proc/{note.read_text()}")
    wait_until(lambda: not worker_process.exists())
    assert not worker_process.exists()


def test_importing_the_workers_module_is_light():
    """A worker whose parent is killed while it imports the rest ends as soon as it can."""
    program = (
        "import sys, genie_robo.workers\n"
        "sys.exit(str({'torch', 'numpy', 'mujoco', 'tensorflow_datasets'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr == "set()\n"


def leave_note(folder: Path, number: int) -> int:
    (folder / str(os.getpid())).touch()
    time.sleep(0.2)
    return number


def wait_until(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited 30 s"
        time.sleep(0.1)
