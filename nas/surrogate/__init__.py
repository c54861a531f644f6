"""A model of the search: what a configuration would come to at the full budget, learnt from every rung."""
