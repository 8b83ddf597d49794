"""Which network the frames of a detector need: chosen among those of the package, by the k step.

A network knows frames of one k step; those of another it labels wrongly, and with confidence. So where no
network is asked for by name, the detector's k step chooses, and frames that no network is for get no label.
Frames whose k step nobody states are given to the default network.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from speckle_plugin.network.bundle import Bundle, ShippedNetwork, find_bundle, shipped_networks
from speckle_plugin.network.classifier import Classifier, fits_k_step
from speckle_plugin.network.engines import Engine, make_engine
from speckle_plugin.preprocessing.resampling import SAME_K_STEP

__all__ = ["ChoosingClassifier", "bundle_for", "choose_network", "open_classifier", "why_chosen"]


def choose_network(k_step: float, networks: Iterable[ShippedNetwork]) -> ShippedNetwork | None:
    """Choose the network whose k step is nearest, if frames can be brought to it; None if none can.

    The one place of this decision.
    """
    known = [(abs(k_step / network.k_step - 1.0), network) for network in networks if network.k_step]
    fitting = [(off, network) for off, network in known if fits_k_step(k_step, network.k_step)]
    return min(fitting, key=lambda found: found[0])[1] if fitting else None


def bundle_for(k_step: float | None) -> Bundle:
    """Load the network of the package that is for a k step; the default one where none is."""
    chosen = None if k_step is None else choose_network(k_step, shipped_networks())
    return find_bundle(None if chosen is None else chosen.name)


def open_classifier(model: str | None, engine: str = "auto", bundle: Bundle | None = None) -> Classifier:
    """Load what classifies: the network that is asked for, or the default one beside those for other k steps.

    Parameters
    ----------
    model : str or None
        Name or path of a network; None where the k step chooses.
    engine : str
        As for :func:`speckle_plugin.network.engines.make_engine`.
    bundle : Bundle, optional
        That network, if it was read already.
    """
    bundle = bundle or find_bundle(model)
    if model is not None:
        return Classifier(bundle, engine)
    return ChoosingClassifier(bundle, lambda other: make_engine(other, engine))


class ChoosingClassifier(Classifier):
    """The default network, and those of the package that know the same classes at other k steps.

    The others are loaded when frames of their k step come, which takes a second or two.

    Parameters
    ----------
    bundle : Bundle
        The default network.
    make : callable
        Makes the engine for a bundle.
    """

    def __init__(self, bundle: Bundle, make: Callable[[Bundle], Engine]) -> None:
        super().__init__(bundle, make(bundle), any_k_step=False)
        self._make = make
        # In a stream, each row has one probability for each class.
        self._networks = [
            network
            for network in shipped_networks()
            if network.sha256 == bundle.sha256 or network.classes == bundle.classes
        ]
        self._loaded: dict[str, Classifier] = {}
        self._loading = threading.Lock()

    @property
    def chosen_among(self) -> tuple[str, ...]:
        """SHA-256 of the networks that `for_k_step` chooses among."""
        return tuple(network.sha256 for network in self._networks) or (self.bundle.sha256,)

    def for_k_step(self, k_step: float | None) -> Classifier:
        """Give the classifier whose network is for a k step; if none is, itself, which labels none."""
        other = self._choose(k_step)
        if other is None:
            return self
        with self._loading:
            if other.sha256 not in self._loaded:
                bundle = find_bundle(other.name)
                self._loaded[other.sha256] = Classifier(bundle, self._make(bundle), any_k_step=False)
            return self._loaded[other.sha256]

    def ready_for(self, k_step: float | None) -> Classifier | None:
        """Give what `for_k_step` gives, if its network is loaded; without waiting."""
        other = self._choose(k_step)
        return self if other is None else self._loaded.get(other.sha256)

    def _choose(self, k_step: float | None) -> ShippedNetwork | None:
        chosen = None if k_step is None else choose_network(k_step, self._networks)
        return None if chosen is None or chosen.sha256 == self.bundle.sha256 else chosen


def why_chosen(classifier: Classifier, k_step: float | None, *, by_k_step: bool) -> str:
    """Say why frames of a k step have the network of a classifier, in a few words.

    Parameters
    ----------
    classifier : Classifier
        The one that they have.
    k_step : float or None
    by_k_step : bool
        Whether it was chosen; else it was asked for.
    """
    known = classifier.bundle.pitch
    if not by_k_step:
        off = (
            "" if classifier.fits(k_step) else f", though it is for the k step {known:.4g}, not {k_step:.4g}"
        )
        return f"asked for{off}"
    if k_step is None:
        return "the default one, since the k step is not stated"
    if classifier.fits(k_step):
        near = known is None or abs(k_step / known - 1.0) <= SAME_K_STEP
        return f"for the k step {k_step:.4g}" if near else f"for {known:.4g}, near the k step {k_step:.4g}"
    return f"the default one, but no network is for the k step {k_step:.4g}: its frames have no label"
