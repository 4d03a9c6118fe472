"""Bits flipped, files cut, extended or with zeros in them. What Chorus wrote is refused or means the same; what other programs write has no
hash to be known by, and is here to show the difference."""
from uses import Use, continued, finished_run, reported, scored, stopped_run, trained
from workbench import SHARD_FILES, remove_hashes


def run(bench):
    for use in uses(bench):
        row = bench.row(f'damaged: {use.fault}', other_is_right=use.other_is_right)
        for _ in range(bench.tries):
            content, what = use.original, ''
            while content == use.original:
                content, what = damaged(bench.random, use.original)
            use.try_bytes(bench, row, content, what)


def damaged(chooser, content):
    """Half of the places are within the first 4 KiB, where headers are."""
    limit = len(content) if chooser.random() < 0.5 else min(len(content), 4096)
    place, kind = chooser.randrange(limit), chooser.random()
    if kind < 0.7:
        bit = chooser.randrange(8)
        return content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1:], f'bit {bit} of byte {place} flipped'
    if kind < 0.85:
        return content[:place], f'cut to {place} bytes'
    if kind < 0.95:
        count = min(chooser.choice((1, 16, 512, 4096)), len(content) - place)
        return content[:place] + bytes(count) + content[place + count:], f'{count} zeros from byte {place}'
    return content + content[:chooser.randrange(1, 4096)], 'appended bytes'


def uses(bench):
    base, foreign, adapter = bench.copy(bench.base), bench.copy(bench.base), finished_run(bench)
    remove_hashes(foreign / 'model.safetensors')
    yield Use('model.safetensors of a base', base, 'model.safetensors', lambda folder: scored(bench, base=folder))
    yield Use('tokenizer.model of a base', base, 'tokenizer.model', lambda folder: scored(bench, base=folder))
    yield Use('config.json of a base (no hash)', base, 'config.json', lambda folder: scored(bench, base=folder), other_is_right=True)
    yield Use('model.safetensors of another program (no hash)', foreign, 'model.safetensors', lambda folder: scored(bench, base=folder),
              other_is_right=True)
    for file in ('train.h5', 'dev.h5'):
        yield Use('train.h5 or dev.h5 of data', bench.copy(bench.data), file, lambda folder: trained(bench, folder))
    shards = bench.new('shards')
    bench.succeed(*bench.in_shards(), '--output', shards)
    for file in SHARD_FILES[:2]:
        yield Use('a shard of data', shards, file, lambda folder: trained(bench, folder))
    for file in ('adapter_model.safetensors', 'adapter_config.json'):
        yield Use(f'{file} of an adapter', adapter, file, lambda folder: scored(bench, adapter=folder))
    run = stopped_run(bench)
    for file in ('adapter_model.safetensors', 'optimizer.safetensors', 'trainer_state.json', 'best/adapter_model.safetensors'):
        name = 'checkpoint-3/' + file
        yield Use('a file of a checkpoint that --resume names', run, name, lambda folder: continued(bench, folder, folder / 'checkpoint-3'), True)
        yield Use('a file of the newest checkpoint, --resume auto', run, name, lambda folder: continued(bench, folder, 'auto'), True)
    yield Use('run.json, --resume auto', run, 'run.json', lambda folder: continued(bench, folder, 'auto'), True)
    yield Use('trainer_log.jsonl, --resume auto; adapters compared', run, 'trainer_log.jsonl',
              lambda folder: continued(bench, folder, 'auto', log=False), True)
    for file in ('trainer_log.jsonl', 'train_results.json'):
        yield Use('records in report (no hash)', adapter, file, lambda folder: reported(bench, folder), other_is_right=True)
