"""The worker processes that train. Ray Tune places and renews them."""
