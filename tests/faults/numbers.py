"""Numbers that are none, or are huge: refused, or all that is computed stays finite."""
import json
import math
import struct

from workbench import read_safetensors, remove_hashes, set_floats

OPTIONS = {'learning-rate': (1.0, 1e30, 1e300, 'inf', 'nan', -1), 'weight-decay': (1e30, 'nan'), 'lora-alpha': (1e38, 'inf', 0),
           'lora-dropout': (0.999999, 1, 'nan'), 'adam-epsilon': (0, 1e30), 'batch-size': (0, 2**31 - 1, 2**63 - 1, 2**64),
           'lora-rank': (0, 2**31 - 1, 2**62), 'max-steps': (-1, 2**63), 'epochs': ('nan', -1, 'inf'),
           'tokens-per-microbatch': (0, 1, 2**40), 'seed': (2**64 - 1, -1), 'warmup-ratio': (2, 'nan'), 'save-steps': (-1, 2**62),
           'hang-limit': ('nan', -1, 1e300), 'max-grad-norm': (1e-30, 'inf')}
TENSORS = ('model.norm.weight', 'model.embed_tokens.weight', 'model.layers.1.self_attn.q_proj.weight')


def run(bench):
    row = bench.row('options that are no number, or too large or too small')
    for name, value in bench.some([(name, value) for name, values in OPTIONS.items() for value in values]):
        train(bench, row, f'--{name} {value}', (f'--{name}', value))
    row = bench.row('a weight of the base that is NaN, infinite or 10³⁸')
    for tensor, value in bench.some([(tensor, value) for tensor in TENSORS for value in (math.nan, math.inf, 1e38)]):
        base = bench.copy(bench.base)
        set_floats(base / 'model.safetensors', tensor, lambda values: [value, *values[1:]])
        remove_hashes(base / 'model.safetensors')
        train(bench, row, f'{tensor} {value}', base=base)
    row = bench.row('lists of tokens that are empty, masked or outside the vocabulary')
    for lines in bench.some(token_lists()):
        prepare(bench, row, lines)


def train(bench, row, what, more=(), **places):
    output = bench.new('numbers')
    result = bench.run(*bench.training(output, '--max-steps', 4, *more, **places))
    bench.judge(row, result, what, lambda: is_finite(output))


def is_finite(output):
    path = output / 'adapter_model.safetensors'
    data = path.read_bytes()[read_safetensors(path)[1]:]
    entries = [json.loads(line) for line in (output / 'trainer_log.jsonl').read_text().splitlines()]
    numbers = [value for entry in entries for value in entry.values() if isinstance(value, (int, float))]
    return all(map(math.isfinite, [*numbers, *struct.unpack(f'<{len(data) // 4}f', data)]))


def token_lists():
    good = {'input_ids': [1, 5, 6, 7], 'labels': [-100, -100, 6, 7]}
    return [[good], [], [{}], [{**good, 'labels': [6]}], [{**good, 'labels': [-100] * 4}], [good, {**good, 'labels': [-100] * 4}],
            [{'input_ids': [], 'labels': []}], [{'input_ids': [1, 300], 'labels': [-100, 300]}], [{'input_ids': [1, -5], 'labels': [-100, -5]}],
            [{'input_ids': [1, 2**40], 'labels': [-100, 2**40]}], [{'input_ids': [1, 2.5], 'labels': [-100, 2.5]}], [good, good]]


def prepare(bench, row, lines):
    """And two steps on what was accepted."""
    file, data = bench.new('tokens'), bench.new('data')
    file.write_text(''.join(json.dumps(line) + '\n' for line in lines))
    result = bench.run('prepare', '--corpus', 'tokens', file, '--base', bench.base, '--output', data)
    if result.code != 0:
        return bench.judge(row, result, str(lines), lambda: False)
    train(bench, row, str(lines), ('--max-steps', 2, '--eval-steps', 0), data=data)
