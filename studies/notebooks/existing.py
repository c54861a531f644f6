# %% [markdown]
# # Existing and pretrained models: tuning and augmentation
#
# How much do the learning rate and augmentation matter for networks that others have designed, and does it help to
# start from weights trained on other lenses?
#
# Made by `python studies/notebooks/make.py existing`. The budget below suits one processor core for some ten minutes:
# few small images, two networks, short trainings. The results hold for this budget only, and every difference stands
# with its interval. The study `existing` asks the same of fifteen networks ([results](../README.md#existing)), and
# `pretrained` asks what weights learnt on photographs buy, fine-tuned or frozen.

# %%
# %matplotlib inline
from dataclasses import replace
from functools import partial

import pandas as pd

import nas
from search_space import BackboneSpace
from studies import existing
from trainers.data import Simulated

NETWORKS = ("resnet18", "vit_tiny_patch16_224")
PRETRAINED = (False,)  # (False, True) compares with timm's weights from ImageNet, which are downloaded
IMAGES = 400
IMAGE_SIZE = 32
EPOCHS = 5
SEEDS = 2
FEW = 100
OTHERS = 500

# %%
data = Simulated("deeplense-1", images=IMAGES, image_size=IMAGE_SIZE)
study = replace(
    existing.STUDY,
    name="existing_small",
    data=data,
    space=BackboneSpace(names=NETWORKS, pretrained=PRETRAINED),
    training=replace(existing.STUDY.training, learning_rate=(3e-4, 2e-3)),
    seeds=SEEDS,
    epochs=EPOCHS,
    min_epochs=EPOCHS,
    trials=len(NETWORKS) * len(PRETRAINED) * 2 * 2 * SEEDS,
)
results = nas.search(study, quiet=True)
print(results.dataset().describe())
nas.sample_images(results.dataset())

# %% [markdown]
# ## Tuning and augmentation
#
# Every network with every learning rate and augmentation, with the same seeds. "Turned" are the validation images
# turned by 90 degrees: these lenses share an axis, which a network can learn by mistake.

# %%
tables = {table.name: table for table in nas.tables(results)}
tables["cells"]

# %% [markdown]
# Each effect is the mean difference over all pairs of trainings that differ in nothing else. With so few seeds only
# large effects can be told from noise.

# %%
tables["effects"]

# %%
nas.figures(results)["effects"]

# %%
for sentence in nas.conclusion(results):
    print(sentence)

# %% [markdown]
# ## Pretrained on other lenses
#
# The best cell is trained on lenses of another population. From these weights it is fine-tuned on our images, and
# compared with the same network from scratch: on all training images and on a few of them, by the same test images.

# %%
best = results.cells()[0].trials[0]
elsewhere = Simulated("deeplense-2-noisy", images=OTHERS, image_size=IMAGE_SIZE)
pretrained = nas.retrain(results, trials=[best.number], data=elsewhere, seeds=1, baselines=False, quiet=True)
print(f"{best.architecture}: AUC {pretrained.configurations[0].spread['auc'].mean:.3f} on the other lenses")

# %%
again = partial(nas.retrain, seeds=3, train_sizes=(FEW,), baselines=False, quiet=True)
scratch = again(results, trials=[best.number])
tuned = again(start=pretrained.best, data=data)

rows = []
for name, retrained in (("from scratch", scratch), ("fine-tuned", tuned)):
    first, size = retrained.configurations[0], retrained.sizes[0]
    whole = (retrained.data["train"], first.spread["auc"].mean, retrained.certainty[0].interval["auc"])
    few = (size.images, size.spread["auc"].mean, size.interval["auc"])
    rows += [{"start": name, "images": n, "test AUC": auc, "95% interval": ends} for n, auc, ends in (few, whole)]
frame = pd.DataFrame(rows).sort_values("images", kind="stable").set_index(["images", "start"])
frame.round(3)

# %% [markdown]
# The intervals are over test images and seeds. Differences are judged as if the two trainings shared no test images.
# They share all of them, so these intervals are too wide rather than too narrow.

# %%
for images, pair in frame.groupby(level="images"):
    values, ends = pair["test AUC"], pair["95% interval"]
    change = values.loc[images, "fine-tuned"] - values.loc[images, "from scratch"]
    half = sum(((high - low) / 2) ** 2 for low, high in ends) ** 0.5
    said = "not decided" if abs(change) <= half else "better" if change > 0 else "worse"
    print(f"{images} images: fine-tuned {change:+.3f} ± {half:.3f} AUC: {said}")
