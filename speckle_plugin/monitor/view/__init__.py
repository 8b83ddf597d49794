"""How the monitor looks: pages of Panel and figures of Bokeh over `speckle_plugin.monitor.model`."""
