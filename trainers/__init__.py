"""How a module is trained: data, tasks, augmentation, and one readable loop. Knows no architecture, no Optuna, no Ray."""
