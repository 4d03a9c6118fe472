#!/usr/bin/env python3
"""Writes metrics_golden.json: scores by scikit-learn, spreads and a bootstrap by numpy, of random predictions.

    python3 -m venv sklearn && sklearn/bin/pip install scikit-learn
    sklearn/bin/python tests/core/scoring/metrics_golden.py
"""

import json
import pathlib

import numpy
import sklearn
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support

random = numpy.random.default_rng(20240607)
bootstrap_samples = 10000


def predictions(labels, count, hit_share, gold_labels=None, predicted_labels=None):
    """Skewed gold labels; a share of the answers is right where it may be, the others are random."""
    gold_labels = list(gold_labels or range(labels))
    predicted_labels = list(predicted_labels or range(labels))
    skew = 0.6 ** numpy.arange(len(gold_labels))
    gold = random.choice(gold_labels, size=count, p=skew / skew.sum())
    guess = random.choice(predicted_labels, size=count)
    right = (random.random(count) < hit_share) & numpy.isin(gold, predicted_labels)
    return gold, numpy.where(right, gold, guess)


def scored(name, labels, gold, predicted):
    options = {"labels": list(range(labels)), "zero_division": 0}
    precision, recall, f1, support = precision_recall_fscore_support(gold, predicted, **options)
    return {
        "name": name,
        "labels": labels,
        "gold": gold.tolist(),
        "predicted": predicted.tolist(),
        "precision": precision.tolist(),
        "recall": recall.tolist(),
        "f1": f1.tolist(),
        "support": support.tolist(),
        "weighted_f1": float(f1_score(gold, predicted, average="weighted", **options)),
        "macro_f1": float(f1_score(gold, predicted, average="macro", **options)),
        "present_macro_f1": float(f1_score(gold, predicted, average="macro", zero_division=0)),
        "accuracy": float(accuracy_score(gold, predicted)),
        "confusion": confusion_matrix(gold, predicted, labels=list(range(labels))).tolist(),
    }


def weighted_f1(gold, predicted):
    return f1_score(gold, predicted, average="weighted", zero_division=0)


def bootstrap(name, labels, count, shares, other_shares):
    gold = predictions(labels, count, 0)[0]

    def run(share):
        guess = random.integers(labels, size=count)
        return numpy.where(random.random(count) < share, gold, guess)

    ours, others = [run(share) for share in shares], [run(share) for share in other_shares]

    def difference(rows):
        def mean(runs):
            return numpy.mean([fast_weighted_f1(gold[rows], run[rows], labels) for run in runs])

        return mean(ours) - mean(others)

    observed = difference(numpy.arange(count))
    exact = numpy.mean([weighted_f1(gold, run) for run in ours]) - numpy.mean(
        [weighted_f1(gold, run) for run in others]
    )
    assert abs(observed - exact) < 1e-12
    drawn = numpy.array([difference(random.integers(count, size=count)) for _ in range(bootstrap_samples)])
    return {
        "name": name,
        "labels": labels,
        "gold": gold.tolist(),
        "runs": [run.tolist() for run in ours],
        "against": [run.tolist() for run in others],
        "difference": float(exact),
        "low": float(numpy.quantile(drawn, 0.025)),
        "high": float(numpy.quantile(drawn, 0.975)),
        "deviation": float(drawn.std(ddof=1)),
        "p_value": float((1 + (abs(drawn - observed) >= abs(observed)).sum()) / (1 + bootstrap_samples)),
    }


def fast_weighted_f1(gold, predicted, labels):
    """Checked above against scikit-learn, which takes milliseconds a call."""
    table = numpy.bincount(gold * labels + predicted, minlength=labels * labels).reshape(labels, labels)
    support, said, hits = table.sum(axis=1), table.sum(axis=0), table.diagonal()
    f1 = numpy.divide(2 * hits, support + said, out=numpy.zeros(labels), where=support + said > 0)
    return (f1 * support).sum() / len(gold)


scores = [
    scored("seven labels", 7, *predictions(7, 300, 0.6)),
    scored("nine labels", 9, *predictions(9, 400, 0.4)),
    scored("classes without gold", 7, *predictions(7, 120, 0.5, gold_labels=[0, 2, 3, 6])),
    scored("classes never predicted", 7, *predictions(7, 150, 0.7, predicted_labels=[0, 1, 4])),
    scored("neither gold nor predicted", 9, *predictions(9, 90, 0.5, [0, 1, 5], [1, 5, 8])),
    scored("one class only", 7, numpy.full(20, 3), numpy.full(20, 3)),
    scored("one gold class", 7, *predictions(7, 40, 0.3, gold_labels=[2])),
    scored("one predicted class", 7, *predictions(7, 40, 0, predicted_labels=[5])),
    scored("never right", 3, numpy.array([0, 1, 2, 0]), numpy.array([1, 2, 0, 2])),
    scored("one utterance", 7, numpy.array([4]), numpy.array([4])),
]
spreads = []
for count in (1, 2, 3, 8):
    values = random.normal(0.6, 0.02, size=count)
    deviation = float(values.std(ddof=1)) if count > 1 else 0.0
    spreads.append({"values": values.tolist(), "mean": float(values.mean()), "deviation": deviation})
golden = {
    "scikit_learn": sklearn.__version__,
    "numpy": numpy.__version__,
    "bootstrap_samples": bootstrap_samples,
    "scores": scores,
    "spreads": spreads,
    "bootstraps": [
        bootstrap("clearly better", 7, 300, [0.65, 0.6, 0.7], [0.45, 0.5, 0.4]),
        bootstrap("hardly better", 7, 250, [0.53, 0.55], [0.5, 0.52, 0.51]),
        bootstrap("worse, nine labels", 9, 200, [0.5], [0.6]),
    ],
}
path = pathlib.Path(__file__).with_suffix(".json")
entries = [f'"{key}": {json.dumps(value)}' for key, value in golden.items() if not isinstance(value, list)]
for key, values in golden.items():
    if isinstance(values, list):
        entries.append(f'"{key}": [\n' + ",\n".join(json.dumps(value) for value in values) + "\n]")
path.write_text("{\n" + ",\n".join(entries) + "\n}\n")
