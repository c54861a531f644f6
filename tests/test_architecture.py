import json

import pytest

from search_space import ArchitectureError, Backbone, Hybrid, Stage, Toy, from_dict, to_dict

NET = Hybrid(
    stages=(
        Stage("window", 2, 32, 2.0, options={"heads": 4, "size": 8}),
        Stage("attention", 2, 64, downsample=True, first="conv", first_options={"kernel": 7}),
    ),
    position="fixed_2d",
    drop_path=0.1,
)


@pytest.mark.parametrize(
    "architecture", [NET, Toy("lenet"), Backbone("resnet18", checkpoint="a.pth")], ids=lambda a: a.kind
)
def test_an_architecture_survives_json(architecture):
    assert from_dict(json.loads(json.dumps(to_dict(architecture)))) == architecture


def test_a_record_does_not_share_state_with_its_architecture():
    record = to_dict(NET)
    record["stages"][0]["options"]["heads"] = 1
    assert NET.stages[0].options["heads"] == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "forest"}, "forest"),
        ({"kind": None}, "kind"),
        ({"patches": 4}, "patches"),
        ({"stages": [{"mixer": "conv", "depth": 1, "width": 8, "hieght": 1}]}, "hieght"),
        ({"stages": [{"mixer": "conv", "depth": 1}]}, "width"),
        ({"stages": []}, "stages"),
    ],
)
def test_a_record_with_unknown_or_missing_keys_is_refused(change, message):
    with pytest.raises(ArchitectureError, match=message):
        from_dict(to_dict(NET) | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stem": "lens"}, "lens"),
        ({"position": "here"}, "here"),
        ({"head": "tail"}, "tail"),
        ({"drop_path": 1.0}, "drop_path"),
        ({"patch": 0}, "patch"),
        ({"patch": 6, "stem": "conv"}, "patch=6"),
        ({"head": "class_token"}, "downsampling"),
        ({"stages": (Stage("conv", 1, 8, downsample=True),)}, "first stage"),
    ],
)
def test_a_value_that_makes_no_network_is_refused(change, message):
    with pytest.raises(ArchitectureError, match=message):
        Hybrid(**({"stages": NET.stages} | change))


def test_a_stage_may_begin_with_another_mixer():
    stage = Stage("attention", 3, 32, options={"heads": 2}, first="conv", first_options={"kernel": 5})
    assert stage.blocks() == (("conv", {"kernel": 5}), ("attention", {"heads": 2}), ("attention", {"heads": 2}))
    assert Stage("conv", 2, 32).blocks() == (("conv", {}), ("conv", {}))


@pytest.mark.parametrize(
    "change", [{"depth": 0}, {"width": 0}, {"mlp_ratio": 0.0}, {"first": "mlp"}, {"first_options": {"kernel": 3}}]
)
def test_a_stage_without_blocks_or_channels_is_refused(change):
    with pytest.raises(ArchitectureError, match=next(iter(change))):
        Stage(**({"mixer": "conv", "depth": 1, "width": 8} | change))


def test_an_unknown_toy_lists_the_known_ones():
    with pytest.raises(ArchitectureError, match="lenet"):
        Toy("alexnet")
