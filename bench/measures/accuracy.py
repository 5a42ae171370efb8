"""Accuracy: top-1 on the whole test set, overall and per class, with every prediction kept."""

from __future__ import annotations

from bench.errors import BenchError
from bench.measures.base import Context, Found, Measure
from leaderboard.results import MetricInfo


def run(context: Context) -> Found:
    """Return `top1` (percent), `top1[class]` for each class, and arrays `prediction`, `label`.

    Raises:
        BenchError: the data set keeps its test labels to itself.
    """
    from bench.measures.clean import predictions

    test = context.dataset.test
    if test.labels is None:
        raise BenchError(f"{context.dataset.name}: has no test labels to measure accuracy with")
    labels = test.labels.cpu()
    predicted = predictions(context)
    correct = predicted == labels
    metrics = {"top1": 100.0 * float(correct.double().mean())}
    for index, name in enumerate(context.dataset.classes):
        of_class = labels == index
        if of_class.any():
            metrics[f"top1[{name}]"] = 100.0 * float(correct[of_class].double().mean())
    return Found(metrics, {"prediction": predicted.numpy(), "label": labels.numpy()})


MEASURE = Measure(
    "accuracy",
    run,
    metrics={"top1": MetricInfo("accuracy", "%", "higher", decimals=1, headline=True)},
)
