#!/usr/bin/env python3
"""What words alone tell: logistic regression on bags of words, per corpus, for comparison with fine-tuned models.

Reads the CSV files of MELD (folder with *_sent_emo.csv) or EmoryNLP (emorynlp_*_final.csv). The strength C of the
regularisation is chosen on dev; test is scored once, with that C. Needs scikit-learn.

    experiments/word_baseline.py MELD/data/MELD MELD/data/emorynlp
    experiments/word_baseline.py --previous 2 MELD/data/MELD
"""

import argparse
import csv
import pathlib

from scipy.sparse import hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score

layouts = {
    "meld": ("{}_sent_emo.csv", ("Dialogue_ID",)),
    "emorynlp": ("emorynlp_{}_final.csv", ("Season", "Episode", "Scene_ID")),
}
strengths = [0.3, 1.0, 3.0, 10.0, 30.0]


def find_layout(folder):
    for corpus, (pattern, dialogue) in layouts.items():
        if (folder / pattern.format("train")).exists():
            return corpus, pattern, dialogue
    raise SystemExit(f"{folder} holds neither {' nor '.join(p.format('train') for p, _ in layouts.values())}")


def read_split(path, dialogue_columns, previous):
    """The text of each utterance, that of up to `previous` lines before it in its dialogue, and the labels."""
    lines, contexts, labels = [], [], []
    dialogue, history = None, []
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            key = tuple(row[column] for column in dialogue_columns)
            if key != dialogue:
                dialogue, history = key, []
            lines.append(row["Utterance"])
            contexts.append(" ".join(history[-previous:]) if previous else "")
            labels.append(row["Emotion"])
            history.append(row["Utterance"])
    return lines, contexts, labels


def features(splits, previous):
    """Weights of words and pairs of words, those of the line and of its context apart; learned from train only."""
    blocks = []
    for part in range(2 if previous else 1):
        # Short words and marks matter here: "oh", "no", "!".
        words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\w+|[!?.]+", sublinear_tf=True, min_df=2)
        words.fit(splits["train"][part])
        blocks.append({name: words.transform(split[part]) for name, split in splits.items()})
    return {name: hstack([block[name] for block in blocks]).tocsr() for name in splits}


def weighted_f1(model, inputs, labels):
    return f1_score(labels, model.predict(inputs), average="weighted")


def score(folder, previous):
    corpus, pattern, dialogue_columns = find_layout(folder)
    splits = {
        name: read_split(folder / pattern.format(name), dialogue_columns, previous) for name in ("train", "dev", "test")
    }
    inputs = features(splits, previous)
    best = None
    for balance in (None, "balanced"):
        for strength in strengths:
            model = LogisticRegression(C=strength, class_weight=balance, max_iter=300, tol=1e-3)
            model.fit(inputs["train"], splits["train"][2])
            dev = weighted_f1(model, inputs["dev"], splits["dev"][2])
            if best is None or dev > best[0]:
                best = (dev, strength, balance, model)
    dev, strength, balance, model = best
    test, gold = model.predict(inputs["test"]), splits["test"][2]
    print(
        f"{corpus:<10} previous lines {previous}  C {strength:<4} {balance or 'unweighted':<10}"
        f"  weighted F1: dev {100 * dev:.2f}, test {100 * f1_score(gold, test, average='weighted'):.2f}"
        f"  (test accuracy {100 * accuracy_score(gold, test):.2f},"
        f" macro F1 {100 * f1_score(gold, test, average='macro'):.2f}, {len(gold)} utterances)",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=pathlib.Path, metavar="FOLDER")
    parser.add_argument("--previous", type=int, default=0, help="lines before the utterance that are read as well")
    arguments = parser.parse_args()
    for folder in arguments.folders:
        score(folder, arguments.previous)


if __name__ == "__main__":
    main()
