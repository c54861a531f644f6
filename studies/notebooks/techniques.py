# %% [markdown]
# # The techniques compared: position, hierarchical, anisotropic, Fourier, MLP, hybrid
#
# Six families of networks for the same images: the spaces of six studies side by side in one, with one training for
# all, the same number of random configurations of each, and the best of each tested with fresh seeds.
#
# Made by `python studies/notebooks/make.py techniques`. The budget below suits one processor core for some ten minutes.
# It compares what a small budget finds in each space, not what a technique can reach: [the studies](../README.md) ask
# that one by one.

# %%
# %matplotlib inline
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

import nas
import studies
from search_space import Hybrid, HybridSpace, Range
from studies.train_space import PLAIN_TRAINING
from trainers.data import Simulated

TECHNIQUES = ("position", "hierarchical", "anisotropic", "fourier", "mlp", "hybrid")
IMAGES = 500
IMAGE_SIZE = 32
EPOCHS = 6
EACH = 3  # random configurations of each technique
SEEDS = 2  # of the best of each

# %% [markdown]
# ## One space of six
#
# A space is anything with a method `sample`. This one asks for the technique, then for what that technique's own space
# asks for, under its name.


# %%
@dataclass(frozen=True)
class Techniques:
    spaces: Mapping[str, HybridSpace]

    def sample(self, trial: Any, image_size: int = 64) -> Hybrid:
        name = trial.suggest_categorical("technique", tuple(self.spaces))
        return self.spaces[name].sample(Under(trial, name), image_size)


class Under:
    """Asks a trial for parameters under the name of a technique."""

    def __init__(self, trial: Any, name: str) -> None:
        self.trial, self.name = trial, name

    def __getattr__(self, suggest: str) -> Any:
        return lambda name, *bounds, **more: getattr(self.trial, suggest)(f"{self.name}.{name}", *bounds, **more)


spaces: Any = {name: studies.load(name).space for name in TECHNIQUES}
spaces["hybrid"] = replace(spaces["hybrid"], grid=(8, 16), width=Range(16, 64, 16))  # small, as the others are
space: Any = Techniques(spaces)
study = studies.StudySpec(
    name="techniques",
    question="Which technique finds the best network with a small budget?",
    space=space,
    training=replace(PLAIN_TRAINING, learning_rate=(1e-3, 3e-3), d4=(True,), flip=(False,)),
    data=Simulated("deeplense-1", images=IMAGES, image_size=IMAGE_SIZE),
    first=tuple({"technique": name} for name in TECHNIQUES) * EACH,  # the rest of each is drawn at random
    sampler="random",
    scheduler="full",
    trials=len(TECHNIQUES) * EACH,
    epochs=EPOCHS,
    min_epochs=EPOCHS,
    finals=0.0,
    max_macs=100_000_000,
    baselines=("statistics", "pca"),
)

# %% [markdown]
# ## Search
#
# Validation AUC of the configurations of each technique. One seed each: the spread within a row is that of the space
# and of luck together.

# %%
results = nas.search(study, quiet=True)
print(results.dataset().describe())
frame = results.frame()
frame.groupby("params_technique")["value"].describe().sort_values("max", ascending=False).round(3)

# %%
nas.sample_images(results.dataset())

# %%
nas.figures(results)["cost"]

# %% [markdown]
# ## Test
#
# The best configuration of each technique, from scratch on training and validation images, beside boosted trees on
# intensity statistics and on principal components. Means over seeds on the test images, with 95% intervals over images
# and seeds.

# %%
best: dict[str, int] = {}
for trial in results.ranked():
    best.setdefault(trial.params["technique"], trial.number)
retrained = nas.retrain(results, trials=list(best.values()), seeds=SEEDS, quiet=True)

technique = {number: name for name, number in best.items()}
rows = []
for scores, certainty in zip(retrained.configurations, retrained.certainty, strict=True):
    low, high = certainty.interval["auc"]
    rows.append({
        "technique": technique[scores.trial], "best configuration": results.trial(scores.trial).architecture,
        "parameters": scores.parameters, "validation AUC": scores.validation, "test AUC": scores.spread["auc"].mean,
        "low": low, "high": high, "worst of eight symmetries": scores.spread["auc_d4_worst"].mean,
    })  # fmt: skip
for tree in retrained.baselines:
    low, high = tree.interval["auc"]
    rows.append({"technique": f"trees: {tree.name}", "test AUC": tree.spread["auc"].mean, "low": low, "high": high})
table = pd.DataFrame(rows).set_index("technique").sort_values("test AUC", ascending=False)
table.round(3)

# %%
shown = table[::-1]
axes = shown["test AUC"].plot.barh(
    xerr=(shown["high"] - shown["low"]) / 2, color="#7aa5de", xlabel="test AUC", figsize=(5, 3), xlim=(0.4, 1)
)
axes.axvline(0.5, color="black", linewidth=0.6)

# %% [markdown]
# ## What is decided
#
# Each technique against the first by validation, paired over the test images, and against the better trees. Each 95%
# interval is for one comparison, over images and seeds.

# %%
first, *others = zip(retrained.configurations, retrained.certainty, strict=True)
for scores, certainty in others:
    difference, low, high = certainty.difference["auc"]
    said = "not decided" if low <= 0 <= high else "better" if difference > 0 else "worse"
    pair = f"{technique[scores.trial]} against {technique[first[0].trial]}"
    print(f"{pair}: {difference:+.3f} ({low:+.3f} to {high:+.3f}): {said}")
for verdict in retrained.verdicts:
    difference, low, high = verdict.ahead
    said = "not decided" if low <= 0 <= high else "better" if difference > 0 else "worse"
    pair = f"{technique[verdict.trial]} against trees on {verdict.baseline}"
    print(f"{pair}: {difference:+.3f} ({low:+.3f} to {high:+.3f}): {said}")

# %% [markdown]
# ## Go on from here
#
# `nas.search(replace(study, trials=200), quiet=True)` extends the study with random techniques.
# `nas.load_model(retrained.models[best["fourier"]])` is the model of one.
