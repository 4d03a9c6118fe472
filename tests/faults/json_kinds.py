"""Every value of a JSON file becomes one of another kind: refused, or read as if it were missing where that is documented; never a defect."""
import copy
import json

from uses import Use, continued, finished_run, reported, scored, stopped_run

VALUES = (None, True, -7, 0.5, 1e308, 'text', [], {}, [1, 'text'], {'text': 1})


def run(bench):
    for use in uses(bench):
        row = bench.row(f'a JSON value of another kind: {use.fault}', other_is_right=use.other_is_right)
        changes = [(line, path, value) for line, path, old in places(use.original) for value in VALUES if kind(value) != kind(old)]
        bench.random.shuffle(changes)
        for line, path, value in changes[:bench.tries]:
            use.try_bytes(bench, row, changed(use.original, line, path, value), f'line {line}, {"/".join(map(str, path))} = {value!r}')


def kind(value):
    return 'number' if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value)


def documents(content):
    """One, or one a line."""
    text = content.decode()
    try:
        return [json.loads(text)]
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines()]


def places(content):
    return [(line, path, value) for line, document in enumerate(documents(content)) for path, value in values(document, ())]


def values(document, path):
    yield path, document
    items = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    for key, value in items:
        yield from values(value, (*path, key))


def changed(content, line, path, value):
    all_documents = copy.deepcopy(documents(content))
    if not path:
        all_documents[line] = value
    else:
        inner = all_documents[line]
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
    return '\n'.join(json.dumps(document) for document in all_documents).encode() + b'\n'


def uses(bench):
    base, adapter, run = bench.copy(bench.base), finished_run(bench), stopped_run(bench)
    evaluated = bench.new('evaluated')
    bench.succeed('evaluate', '--base', bench.base, '--data', bench.data, '--threads', 1, '--output', evaluated)
    yield Use('config.json of a base (no hash)', base, 'config.json', lambda folder: scored(bench, base=folder), False, True)
    yield Use('adapter_config.json', adapter, 'adapter_config.json', lambda folder: scored(bench, adapter=folder))
    yield Use('a checkpoint or run.json', run, 'checkpoint-3/trainer_state.json',
              lambda folder: continued(bench, folder, folder / 'checkpoint-3'), True)
    yield Use('a checkpoint or run.json', run, 'run.json', lambda folder: continued(bench, folder, 'auto'), True)
    yield Use('trainer_log.jsonl, --resume auto; adapters compared', run, 'trainer_log.jsonl', lambda folder: continued(bench, folder, 'auto', log=False), True)
    for folder, file in ((adapter, 'trainer_log.jsonl'), (adapter, 'train_results.json'), (evaluated, 'eval_results.json'),
                         (evaluated, 'predictions.jsonl')):
        yield Use('records in report (no hash)', folder, file, lambda folder: reported(bench, folder), False, True)
