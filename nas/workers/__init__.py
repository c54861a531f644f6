"""The processes that train, placed and renewed by Ray Tune, and what runs in them."""
