#!/usr/bin/env python3
"""Brings trainings of Chorus to MLflow or Weights & Biases; see trackers.md.

    trackers.py mlflow RUN... --store mlruns [--experiment NAME]
    trackers.py wandb RUN... [--project NAME] [--online]

RUN is an output folder of `chorus train`. For MLflow its file store is written, with nothing but Python. For Weights &
Biases its own package is used, offline unless told otherwise.
"""

import argparse
import json
import math
import pathlib
import shutil
import sys
import uuid

# Keys of trainer_log.jsonl, and the names under which TensorBoard has them as well.
NAMES = {
    'loss': 'train/loss',
    'grad_norm': 'train/grad_norm',
    'lr': 'train/learning_rate',
    'epoch': 'train/epoch',
    'throughput': 'speed/tokens_per_second',
    'effective_throughput': 'speed/effective_tokens_per_second',
    'mfu': 'speed/mfu',
    'eval_loss': 'dev/loss',
    'eval_weighted_f1': 'dev/weighted_f1',
    'eval_macro_f1': 'dev/macro_f1',
    'eval_accuracy': 'dev/accuracy',
}


class Run:
    """What a folder tells of a training: options, and (step, seconds since its start, {name: value}) of each log line."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder).resolve()
        log = self.folder / 'trainer_log.jsonl'
        if not log.is_file():
            sys.exit(f'{folder}: there is no trainer_log.jsonl; name an output folder of chorus train')
        self.name = self.folder.name
        self.points = []
        elapsed = 0.0
        lines = log.read_text(encoding='utf-8').splitlines(keepends=True)
        for number, line in enumerate(lines, 1):
            try:
                entry = json.loads(line)
            except ValueError:
                if number < len(lines) or line.endswith('\n'):
                    sys.exit(f'{log}:{number}: is not valid JSON')
                print(f'{log}: the last line is cut, as a killed process leaves it, and left out', file=sys.stderr)
                break
            elapsed = entry.get('elapsed_time', elapsed)
            values = {name: entry[key] for key, name in NAMES.items()
                      if isinstance(entry.get(key), (int, float)) and math.isfinite(entry[key])}
            self.points.append((entry['current_steps'], elapsed, values))
        # The log tells no time of day: the run is shown as if it had never paused and ended when its last line was written.
        self.begin = log.stat().st_mtime - elapsed
        self.end = log.stat().st_mtime
        self.options = self.read_options(self.folder / 'config.ini')
        results = self.folder / 'train_results.json'
        self.results = json.loads(results.read_text(encoding='utf-8')) if results.is_file() else None

    @staticmethod
    def read_options(path):
        options = {}
        for line in path.read_text(encoding='utf-8').splitlines() if path.is_file() else []:
            name, equal, value = line.partition('=')
            if equal and not line.lstrip().startswith('#'):
                options[name.strip()] = value.strip()
        return options


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding='utf-8')


def yaml(fields):
    """A map of texts, numbers and empty lists; JSON's way of writing these is YAML's as well."""
    return ''.join(f'{key}: {json.dumps(value, ensure_ascii=False)}\n' for key, value in fields.items())


def mlflow_experiment(store, name):
    for meta in store.glob('*/meta.yaml'):
        names = [line[6:].strip().strip('\'"') for line in meta.read_text(encoding='utf-8').splitlines()
                 if line.startswith('name: ')]
        if name in names:
            return meta.parent
    # MLflow's own are numbers of 18 digits.
    number = str(uuid.uuid5(uuid.NAMESPACE_URL, name).int % 10**18).rjust(18, '1')
    folder = store / number
    write(folder / 'meta.yaml', yaml({
        'artifact_location': folder.as_uri(), 'creation_time': 0, 'experiment_id': number, 'last_update_time': 0,
        'lifecycle_stage': 'active', 'name': name}))
    return folder


def to_mlflow(run, arguments):
    experiment = mlflow_experiment(pathlib.Path(arguments.store).resolve(), arguments.experiment)
    # The same for the same folder, so that a later call replaces what an earlier one wrote.
    identity = uuid.uuid5(uuid.NAMESPACE_URL, run.folder.as_uri()).hex
    folder = experiment / identity
    if folder.exists():
        shutil.rmtree(folder)
    running, finished, killed = 1, 3, 5  # of MLflow's RunStatus
    status = running if run.results is None else finished if run.results.get('finished') else killed
    write(folder / 'meta.yaml', yaml({
        'artifact_uri': (folder / 'artifacts').as_uri(), 'end_time': None if status == running else int(1000 * run.end),
        'entry_point_name': '', 'experiment_id': experiment.name, 'lifecycle_stage': 'active', 'run_id': identity,
        'run_name': run.name, 'run_uuid': identity, 'source_name': '', 'source_type': 4, 'source_version': '',
        'start_time': int(1000 * run.begin), 'status': status, 'tags': [], 'user_id': ''}))
    for folder_of in ('artifacts', 'metrics', 'params', 'tags'):
        (folder / folder_of).mkdir()
    metrics = {}
    for step, elapsed, values in run.points:
        for name, value in values.items():
            metrics.setdefault(name, []).append(f'{int(1000 * (run.begin + elapsed))} {value!r} {step}\n')
    for name, lines in metrics.items():
        write(folder / 'metrics' / name, ''.join(lines))
    for name, value in run.options.items():
        write(folder / 'params' / name, value)
    write(folder / 'tags' / 'mlflow.runName', run.name)
    write(folder / 'tags' / 'mlflow.source.name', str(run.folder))
    print(f'{run.folder}: {len(run.points)} lines are in {folder}')


def to_wandb(run, arguments):
    import wandb  # of the user: pip install wandb
    tracked = wandb.init(project=arguments.project, name=run.name, config=run.options,
                         mode='online' if arguments.online else 'offline')
    # Steps only rise there, so that a step and the scoring of dev after it are one entry.
    merged = {}
    for step, _, values in run.points:
        merged.setdefault(step, {}).update(values)
    for step in sorted(merged):
        tracked.log(merged[step], step=step)
    for key, value in (run.results or {}).items():
        if isinstance(value, (bool, int, float, str)):
            tracked.summary[key] = value
    tracked.finish()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    trackers = parser.add_subparsers(required=True)
    mlflow = trackers.add_parser('mlflow', help="writes MLflow's file store")
    mlflow.add_argument('--store', default='mlruns', help='folder of the store')
    mlflow.add_argument('--experiment', default='chorus', help='in which the runs stand')
    mlflow.set_defaults(convert=to_mlflow)
    wandb = trackers.add_parser('wandb', help='logs by the package wandb')
    wandb.add_argument('--project', default='chorus', help='in which the runs stand')
    wandb.add_argument('--online', action='store_true', help='send at once, instead of by `wandb sync`')
    wandb.set_defaults(convert=to_wandb)
    for parser_of in (mlflow, wandb):
        parser_of.add_argument('runs', nargs='+', metavar='RUN', help='output folder of chorus train')
    arguments = parser.parse_args()
    for folder in arguments.runs:
        arguments.convert(Run(folder), arguments)


if __name__ == '__main__':
    main()
