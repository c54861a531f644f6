"""Train the best configurations of a search again over several seeds, and test them."""
