"""How good a network is: studies beside baselines, and their report."""
