"""What weights learnt on photographs buy: from scratch, fine-tuned, half frozen, or all but the last layer frozen.

Every network has each start at three learning rates, with and without d4, over two seeds. Without a network connection,
give the weights as files: `--checkpoint resnet18=resnet18.safetensors`, which also leaves out the other networks.
"""

from dataclasses import replace

from search_space import BackboneSpace
from studies.spec import StudySpec
from studies.train_space import D4_OR_NONE, PLAIN_TRAINING

NAMES = ("resnet18", "densenet121", "vit_tiny_patch16_224")
FROZEN = (0.0, 0.5, 1.0)

STUDY = StudySpec(
    name="pretrained",
    question="Do weights learnt on photographs help here, fine-tuned or frozen, at which rate and augmentation?",
    space=BackboneSpace(names=NAMES, pretrained=(False, True), frozen=FROZEN),
    training=replace(
        PLAIN_TRAINING,
        learning_rate=(1e-4, 3e-4, 1e-3),
        weight_decay=(0.05,),
        policies=D4_OR_NONE,
    ),
    sampler="grid",
    scheduler="full",
    seeds=2,
    trials=len(NAMES) * (1 + len(FROZEN)) * 3 * 2 * 2,
    epochs=12,
    min_epochs=12,
    max_parameters=200_000_000,
    max_macs=20_000_000_000,
)
