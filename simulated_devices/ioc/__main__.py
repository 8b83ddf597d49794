"""Start the IOC: ``python -m simulated_devices.ioc --prefix SPECKLE: --interfaces 127.0.0.1``."""

from __future__ import annotations

import argparse
import asyncio

from caproto.asyncio.server import Context

from simulated_devices.detector_response import DetectorResponse
from simulated_devices.grids import grid_by_name
from simulated_devices.ioc.camera import SoftAreaDetector
from simulated_devices.sample import SpeckleSample
from simulated_devices.sample_map import SampleMap


def main() -> None:
    """Serve records until the process is ended."""
    parser = argparse.ArgumentParser(prog="python -m simulated_devices.ioc", description=__doc__)
    parser.add_argument("--prefix", default="SPECKLE:", help="of all records; %(default)s by default")
    parser.add_argument(
        "--interfaces",
        nargs="+",
        default=["127.0.0.1"],
        help="addresses to serve on; by default this machine only, 0.0.0.0 for all",
    )
    parser.add_argument("--grid", default="quadrant", help="where the pixels look; %(default)s by default")
    parser.add_argument("--pixels", type=int, default=257, help="rows and columns; %(default)s by default")
    parser.add_argument(
        "--photons",
        type=float,
        default=3e6,
        help="in a frame; %(default)g by default, which saturates no pixel",
    )
    parser.add_argument("--map", default="steps", help="where how many disks are; %(default)s by default")
    parser.add_argument("--seed", type=int, default=None, help="of the sample and the noise")
    arguments = parser.parse_args()
    sample = SpeckleSample(
        name="sample", sample_map=SampleMap(arguments.map, seed=arguments.seed or 0), seed=arguments.seed
    )
    detector = SoftAreaDetector(
        arguments.prefix,
        sample,
        grid_by_name(arguments.grid, arguments.pixels),
        DetectorResponse(photons=arguments.photons, dtype="uint16"),
        arguments.seed,
    )
    asyncio.run(serve(detector, arguments.interfaces))


async def serve(detector: SoftAreaDetector, interfaces: list[str]) -> None:
    """Serve the records of a detector."""

    async def announce(library: object) -> None:
        print(f"serving {len(detector.database)} records", flush=True)

    context = Context(detector.database, interfaces=interfaces)
    await context.run(log_pv_names=False, startup_hook=announce)


if __name__ == "__main__":
    main()
