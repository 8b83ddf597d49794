"""The monitor: stored runs and runs in progress, as a page in the browser.

What the page shows is worked out in `model` and what it uses, which can be tested without a browser; how it
looks is in `view`. Only the command `speckle monitor` imports this room, which needs the extra `monitor`.
"""
