"""The main study: which mixers, in which order, with which training."""

from studies.spec import StudySpec

STUDY = StudySpec(
    name="hybrid",
    question="Which hybrid of convolution, attention, Fourier and MLP mixing tells dark-matter substructure best?",
    trials=100,
    epochs=12,
    min_epochs=4,
    max_parameters=2_000_000,
    max_macs=20_000_000,
)
