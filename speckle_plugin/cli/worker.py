"""`speckle worker`: classify what other processes measure."""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING, Annotated

import typer

from speckle_plugin.cli.console import remark, stdout
from speckle_plugin.cli.errors import clear_errors
from speckle_plugin.cli.options import EngineName
from speckle_plugin.cli.run_selection import SinceOption
from speckle_plugin.cli.store_options import DEFAULT_DATA, DataOption, ServerOption

if TYPE_CHECKING:
    from speckle_plugin.reprocess import Completion
    from speckle_plugin.worker import Worker

__all__ = ["told", "worker"]


@clear_errors
def worker(
    data: DataOption = DEFAULT_DATA,
    server: ServerOption = None,
    documents: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Address where a bluesky-0MQ-proxy gives documents: frames get labels during the scan.",
            show_default="labels come after the end of each run",
        ),
    ] = None,
    since: SinceOption = None,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between looking for runs.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Do what waits now, and end.")] = False,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            help="See: speckle models.",
            show_default="that of the settings; else by the k step of each detector",
        ),
    ] = None,
    engine: Annotated[EngineName, typer.Option(help="What runs the network.")] = "auto",
) -> None:
    """Classify the frames that other processes store, and write the labels into the same runs.

    For a machine with a GPU beside the beamline: the session there measures with the setting engine = "none",
    and stores its runs; workers see them in the catalog and label them. Masks and beam centre come from the
    settings. Any number of workers share the runs of a data directory (with **--server**, that of --data, for
    their leases), and the frames of a long run; none is done twice. One that is killed loses nothing: the
    others do its part.

    **Examples**: on the machine of the data; on another one, which sees the same folder, during the scans.

        speckle worker --data /data/speckle

        speckle worker --data /data/speckle --server http://beamline:8000 --documents beamline:5578
    """
    from speckle_plugin.network import find_bundle
    from speckle_plugin.settings import read_settings
    from speckle_plugin.worker import Worker

    settings = read_settings(data=data, server=server, model=model)
    frames = settings.frames()
    asked = None if settings.model is None else find_bundle(settings.model)
    with settings.open_store() as store:
        working = Worker(store, store.leases_directory, asked, engine, frames, since=since, report=_tell)
        chosen, bundle = working.classifier.engine, working.classifier.bundle
        others = "" if asked else ", others by the k step of the detector"
        remark(
            f"{bundle.name} {bundle.version}{others} on {chosen.name}, {chosen.device}; runs of {store.uri}"
        )
        try:
            if once:
                done = working.work()
                while working.shares:  # another one may be killed at its last part
                    time.sleep(0.2)
                    done += working.work()
                remark(f"{done} {'run' if done == 1 else 'runs'} done")
                return
            signal.signal(signal.SIGTERM, lambda number, frame: working.end())
            if documents is not None:
                _follow(working, documents)
            remark("Ctrl-C ends it")
            working.run(every)
        except KeyboardInterrupt:
            remark("ending; what is left is done by another worker, or by speckle complete")
        finally:
            working.close()


def _follow(working: Worker, address: str) -> None:
    """Take documents from a proxy, on a thread of their own."""
    from bluesky.callbacks.zmq import RemoteDispatcher

    from speckle_plugin.worker.pickled import read_document

    dispatcher = RemoteDispatcher(address, deserializer=read_document)
    dispatcher.subscribe(working.documents())
    threading.Thread(target=dispatcher.start, name="speckle-documents", daemon=True).start()
    remark(f"documents from {address}")


def _tell(done: Completion) -> None:
    stdout().print(told(done), soft_wrap=True)


def told(done: Completion) -> str:
    """Give the line that says what became of a run."""
    counts = f"{done.classified} labelled now, {done.flagged} flagged, {done.deferred} left"
    if not (done.classified or done.flagged or done.deferred):  # by the documents
        counts = "labelled during the scan"
    return f"scan {done.scan_id} ({done.run_uid[:8]}): {done.frames} frames, {counts}"
