"""The command line, `speckle`. It alone in the plugin may use the simulated devices and the training."""

from speckle_plugin.cli.main import app

__all__ = ["app"]
