"""Stand-ins and helpers that tests share, in this process and in those that tests start."""

from tests.testing.camera import FileCamera
from tests.testing.disks import mounted
from tests.testing.documents import Documents, documents_of
from tests.testing.engine import CLASSES, FakeEngine
from tests.testing.results import FakeClassifier, good, possible_numbers

__all__ = [
    "CLASSES",
    "Documents",
    "FakeClassifier",
    "FakeEngine",
    "FileCamera",
    "documents_of",
    "good",
    "mounted",
    "possible_numbers",
]
