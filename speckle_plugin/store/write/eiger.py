"""Resources of Dectris' Eigers as the writer knows them: an HDF5 file, the master, for each series."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

from speckle_plugin.documents.locations import EIGER_SLICE, EIGER_SPECS, master_path

__all__ = ["EigerSeries"]

GROUP = "entry/data"
"""Where a master has its links to the data files."""

MOST_SERIES = 10_000
"""Masters that are remembered in case that a second datum names them."""


class EigerSeries:
    """Goes over the resources and datums of one run."""

    def __init__(self) -> None:
        self._resources: dict[str, Mapping[str, Any]] = {}
        self._told: OrderedDict[str, None] = OrderedDict()

    def take(self, resource: Mapping[str, Any]) -> bool:
        """Keep a resource if it is one of an Eiger, and tell whether it is; it is given with its datums."""
        if resource.get("spec") not in EIGER_SPECS:
            return False
        self._resources[resource["uid"]] = resource
        return True

    def datum(self, doc: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Give a datum as it is, or one of an Eiger as that of the master that it names."""
        resource = self._resources.get(doc["resource"])
        if resource is None:
            yield "datum", dict(doc)
            return
        said = doc.get("datum_kwargs", {})
        uid = f"{resource['uid']}/{said['seq_id']}"
        if uid not in self._told:
            self._told[uid] = None
            if len(self._told) > MOST_SERIES:
                self._told.popitem(last=False)
            yield "resource", _of_master(resource, uid, said["seq_id"])
        one_frame = resource["spec"] == EIGER_SLICE and "frame_num" in said
        kwargs = {"point_number": said["frame_num"]} if one_frame else {}
        yield "datum", {**doc, "resource": uid, "datum_kwargs": kwargs}


def _of_master(resource: Mapping[str, Any], uid: str, seq_id: Any) -> dict[str, Any]:
    said = resource.get("resource_kwargs", {})
    count = said.get("frame_per_point") or said.get("images_per_file")
    several = {"frame_per_point": int(count)} if count and resource["spec"] != EIGER_SLICE else {}
    return {
        **resource,
        "uid": uid,
        "spec": "AD_HDF5",
        "resource_path": master_path(resource["resource_path"], seq_id),
        "resource_kwargs": {"path": GROUP, "chunk_shape": [1], **several},
    }
