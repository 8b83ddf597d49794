"""Train networks on simulated and stored frames, and measure them."""
