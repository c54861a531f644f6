# %% [markdown]
# # Start here: a network for your own images
#
# From a folder of images to a tested network: look at the images, search, retrain, predict. Without a folder of yours,
# the first cells simulate lenses and write them as DeepLense does: a folder a class, a `.npy` file an image.
#
# Made by `python studies/notebooks/make.py start_here`. The budget below suits one processor core for some ten minutes,
# and is far too small to quote: raise it for your own work. All seeds are fixed.

# %%
# %matplotlib inline
from pathlib import Path

import nas
from nas.auditing import findings
from trainers.data import Simulated
from trainers.data.simulate import write_files

PATH = ""  # your folder of images; empty: simulated lenses
IMAGES = 800
IMAGE_SIZE = 32
TRIALS = 8
EPOCHS = 6
SEEDS = 2

# %%
if not PATH:
    PATH = "lenses"
    if not Path(PATH).exists():
        write_files(Simulated("deeplense-1", images=IMAGES, image_size=IMAGE_SIZE), Path(PATH), progress=False)
files = sorted(Path(PATH).glob("*/*"))
print(f"{len(files)} files, such as {files[0].parent}/*{files[0].suffix}")

# %% [markdown]
# ## What is wrong or easy about the images
#
# Before any training: copies, shortcuts, a preferred axis, bad pixels.

# %%
for finding in findings(nas.audit(PATH, image_size=IMAGE_SIZE)):
    print(f"{finding.check}: {finding.result}{'; ' * bool(finding.advice)}{finding.advice}")

# %% [markdown]
# ## Search
#
# Architectures and their training together. The first trials are networks that an expert would write down; they are
# marked as given. The same call resumes after an interruption, and more trials extend the study.

# %%
results = nas.search(
    "hybrid", data=PATH, name="start_here", image_size=IMAGE_SIZE, trials=TRIALS, epochs=EPOCHS, quiet=True
)
tables = {table.name: table for table in nas.tables(results)}
nas.sample_images(results.dataset())

# %%
tables["best"]

# %%
nas.figures(results)["curves"]

# %% [markdown]
# ## Train the best again, and test it once
#
# With fresh seeds, beside baselines on the same images. Test images have chosen nothing so far.

# %%
retrained = nas.retrain(results, top_k=1, seeds=SEEDS, quiet=True)
{table.name: table for table in nas.tables(results)}["retrained"]

# %%
nas.figures(results)["retrained"]

# %% [markdown]
# ## What is decided, and what is not

# %%
for sentence in nas.conclusion(results):
    print(sentence)

# %% [markdown]
# ## Use it
#
# One torch module, with all seeds, their preprocessing and calibration. It takes arrays, files and folders.

# %%
model = nas.load_model(retrained.best)
nas.predict(model, files[:3])

# %% [markdown]
# `python -m nas.notebook --study hybrid --name start_here` writes a longer notebook of this study, and
# `runs/start_here/report.html` is its page. Next: more images, trials and epochs; then the
# [journeys](../../nas/README.md).
