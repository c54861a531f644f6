"""Pages and tables of what a study and its retraining found, from their data alone. The pages need no network."""
