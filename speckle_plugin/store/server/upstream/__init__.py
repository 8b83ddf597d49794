"""What Tiled and its relatives lack, one module each, with the reason and what would end it."""
