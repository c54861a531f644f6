"""The best configurations of a search, trained again over several seeds and tested."""
