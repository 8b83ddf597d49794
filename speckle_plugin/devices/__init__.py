"""Devices that bring frames into a scan which no other device brings."""
