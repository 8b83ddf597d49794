"""The server in a process of its own beside the server embedded in the measuring process, in turn.

Each round measures this checkout and that of a version before (47df98c), one after the other on the same
machine, by the `benchmarks/live.py` of each. The table has ratios: this one over the old one. `prompt` is the
time from the command `ipython --profile-dir=profile_collection` to its first input, on a data directory that
is there: by a session that starts the server, and by one that joins it.

    git worktree add ../old 47df98c
    python benchmarks/server_process.py --old ../old [--rounds 3] [--only prompt] [--without lighter_requests]

`--without` leaves out one of what makes the server quicker (lighter_requests, new_files, frozen, priority),
to see what it is good for. `--no-judging` leaves out, in the burst, the statistics by which odd frames are
told, which the version before did not have. Run it on an idle machine; a round takes about ten minutes on
two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parents[1]

METRICS = {
    "live_over_engine": "burst: frames/s over those of the engine",
    "scan_overhead": "step scan: seconds over those without classification",
    "label_p99_ms": "frame to label (ms, 99th percentile)",
    "stored_p50_ms": "frame to stored, seen by another client (ms, median)",
    "stored_p99_ms": "frame to stored, seen by another client (ms, 99th percentile)",
    "prompt_s": "start to prompt (s)",
    "prompt_joined_s": "start to prompt, beside an open session (s)",
}
STEPS = {"burst": "engine_and_burst", "paced": "paced", "stored": "stored", "overhead": "overhead"}
OLD, NEW = "embedded", "process"
PARTS = ["lighter_requests", "new_files", "frozen", "priority"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--old", type=Path, required=True, help="checkout with the embedded server")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frames", type=int, default=2000, help="of the burst")
    parser.add_argument("--only", action="append", choices=[*STEPS, "prompt"])
    parser.add_argument("--without", action="append", choices=PARTS)
    parser.add_argument("--no-judging", action="store_true")
    parser.add_argument("--out", type=Path, help="write the numbers of each round into a JSON file")
    options = parser.parse_args()
    checkouts = {OLD: options.old.resolve(), NEW: HERE}
    rounds: list[dict[str, dict[str, float]]] = []
    for number in range(options.rounds):
        names = [OLD, NEW] if number % 2 == 0 else [NEW, OLD]  # what comes first finds a cooler machine
        rounds.append({name: _measure(checkouts[name], name, options) for name in names})
        print(f"round {number + 1}: {json.dumps(rounds[-1])}", file=sys.stderr)
    if options.out is not None:
        options.out.write_text(json.dumps(rounds, indent=1) + "\n")
    print(f"| | {OLD} | {NEW} | {NEW} / {OLD}, of each round |\n|---|---|---|---|")
    for metric, what in METRICS.items():
        values = {name: [one[name][metric] for one in rounds if metric in one[name]] for name in checkouts}
        if not values[NEW]:
            continue
        ratios = [new / old for new, old in zip(values[NEW], values[OLD], strict=False)]
        cells = [f"{statistics.median(values[name]):.4g}" if values[name] else "" for name in (OLD, NEW)]
        print(f"| {what} | {' | '.join(cells)} | {', '.join(f'{ratio:.3f}' for ratio in ratios)} |")


def _measure(checkout: Path, name: str, options: argparse.Namespace) -> dict[str, float]:
    wanted = options.only or [*STEPS, "prompt"]
    environment = os.environ | {"PYTHONPATH": str(checkout), "SPECKLE_SERVER_IDLE": "0"}
    if options.without:
        environment["SPECKLE_SERVER_WITHOUT"] = ",".join(options.without)
    numbers: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        steps = [step for key, step in STEPS.items() if key in wanted]
        if steps:
            out = Path(folder) / "numbers.json"
            out.write_text((checkout / "benchmarks" / "latest.json").read_text())
            command = [sys.executable, str(checkout / "benchmarks" / "live.py"), "--out", str(out)]
            command += ["--frames", str(options.frames), *(f"--only={step}" for step in steps)]
            if name == NEW and options.no_judging:
                command.append("--no-judging")
            subprocess.run(command, check=True, cwd=checkout, env=environment, stdout=subprocess.DEVNULL)
            measured: dict[str, Any] = json.loads(out.read_text())
            metrics = {
                "engine_and_burst": "live_over_engine",
                "paced": "label_p99_ms",
                "overhead": "scan_overhead",
            }
            numbers = {metrics[step]: measured[metrics[step]] for step in steps if step in metrics}
            if "stored" in steps:
                numbers |= {key: measured[key] for key in ("stored_p50_ms", "stored_p99_ms")}
        if "prompt" in wanted:
            environment |= {key: str(Path(folder) / key) for key in ("TILED_PROFILES", "IPYTHONDIR")}
            data = Path(folder) / "data"
            _prompt(checkout, data, environment)  # makes the directory
            numbers["prompt_s"] = min(_prompt(checkout, data, environment) for _ in range(2))
            if name == NEW:
                code = "import sys; from speckle_plugin.store import TiledStore as S; S(sys.argv[1]); input()"
                command = [sys.executable, "-c", code, str(data)]
                with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as other:
                    _prompt(checkout, data, environment)  # when this is through, the other one is open
                    numbers["prompt_joined_s"] = min(_prompt(checkout, data, environment) for _ in range(2))
                    other.communicate(b"\n")
    return numbers


def _prompt(checkout: Path, data: Path, environment: dict[str, str]) -> float:
    """Give the seconds from the command to the prompt."""
    profile = checkout / "profile_collection"
    # The network loads behind the prompt: the version before does not end well while it does.
    code = "import time; print('PROMPT', time.time()); session.live.classifier"
    command = [sys.executable, "-m", "IPython", f"--profile-dir={profile}", "-c", code]
    started = time.time()
    done = subprocess.run(
        command,
        check=True,
        cwd=data.parent,
        env=environment | {"SPECKLE_DATA": str(data)},
        stdout=subprocess.PIPE,
        text=True,
    )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("PROMPT")]
    return float(line.split()[1]) - started


if __name__ == "__main__":
    main()
