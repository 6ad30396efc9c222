"""How long a user waits: `import lrscope`, and `lrscope map` on digits up to the first step of training.

    python benchmarks/start.py [--times 5]

The last line is one JSON object; `ours` is the seconds to the first step, `baseline` the goal of 5 s.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import last_line

GOAL = 5.0
IMPORT = """
import sys, time
begun = time.perf_counter()
import lrscope
print(time.perf_counter() - begun)
assert "torch" not in sys.modules
"""
# The command line as it is, except that the first chunk to begin says when, and ends everything.
FIRST = """
import os, signal, sys, time
from pathlib import Path
import lrscope.engine.chunk as chunk

said, out = sys.argv[1:]

def begin(*_):
    Path(said).write_text(str(time.monotonic()))
    os.killpg(0, signal.SIGKILL)

chunk.ChunkTrainer.run = begin
sys.argv = ["lrscope", "map", "--data", "digits", "--out", out]
from lrscope.cli import main
main()
"""


def importing() -> float:
    """Seconds of `import lrscope` in a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
    return float(done.stdout)


def first_step() -> float:
    """Seconds from starting the process to the first training step."""
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "when"
        command = [sys.executable, "-c", FIRST, str(said), str(Path(folder) / "out")]
        begun = time.monotonic()
        subprocess.run(command, capture_output=True, check=False, start_new_session=True)
        return float(said.read_text()) - begun


def main() -> None:
    """Time both, the shortest of several."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    imported = min(importing() for _ in range(options.times))
    first = min(first_step() for _ in range(options.times))
    print(
        f"import lrscope: {imported:.3f} s (goal 0.3 s); lrscope map to the first step: {first:.2f} s (goal {GOAL:g} s)"
    )
    last_line("start", first, GOAL, "s", import_seconds=imported)


if __name__ == "__main__":
    main()
