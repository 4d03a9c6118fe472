"""A run that was stopped is continued with something else: what decides results is refused, and the run stays as it was; what does not
gives the same. That every option of `train` is on one of the two lists is a test of its own."""
import json
import shutil

from uses import SHORT_RUN, stopped_run
from workbench import differences, digest, remove_hashes, results_of, set_floats, write_corpus

OTHER = {'learning-rate': 1e-3, 'seed': 7, 'batch-size': 4, 'max-steps': 5, 'lora-rank': 4, 'lora-alpha': 8, 'lora-dropout': 0.2,
         'lora-targets': 'q,v', 'rslora': 'on', 'schedule': 'linear', 'warmup-steps': 3, 'weight-decay': 0.1, 'max-grad-norm': 0.5,
         'adam-beta1': 0.5, 'adam-beta2': 0.5, 'adam-epsilon': 1e-2, 'shuffle': 'off', 'precision': 'bf16', 'base-precision': 'int8',
         'method': 'full', 'eval-steps': 3}
SAME = {'save-steps': 2, 'recompute': 'on', 'logging-steps': 1, 'save-total-limit': 1, 'threads': 2, 'lora-targets': 'down,up,gate,o,k,v,q'}
ROUNDED = {'tokens-per-microbatch': 400, 'prefix-sharing': 'off'}


def run(bench):
    stopped = stopped_run(bench)
    reference = results_of(continued(bench, stopped)[1])
    row = bench.row('a run continued with other options')
    for name, value in bench.some(OTHER.items()):
        refused(bench, row, stopped, f'--{name} {value}', (f'--{name}', value))
    row = bench.row('a run continued on another base or other data')
    for what, places in others(bench).items():
        refused(bench, row, stopped, what, **places)
    row = bench.row('a run continued with options that change nothing')
    for name, value in bench.some(SAME.items()):
        result, output = continued(bench, stopped, (f'--{name}', value))
        bench.judge(row, result, f'--{name} {value}', lambda: not differences(results_of(output), reference), may_refuse=False)
    row = bench.row('a run continued on another grid, or in other pieces (equal to 10⁻⁵)')
    for ranks, more in [(1, item) for item in (('--' + name, value) for name, value in ROUNDED.items())] + [(2, ()), (2, ('--tensor-parallel', 2))]:
        if ranks == 1 or shutil.which('mpirun'):
            result, output = continued(bench, stopped, more, ranks)
            bench.judge(row, result, f'{ranks} ranks {more}', lambda: nearly_equal(results_of(output), reference),
                        may_refuse=False)


def continued(bench, stopped, more=(), ranks=1, **places):
    output = bench.copy(stopped)
    return bench.run(*bench.training(output, *SHORT_RUN, *more, **places), '--resume', 'auto', ranks=ranks), output


def refused(bench, row, stopped, what, more=(), **places):
    result, output = continued(bench, stopped, more, **places)
    untouched = contents(output) == contents(stopped)
    bench.judge(row, result if untouched else result._replace(code=0), what, lambda: False)


def contents(folder):
    return {str(path.relative_to(folder)): digest(path) for path in folder.rglob('*') if path.is_file()}


def others(bench):
    weights, rope = bench.copy(bench.base), bench.copy(bench.base)
    set_floats(weights / 'model.safetensors', 'model.norm.weight', lambda values: [1.5 * value for value in values])
    remove_hashes(weights / 'model.safetensors')
    configuration = json.loads((rope / 'config.json').read_text())
    (rope / 'config.json').write_text(json.dumps({**configuration, 'rope_theta': 500000.0}))
    corpora = {name: bench.prepare(write_corpus(bench.new('corpus'), **more), bench.new('data'))
               for name, more in (('labels', {'relabel': True}), ('order', {'backwards': True}), ('texts', {'seed': 9}))}
    undeveloped = bench.copy(bench.data)
    (undeveloped / 'dev.h5').unlink()
    return {'a base with other weights': {'base': weights}, 'a base with another rope_theta': {'base': rope},
            'data without dev': {'data': undeveloped}, **{f'data with other {name}': {'data': path} for name, path in corpora.items()}}


def nearly_equal(results, reference):
    return results['log'].keys() == reference['log'].keys() and all(
        abs(value[0] - reference['log'][key][0]) < 1e-5 * reference['log'][key][0]
        for key, value in results['log'].items() if key[0] == 'step')
