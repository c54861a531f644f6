"""How a module is trained: data, tasks, augmentation and one readable loop. No architecture, Optuna or Ray."""

from trainers.errors import TrainingError

__all__ = ["TrainingError"]
