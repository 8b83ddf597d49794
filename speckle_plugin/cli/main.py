"""All commands in one place, in the order of the help.

To add a command, write its function in a module of its own, decorate it with
:func:`speckle_plugin.cli.errors.clear_errors`, and register it below. The modules import
numpy, TensorFlow and the like inside their functions, so that the help appears at once.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from speckle_plugin.cli.bench import bench
from speckle_plugin.cli.calibrate import calibrate
from speckle_plugin.cli.center import center
from speckle_plugin.cli.classify import classify
from speckle_plugin.cli.complete import complete
from speckle_plugin.cli.curve import curve
from speckle_plugin.cli.demo import demo
from speckle_plugin.cli.doctor import doctor
from speckle_plugin.cli.errors import clear_errors, traceback_wanted
from speckle_plugin.cli.evaluate import evaluate
from speckle_plugin.cli.explain import explain
from speckle_plugin.cli.figures import figures
from speckle_plugin.cli.models import models_app
from speckle_plugin.cli.monitor import monitor
from speckle_plugin.cli.query import query, replay
from speckle_plugin.cli.report import report
from speckle_plugin.cli.retrain import retrain
from speckle_plugin.cli.serve import serve
from speckle_plugin.cli.simulate import simulate
from speckle_plugin.cli.solve import solve
from speckle_plugin.cli.train import train
from speckle_plugin.cli.worker import worker

__all__ = ["app"]

app = typer.Typer(
    name="speckle",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command()(demo)
app.command()(monitor)
app.command()(query)
app.command()(simulate)
app.command()(classify)
app.command()(center)
app.command()(explain)
app.command()(report)
app.command()(solve)
app.command()(train)
app.command()(evaluate)
app.command()(calibrate)
app.command()(retrain)
app.add_typer(models_app, name="models")
app.command()(complete)
app.command()(replay)
app.command()(serve)
app.command()(worker)
app.command()(doctor)
app.command()(figures)
app.command()(curve)
app.command()(bench)


@app.callback()
@clear_errors
def speckle(
    context: typer.Context,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show where in the code an error arose, for a bug report.")
    ] = False,
) -> None:
    """Read coherent X-ray speckle patterns: how many disks scattered, frame by frame.

    A neural network (ResNet-50) reads the number of disks, 2 to 20, from each frame. It does so live in a
    Bluesky scan, or in files of frames by the commands below.

    **To begin**, scan a simulated sample; then make frames, classify them, and train a network of your own:

        speckle demo
        speckle simulate --disk-numbers 2-20 --count 5 --out frames.h5
        speckle classify frames.h5 --out results.csv
        speckle train mono --out my-network
        speckle evaluate my-network/mono.bundle --out report

    **speckle COMMAND --help** explains each command by an example.
    """
    traceback_wanted.set(traceback)
    if context.invoked_subcommand != "doctor":  # which tells what is wrong with settings itself
        context.default_map = _defaults()


def _defaults() -> dict[str, dict[str, Any]]:
    """Give the defaults of options that the settings state."""
    from speckle_plugin.settings import read_settings

    settings = read_settings()
    # A session that classifies nothing is no reason for a command not to.
    engine = "auto" if settings.engine == "none" else settings.engine
    network = {"engine": engine} | ({"model": settings.model} if settings.model else {})
    turned = {"orientation": settings.orientation}
    return {
        "bench": network,
        "center": turned,
        "classify": network | turned,
        "complete": {"engine": engine},  # its network is that of the run
        "demo": network,
        "explain": {name: value for name, value in network.items() if name == "model"} | turned,
        "solve": turned,
        "worker": {"engine": engine},
        "retrain": {"store": settings.server or str(settings.data)},
    }
