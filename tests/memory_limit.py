"""Run code in a process that may reserve only so much more memory than its imports did."""

import os
import subprocess
import sys
from pathlib import Path

_LIMIT = """
import resource
from pathlib import Path
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + {extra_mb} * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
"""


def run_limited(imports: str, code: str, *words: object, extra_mb: int) -> str:
    """Outputs of Python code, whose `sys.argv[1:]` are the words."""
    program = "\n".join(["import sys", imports, _LIMIT.format(extra_mb=extra_mb), code])
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1"},
        timeout=120,
        check=False,
    )
    return done.stdout + done.stderr
