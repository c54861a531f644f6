"""BibTeX of what a study used."""

from __future__ import annotations

from nas.results import Results


def entry(key: str, kind: str, **fields: str) -> str:
    lines = "".join(f"  {name} = {{{text}}},\n" for name, text in fields.items())
    return f"@{kind}{{{key},\n{lines}}}\n"


def arxiv(key: str, author: str, title: str, year: str, number: str) -> str:
    return entry(key, "misc", author=author, title=title, year=year, eprint=number, archivePrefix="arXiv")


ALWAYS = {
    "optuna": entry(
        "optuna", "inproceedings", author="Akiba, Takuya and Sano, Shotaro and Yanase, Toshihiko and Ohta, Takeru and "
        "Koyama, Masanori", title="Optuna: A Next-generation Hyperparameter Optimization Framework", year="2019",
        booktitle="Proceedings of the 25th ACM SIGKDD International Conference on Knowledge Discovery and Data Mining",
        doi="10.1145/3292500.3330701",
    ),
    "tune": arxiv(
        "tune", "Liaw, Richard and Liang, Eric and Nishihara, Robert and Moritz, Philipp and Gonzalez, Joseph E. and "
        "Stoica, Ion", "Tune: A Research Platform for Distributed Model Selection and Training", "2018", "1807.05118",
    ),
    "pytorch": arxiv(
        "pytorch", "Paszke, Adam and others", "PyTorch: An Imperative Style, High-Performance Deep Learning Library",
        "2019", "1912.01703",
    ),
    "timm": entry(
        "timm", "misc", author="Wightman, Ross", title="PyTorch Image Models", year="2019",
        doi="10.5281/zenodo.4414861",
    ),
}  # fmt: skip
OF_SAMPLER = {
    "surrogate": entry(
        "cokriging", "article", author="Kennedy, Marc C. and O'Hagan, Anthony", title="Predicting the output from a "
        "complex computer code when fast approximations are available", journal="Biometrika", volume="87",
        pages="1--13", year="2000",
    ),
}  # fmt: skip
ASHA = arxiv(
    "asha", "Li, Liam and Jamieson, Kevin and Rostamizadeh, Afshin and Gonina, Ekaterina and Hardt, Moritz and Recht, "
    "Benjamin and Talwalkar, Ameet", "A System for Massively Parallel Hyperparameter Tuning", "2018", "1810.05934",
)  # fmt: skip
OF_MIXER = {
    "attention": arxiv(
        "vit", "Dosovitskiy, Alexey and others", "An Image is Worth 16x16 Words: Transformers for Image Recognition at "
        "Scale", "2020", "2010.11929",
    ),
    "linear_attention": arxiv(
        "linear", "Katharopoulos, Angelos and Vyas, Apoorv and Pappas, Nikolaos and Fleuret, Fran{\\c{c}}ois",
        "Transformers are RNNs: Fast Autoregressive Transformers with Linear Attention", "2020", "2006.16236",
    ) + arxiv(
        "flatten", "Han, Dongchen and Pan, Xuran and Han, Yizeng and Song, Shiji and Huang, Gao", "FLatten "
        "Transformer: Vision Transformer using Focused Linear Attention", "2023", "2308.00442",
    ),
    "window": arxiv(
        "swin", "Liu, Ze and others", "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows", "2021",
        "2103.14030",
    ),
    "fourier": arxiv(
        "fnet", "Lee-Thorp, James and Ainslie, Joshua and Eckstein, Ilya and Ontanon, Santiago", "FNet: Mixing Tokens "
        "with Fourier Transforms", "2021", "2105.03824",
    ) + arxiv(
        "gfnet", "Rao, Yongming and others", "Global Filter Networks for Image Classification", "2021", "2107.00645"
    ),
    "mlp": arxiv(
        "mixer", "Tolstikhin, Ilya and others", "MLP-Mixer: An all-MLP Architecture for Vision", "2021", "2105.01601"
    ),
    "conv": arxiv(
        "resnet", "He, Kaiming and Zhang, Xiangyu and Ren, Shaoqing and Sun, Jian", "Deep Residual Learning for Image "
        "Recognition", "2015", "1512.03385",
    ),
}  # fmt: skip
GROUPS = arxiv(
    "groups", "Cohen, Taco S. and Welling, Max", "Group Equivariant Convolutional Networks", "2016", "1602.07576"
)
CAUSTICS = arxiv(
    "caustics", "Stone, Connor and others", "Caustics: A Python Package for Accelerated Strong Gravitational Lensing "
    "Simulations", "2024", "2406.15542",
)  # fmt: skip
HANLEY = entry(
    "hanley1982", "article", author="Hanley, James A. and McNeil, Barbara J.", title="The meaning and use of the area "
    "under a receiver operating characteristic (ROC) curve", journal="Radiology", volume="143", pages="29--36",
    year="1982",
)  # fmt: skip
MACKAY = entry(
    "mackay1992", "article", author="MacKay, David J. C.", title="Bayesian Interpolation", journal="Neural Computation",
    volume="4", pages="415--447", year="1992",
)  # fmt: skip


def references(results: Results) -> str:
    """The entries of one study, for a .bib file."""
    spec = results.spec
    used = [*ALWAYS.values(), OF_SAMPLER.get(str(spec.get("sampler")), "")]
    used += [ASHA] * (spec.get("scheduler") in ("adaptive", "promotion", "asha_stop"))
    space = spec.get("space") or {}
    used += [text for mixer, text in OF_MIXER.items() if mixer in space.get("mixers", ())]
    used += [GROUPS] * bool({"c4", "d4"} & set(space.get("symmetry", ())))
    used += [CAUSTICS] * (spec["data"].get("kind") == "simulated") + [HANLEY] * ("auc" in results.objective)
    used += [] if results.grid else [MACKAY]
    return "\n".join(filter(None, used))
