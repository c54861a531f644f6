"""Pages and tables of the results of a study and of its retraining. The pages need no network."""
