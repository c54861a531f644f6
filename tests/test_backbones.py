"""Existing networks: every default one runs, and weights are the asked-for ones or a clear refusal."""

import huggingface_hub
import optuna
import pytest
import safetensors.torch
import timm
import torch

from search_space import ArchitectureError, Backbone, BackboneSpace, ToySpace, build_model, cost
from search_space.baselines.backbones import size_that_runs
from search_space.existing import BACKBONES

IMAGE = {"in_chans": 1, "image_size": 64, "num_outputs": 3}


@pytest.mark.parametrize("image_size", [64, 150])
@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_runs_at_any_size(name, image_size):
    with torch.device("meta"):
        model = build_model(Backbone(name), in_chans=1, image_size=image_size, num_outputs=3)
        assert model(torch.empty(2, 1, image_size, image_size)).shape == (2, 3)


@pytest.mark.parametrize("side", [64, 96])
def test_a_network_with_patches_of_14_pixels_sees_the_whole_image(side):
    """Its own size, 224, is a multiple of 32 as well, but 64 and 96 are none of 14."""
    torch.manual_seed(0)
    model = build_model(Backbone("eva02_tiny_patch14_224"), in_chans=1, image_size=side, num_outputs=3).eval()
    image = torch.randn(1, 1, side, side)
    changed = image.clone()
    changed[..., -4:, :] += 5
    with torch.inference_mode():
        assert not torch.equal(model(image), model(changed))


@pytest.mark.parametrize(
    ("name", "image_size", "net_size"),
    [
        ("alexnet", 32, 64),
        ("alexnet", 62, 64),
        ("alexnet", 63, 63),
        ("vgg16", 16, 32),
        ("densenet121", 28, 32),
        ("convnext_tiny", 31, 32),
        ("resnet18", 8, 8),
    ],
)
def test_images_at_which_a_feature_map_would_shrink_to_nothing_are_padded_and_no_others(name, image_size, net_size):
    shape = {"in_chans": 1, "image_size": image_size, "num_outputs": 3}
    with torch.device("meta"):
        model = build_model(Backbone(name), **shape)
        assert model(torch.empty(2, 1, image_size, image_size)).shape == (2, 3)
    assert image_size + sum(model.pad[:2]) == net_size
    assert cost(Backbone(name), **shape) == cost(Backbone(name), **{**shape, "image_size": net_size})


def test_padding_leaves_the_image_whole_and_in_the_middle():
    torch.manual_seed(0)
    model = build_model(Backbone("alexnet"), in_chans=1, image_size=40, num_outputs=3).eval()
    image = torch.randn(2, 1, 40, 40)
    padded = torch.zeros(2, 1, 64, 64)
    padded[:, :, 12:52, 12:52] = image
    assert torch.equal(model(image), model.net(padded))


def test_what_size_runs_is_found_without_a_random_number():
    size_that_runs.cache_clear()
    before = torch.get_rng_state()
    assert size_that_runs("alexnet", 32, 224) == 64
    assert torch.equal(torch.get_rng_state(), before)


def test_images_too_small_for_a_network_even_when_padded_are_refused_in_one_line():
    with pytest.raises(ArchitectureError, match=r"'alexnet'.* 20 pixels.* 32 .*too small.*--image-size") as caught:
        size_that_runs("alexnet", 20, 32)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "alexnet"])
