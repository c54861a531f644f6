"""The drawing of an architecture holds what the configuration says, with the grids that the network really has."""

import random
from xml.etree import ElementTree

import pytest
import torch

import studies
from nas.report.drawing import drawing
from nas.searching.drafts import Draft
from nas.words import describe_architecture
from search_space import build_model, from_dict

SVG = "{http://www.w3.org/2000/svg}"
SHAPE = {"channels": 2, "side": 36, "outputs": 3}


def groups(svg, kind):
    return [group for group in ElementTree.fromstring(svg).iter(f"{SVG}g") if group.get("class") == kind]


def configurations(count):
    rng = random.Random(0)

    def draw(name, distribution):
        choices = getattr(distribution, "choices", None)
        return rng.choice(choices) if choices else distribution.to_external_repr(
            distribution.low if rng.random() < 0.5 else distribution.high
        )  # fmt: skip

    spec = studies.load("hybrid")
    return [spec.sample(Draft(draw, {}), image_size=SHAPE["side"]).to_dict() for _ in range(count)]


@pytest.mark.parametrize("config", configurations(12), ids=lambda c: str(c["seed"]))
def test_the_blocks_drawn_are_those_of_the_network(config):
    architecture = from_dict(config["architecture"])
    svg = drawing(config["architecture"], SHAPE)
    drawn = [
        (g.get("data-mixer"), int(g.get("data-width")), int(g.get("data-grid")))
        for g in groups(svg, "blocks")
        for _ in range(int(g.get("data-depth")))
    ]
    network = build_model(architecture, in_chans=2, image_size=36, num_outputs=3).eval()
    grids = []

    def note(module, inputs, output):
        grids.append(tuple(inputs[0].shape[1:]))

    for stage in network.stages:
        for block in stage.blocks:
            block.register_forward_hook(note)
    with torch.inference_mode():
        network(torch.zeros(1, 2, 36, 36))
    names = [name for stage in architecture.stages for name, _ in stage.blocks()]
    assert drawn == [(name, width, h) for name, (h, _, width) in zip(names, grids, strict=True)]
    assert all(h == w for h, w, _ in grids)
    (stem,) = groups(svg, "stem")
    assert (stem.get("data-stem"), int(stem.get("data-patch"))) == (architecture.stem, architecture.patch)
    assert int(stem.get("data-grid")) == grids[0][0] * (2 if architecture.stages[0].downsample else 1)


def test_what_is_drawn_is_also_written_and_nothing_is_wider_than_the_drawing():
    for config in configurations(12):
        svg = drawing(config["architecture"], SHAPE)
        root = ElementTree.fromstring(svg)
        words = [text.text for text in root.iter(f"{SVG}text")]
        for stage in config["architecture"]["stages"]:
            assert any(f"{stage['width']} channels" in line for line in words)
        assert "36 × 36 pixels, 2 channels" in words
        assert "3 outputs" in words
        assert words.count("halves the grid") == sum(s["downsample"] for s in config["architecture"]["stages"])
        width = float(root.get("viewBox").split()[2])
        assert all(float(t.get("x")) + 7.8 * len(t.text) <= width for t in root.iter(f"{SVG}text"))


@pytest.mark.parametrize(
    ("part", "value", "drawn", "absent"),
    [
        ("symmetry", "d4", "all weights are tied over d4", "tied"),
        ("front_end", "polar_sham", "unrolled, in polar coordinates (a sham)", "front end"),
    ],
)
def test_a_symmetry_or_a_front_end_is_named_in_the_drawing_and_in_words(part, value, drawn, absent):
    network = {"stages": [{"mixer": "conv", "depth": 2, "width": 16}], "patch": 2, part: value}
    assert drawn in drawing(network, SHAPE)
    assert describe_architecture(network) == f"{value}: conv×2(16)"
    plain = {**network, part: "none"}
    assert absent not in drawing(plain, SHAPE)
    assert describe_architecture(plain) == "conv×2(16)"


def test_names_of_others_are_text_and_networks_without_stages_are_drawn():
    evil = {"kind": "backbone", "name": "<script>&\"'", "pretrained": True}
    root = ElementTree.fromstring(drawing(evil))
    assert "<script>&\"'" in [t.text for t in root.iter(f"{SVG}text")]
    assert not list(root.iter(f"{SVG}script"))
    long = {"stages": [{"mixer": "my_package.mixers.with_a_very_long_name", "depth": 2, "width": 8}], "patch": 2}
    assert "…" in drawing(long)
