"""The results of a retraining as a page that needs no network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape

import plotly.graph_objects as go

from nas.report.baselines import against_baselines
from nas.report.document import document, header, html_table, plot, section
from nas.report.retraining_figures import (
    confusion,
    learning_curves,
    overview,
    precision_recall,
    predicted_against_true,
    roc,
)
from nas.report.retraining_models import exported_models, views_and_ensembles
from nas.report.retraining_table import (
    about_intervals,
    difference_rows,
    headings,
    rows,
    shown,
    turned_metric,
    turned_rows,
    what,
)  # fmt: skip
from nas.report.retraining_verdict import verdict
from nas.retraining.retrained import Retrained
from nas.retraining.scores import Scores
from nas.words import (
    COSTS,
    count,
    describe_architecture,
    describe_data,
    describe_size,
    metric_name,
    objective_name,
    override,
    value,
)
from trainers import tasks

KINDS = ("roc", "precision", "confusion")
STYLE = """
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr)); gap: 1rem; }
.rank { border-top: 1px solid var(--line); padding-top: .6rem; }
"""


def page(retrained: Retrained) -> str:
    figures = draw(retrained)
    plots = {key: plot(key, figure) for key, figure in figures.items()}
    total = len(retrained.configurations)
    body = [summary(retrained), on_the_test_images(retrained)]
    if retrained.baselines:
        body.append(against_baselines(retrained, shown(retrained)))
    if "overview" in plots:
        body.append(against_validation(retrained, plots["overview"]))
    body += [turned_and_mirrored(retrained), views_and_ensembles(retrained), exported_models(retrained)]
    if total > 1:
        body.append(differences(retrained))
    if "sizes" in plots:
        body.append(fewer_images(retrained, plots["sizes"]))
    body.append(how_to_read(retrained))
    body += [configuration(c, plots, place_of(c, retrained)) for c in retrained.configurations]
    body.append(failures(retrained))
    return document(f"{retrained.study}: {what(retrained)}, retrained", "\n".join(body), figures, style=STYLE)


def draw(retrained: Retrained) -> dict[str, go.Figure]:
    figures = {}
    if retrained.validated and retrained.objective in retrained.configurations[0].spread:
        figures["overview"] = overview(retrained)
    if retrained.sizes:
        figures["sizes"] = learning_curves(retrained)
    task = tasks.of_name(retrained.task)
    for c in retrained.configurations:
        if c.roc:
            figures[f"roc-{c.trial}"] = roc(c)
            figures[f"precision-{c.trial}"] = precision_recall(c)
            figures[f"confusion-{c.trial}"] = confusion(c, retrained.classes)
        for k, (points, quantity) in enumerate(zip(c.points, tasks.quantities(task, len(c.points)), strict=True)):
            figures[f"points-{k}-{c.trial}"] = predicted_against_true(points, quantity)
    return figures


def summary(retrained: Retrained) -> str:
    """The head of the page: the study, and what the networks were trained and tested on."""
    data = retrained.data
    begun = "The model was trained on" if retrained.started else "Searched on"
    facts = {
        "Data": describe_data(data["source"]),
        **({begun: describe_data(data["searched"])} if data["searched"] else {}),
        **({"Limit": data["limit"]} if data.get("limit") else {}),
        "Training": f"{data['train']:,} {data['splits']}, {length(retrained)}, no early stopping, weights of the last "
        "epoch",
        "Test": f"{data['test']:,} images, read once by each network, after its training: so far by "
        f"{retrained.test_reads.describe()}. The more are compared, the more the best of them owes to chance",
    }
    title = f"{'Trials' if retrained.named else 'The best'} of the search, retrained"
    if retrained.started:
        facts["Start"] = f"the weights of {retrained.started}"
        title = "An exported model, fine-tuned"
    if retrained.question:
        title += f": {retrained.question}"
    return header(retrained.study, title, {name: escape(fact) for name, fact in facts.items()}, verdict(retrained))


def length(retrained: Retrained) -> str:
    """`12 epochs`, and what replaces the search's own training."""
    replaced = override(retrained.overridden)
    if "epochs" in retrained.overridden:
        return replaced.removeprefix(" with ")
    return f"{count(retrained.epochs, 'epoch')}{replaced}"


def on_the_test_images(retrained: Retrained) -> str:
    which = f"The best of {count(retrained.finished, 'trial')} by validation {objective_name(retrained.objective)}"
    if retrained.cost:
        which += f" and {COSTS[retrained.cost]}"
    if retrained.finals:
        which += ", as its finals judge them"
    if retrained.named:
        which = "The configurations of the model" if retrained.started else "Trials asked for by number"
    caption = (
        f"{which}, each trained again from {'the weights of the model' if retrained.started else 'scratch'} with every "
        "seed. The first row of a configuration gives the mean ± sample standard deviation over the seeds, and "
        "below it the 95% confidence interval (CI) of that mean. The ensemble is the seeds' combined prediction. "
        f"{about_intervals(retrained)}. {about_validation(retrained)}"
    )
    metrics = shown(retrained)
    return section("On the test images", caption, html_table(headings(retrained, metrics), rows(retrained, metrics)))