def test_a_backbone_trains(name):
    torch.manual_seed(0)
    model = build_model(Backbone(name), in_chans=1, image_size=70, num_outputs=3)
    model(torch.randn(2, 1, 70, 70)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_an_unknown_backbone_suggests_names():
    with pytest.raises(ArchitectureError, match="resnet18"):
        build_model(Backbone("resnet_18"), **IMAGE)


@pytest.mark.parametrize("name", ["resnet18", "alexnet"])
def test_without_network_pretrained_weights_are_refused_not_replaced(name, monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def offline(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    with pytest.raises(ArchitectureError, match=f"(?s)pretrained weights for '{name}'.*pretrained=False"):
        build_model(Backbone(name, pretrained=True), **IMAGE)


def test_counting_the_cost_of_a_pretrained_network_needs_no_weights(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert cost(Backbone("resnet18", pretrained=True), **IMAGE) == cost(Backbone("resnet18"), **IMAGE)


def test_the_cost_of_a_known_network_is_the_published_one():
    found = cost(Backbone("resnet50"), in_chans=3, image_size=224, num_outputs=1000)
    assert found.parameters == 25_557_032
    assert found.macs == pytest.approx(4.09e9, rel=0.01)


@pytest.mark.parametrize(
    ("name", "first"), [("resnet18", "conv1.weight"), ("vit_tiny_patch16_224", "patch_embed.proj.weight")]
)
def test_a_local_checkpoint_is_adapted_to_channels_size_and_classes(name, first, tmp_path):
    torch.manual_seed(0)
    published = timm.create_model(name, num_classes=1000).state_dict()
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(published, path)
    model = build_model(Backbone(name, checkpoint=str(path)), **IMAGE)
    state = model.net.state_dict()
    torch.testing.assert_close(state[first], published[first].sum(dim=1, keepdim=True))
    kept = [key for key in published if published[key].shape == state[key].shape and "num_batches" not in key]
    assert len(kept) > len(published) / 2
    assert all(torch.equal(state[key], published[key]) for key in kept)
    assert model(torch.randn(2, 1, 64, 64)).shape == (2, 3)


def test_alexnet_takes_a_local_checkpoint(tmp_path):
    torch.manual_seed(0)
    published = build_model(Backbone("alexnet"), in_chans=3, image_size=64, num_outputs=1000).net.state_dict()
    path = tmp_path / "weights.pth"
    torch.save(published, path)
    state = build_model(Backbone("alexnet", checkpoint=str(path)), **IMAGE).net.state_dict()
    assert torch.equal(state["features.3.weight"], published["features.3.weight"])
    torch.testing.assert_close(state["features.0.weight"], published["features.0.weight"].sum(dim=1, keepdim=True))


def test_a_checkpoint_that_is_missing_or_of_another_network_is_refused(tmp_path):
    with pytest.raises(ArchitectureError, match=r"none\.pth' is not a file"):
        build_model(Backbone("resnet18", checkpoint=str(tmp_path / "none.pth")), **IMAGE)
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(timm.create_model("efficientnet_b0").state_dict(), path)
    for name in ("resnet18", "vit_tiny_patch16_224", "efficientnet_b1", "alexnet"):
        with pytest.raises(ArchitectureError, match=f"for '{name}'"):
            build_model(Backbone(name, checkpoint=str(path)), **IMAGE)


def test_backbones_and_toys_are_sampled_by_name():
    trial = optuna.trial.FixedTrial({"backbone": "vgg16", "toy": "lenet"})
    space = BackboneSpace(checkpoints={"vgg16": "vgg.pth"})
    assert space.sample(trial) == Backbone("vgg16", checkpoint="vgg.pth")
    assert ToySpace().sample(trial).name == "lenet"


def test_a_space_takes_its_files_where_it_starts_from_weights_and_freezes_nothing_that_is_random():
    space = BackboneSpace(("resnet18",), (False, True), {"resnet18": "w.pth"}, (0.0, 0.5))
    scratch = space.sample(optuna.trial.FixedTrial({"backbone": "resnet18", "pretrained": False}))
    assert scratch == Backbone("resnet18")
    started = {"backbone": "resnet18", "pretrained": True, "frozen": 0.5}
    assert space.sample(optuna.trial.FixedTrial(started)) == Backbone("resnet18", True, "w.pth", 0.5)
    with pytest.raises(ArchitectureError, match=r"frozen=0\.5 without weights"):
        Backbone("resnet18", frozen=0.5)
    with pytest.raises(ArchitectureError, match=r"frozen=1\.5"):
        BackboneSpace(frozen=(1.5,))


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "alexnet"])
def test_frozen_layers_keep_weights_and_statistics_and_the_others_learn(name, tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "weights.pth"
    net = build_model(Backbone(name), in_chans=3, image_size=64, num_outputs=1000).net
    with torch.no_grad():
        for parameter in net.parameters():  # timm's ResNets begin with branches that are zero and pass no gradient
            parameter.add_(0.02 * torch.randn_like(parameter))
    torch.save(net.state_dict(), path)
    for share in (0.0, 0.5, 1.0):
        model = build_model(Backbone(name, checkpoint=str(path), frozen=share), **IMAGE)
        before = {key: value.clone() for key, value in model.state_dict().items()}
        optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
        model.train()(torch.randn(4, 1, 64, 64)).square().sum().backward()
        optimiser.step()
        kept = [key for key, value in model.state_dict().items() if torch.equal(value, before[key])]
        last = [key for key in before if key.rpartition(".")[0].endswith(("fc", "head", "classifier.6"))]
        learnt = set(before) - set(kept)
        assert len(last) == 2
        assert learnt >= set(last)
        if share == 1:
            assert learnt == set(last)
        elif share == 0.5:
            names = [key for key in before if key not in last]
            assert names[0] in kept  # the first layer
            assert 0.2 * len(names) < len(learnt) < 0.8 * len(names)
        else:
            assert len(kept) < 0.05 * len(before)
