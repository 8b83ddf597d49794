"""The package alone is light, and does its work without the packages of its extras."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import speckle_plugin
from speckle_plugin.extras import EXTRA_OF, MissingExtraError, extra_needed

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]

WITHOUT_EXTRAS = """
import sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {packages}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, NotInstalled())
"""

CLASSIFY = """
import numpy as np
from speckle_plugin import Classifier, find_frames, find_runs, start_session
from speckle_plugin.live import LiveClassifier
from speckle_plugin.preprocessing import FrameGeometry
classifier = Classifier()
frame = np.random.default_rng(0).exponential(100.0, (257, 257))
(result,) = classifier.label([frame], FrameGeometry(frame.shape))
print(result.status)
"""


def run(script: str, extra: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a script where no extra is installed, or all but one."""
    missing = {package for package, its_extra in EXTRA_OF.items() if extra in (None, its_extra)}
    command = [sys.executable, "-c", WITHOUT_EXTRAS.format(packages=missing) + script]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)


def test_what_most_users_need_is_at_the_top() -> None:
    from speckle_plugin.network.classifier import Classifier
    from speckle_plugin.session import start_session
    from speckle_plugin.store import find_frames, find_runs

    assert speckle_plugin.Classifier is Classifier
    assert speckle_plugin.start_session is start_session
    assert (speckle_plugin.find_runs, speckle_plugin.find_frames) == (find_runs, find_frames)
    assert speckle_plugin.__version__ == PROJECT["version"]
    assert set(speckle_plugin.__all__) <= set(dir(speckle_plugin))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        speckle_plugin.nothing  # noqa: B018


def test_importing_the_package_is_light() -> None:
    script = "import sys, speckle_plugin; print({'numpy', 'h5py', 'tiled', 'bluesky'} & set(sys.modules))"
    assert run(script).stdout.strip() == "set()"


def test_frames_are_classified_without_any_extra() -> None:
    done = run(CLASSIFY)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "classified"


@pytest.mark.parametrize(
    ("command", "package", "extra"),
    [
        (["classify", "frames.npy", "--engine", "tensorflow"], "tensorflow", "train"),
        (["train", "mono", "--out", "runs/none"], "sklearn", "train"),
        (["demo"], "ophyd", "sim"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_a_command_names_the_extra_that_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], package: str, extra: str
) -> None:
    import numpy as np

    monkeypatch.chdir(tmp_path)
    np.save("frames.npy", np.random.default_rng(0).exponential(100.0, (1, 257, 257)))
    ended = run(f"from speckle_plugin.cli import app; app({command!r})", extra)
    assert ended.returncode == 2, ended.stderr
    assert f"the package {package!r} is not installed" in ended.stderr
    assert f"pip install 'speckle-plugin[{extra}]'" in ended.stderr


def test_each_package_is_in_the_extra_that_is_named() -> None:
    extras = PROJECT["optional-dependencies"]
    requirements = {"keras": "tensorflow", "sklearn": "scikit-learn", "IPython": "ipython"}
    for package, extra in EXTRA_OF.items():
        listed = " ".join([*extras[extra], *(extras["cpu"] if extra == "train" else [])])
        assert requirements.get(package, package) in listed
        assert not any(d.startswith(requirements.get(package, package)) for d in PROJECT["dependencies"])


def test_other_packages_that_are_missing_are_a_defect() -> None:
    with pytest.raises(ModuleNotFoundError, match="nonesuch") as raised, extra_needed():
        import nonesuch  # type: ignore[import-not-found]  # noqa: F401
    assert not isinstance(raised.value, MissingExtraError)