def about_validation(retrained: Retrained) -> str:
    """What the validation column holds, or why there is none."""
    if retrained.started:
        return "No search chose these networks on these images, so no validation value stands beside those of the test."
    if retrained.data["searched"]:
        return "The search had other images, so no value of it stands beside those of the test."
    if not retrained.validated:
        return "The search trained none of these in full, so no value of it stands beside those of the test."
    if retrained.named:
        unknown = retrained.validated < len(retrained.configurations)
        return "The validation column gives the value from the search" + (
            "; a trial without one was not trained in full." if unknown else "."
        )
    return (
        "The validation column gives the value from the search, for which the configuration was "
        f"{'taken into the finals' if retrained.finals else 'chosen'}. The best of many values looks better than it is."
    )


def against_validation(retrained: Retrained, drawing: str) -> str:
    caption = (
        f"{objective_name(retrained.objective)} of each configuration: its validation value in the search, and "
        "the values of the retrained seeds on the test images. The bar spans one standard deviation to either "
        "side of the mean."
    )
    return section("Chosen on validation, measured on test", caption, drawing)


def turned_and_mirrored(retrained: Retrained) -> str:
    caption = (
        f"{metric_name(turned_metric(retrained.configurations[0]))} on the test images as they are (upright), and its "
        "mean and worst value over the eight symmetries of the square. A network that relies on an axis that all "
        "images share does worse on turned images. The sky has no such axis."
    )
    head = ["trial", "upright", "mean of eight", "worst of eight"]
    return section("Turned and mirrored", caption, html_table(head, turned_rows(retrained)))


def differences(retrained: Retrained) -> str:
    first = retrained.configurations[0]
    single = all(len(c.seeds) == 1 for c in retrained.configurations)
    over_seeds = "; with a single seed it knows nothing of other seeds" if single else " and over the seeds of both"
    caption = (
        f"The mean of each metric over the seeds minus that of trial {first.label}, on the same test images. Brackets "
        f"hold the 95% confidence interval, paired over the images{over_seeds}. A difference whose interval contains "
        "zero may be chance."
    )
    head = ["trial", *map(metric_name, first.main)]
    return section(f"Against trial {first.label}", caption, html_table(head, difference_rows(retrained)))


def fewer_images(retrained: Retrained, drawing: str) -> str:
    caption = (
        f"Test {metric_name(retrained.configurations[0].main[0])} of the same configurations, trained for the same "
        "number of steps on fewer images, which are repeated as often as needed. Each seed draws its own images, the "
        "same for every configuration; its larger sets contain the smaller ones. Points are means over the seeds; bars "
        "are one standard deviation to either side."
    )
    return section("With fewer images", caption, drawing)


def how_to_read(retrained: Retrained) -> str:
    """The captions of what `configuration` shows."""
    if not retrained.classes:
        return section(
            "Predicted against true",
            "Each point is a test image: the seeds' combined prediction against the true value. On the line the two "
            "agree. A network whose points form a flat cloud at the mean has learnt nothing.",
        )
    return section(
        "Curves and confusion matrices",
        "ROC curves show each class against the rest. Faint curves are the seeds; strong curves are their ensemble. "
        "The legend gives the area under the curve: mean ± sample standard deviation over the seeds, then the "
        "ensemble. Curves of precision against recall show the ensemble. Confusion matrices give the share of each "
        "true class and, below it, the number of images, summed over the seeds.",
    )


def place_of(c: Scores, retrained: Retrained) -> str:
    """`Rank 2 in the search, ` of a configuration that was chosen by its rank."""
    if retrained.named or c.validation is None:
        return ""
    rank = retrained.rank(c.trial)
    return "The winner of the search's finals, " if retrained.finals and rank == 1 else f"Rank {rank} in the search, "


def configuration(c: Scores, plots: Mapping[str, str], place: str) -> str:
    size = describe_size(c.parameters, c.sparsity, c.nonzero)
    caption = f"{place}{size}. Exported to models/trial-{c.trial}."
    kinds = (*KINDS, *(f"points-{k}" for k in range(len(c.points))))
    drawn = "".join(plots[key] for key in (f"{kind}-{c.trial}" for kind in kinds) if key in plots)
    metrics = [[name, str(spread), value(c.ensemble[name])] for name, spread in c.spread.items()]
    return section(
        f"Trial {c.label}: {describe_architecture(c.config['architecture'])}",
        caption,
        f"<div class=pair>{drawn}</div>",
        f"<details><summary>Every metric</summary>{html_table(['metric', 'seeds', 'ensemble'], metrics)}</details>",
        f"<details><summary>Configuration</summary><pre>{escape(json.dumps(c.config, indent=1))}</pre></details>",
        attributes="class=rank",
    )


def failures(retrained: Retrained) -> str:
    if not retrained.failures:
        return ""
    lines = "".join(f"<li>{escape(reason)}</li>" for reason in retrained.failures)
    return f"<section><h2>Failed trainings</h2><ul>{lines}</ul></section>"
