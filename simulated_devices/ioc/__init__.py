"""An EPICS soft IOC of our own: an areaDetector whose camera looks at a simulated sample.

``python -m simulated_devices.ioc`` starts it. Its records are those that classic ophyd and ophyd-async use
of a simulated camera (`cam1:`) and of its plugins (`HDF1:`, `TIFF1:`, `image1:`), its files are real, and
it behaves as ADSimDetector 3.14 was seen to. Needs caproto.
"""
