"""Rank 1 of 2 has something else than rank 0, as on machines with disks of their own: named before anything is computed."""
import shutil

from continuations import others
from uses import SHORT_RUN, stopped_run
from workbench import told

OTHER = {'learning-rate': 1e-3, 'seed': 7, 'batch-size': 4, 'max-steps': 5, 'lora-rank': 4, 'lora-dropout': 0.2, 'precision': 'bf16',
         'save-steps': 2, 'eval-steps': 3, 'tokens-per-microbatch': 400, 'prefix-sharing': 'off', 'recompute': 'on', 'warmup-steps': 3}


def run(bench):
    places = others(bench)
    for more in ((), ('--tensor-parallel', 2)):
        options = bench.row('two ranks with different options')
        for name, value in bench.some(OTHER.items()):
            differ(bench, options, f'--{name} {value}', more, (*more, f'--{name}', value))
        contents = bench.row('two ranks with a different base or data')
        for what, paths in bench.some(places.items()):
            differ(bench, contents, what, more, more, **paths)
        lone_checkpoint(bench, bench.row('two ranks, of which one finds the checkpoint'), more)
        early_end(bench, bench.row('two ranks, of which one ends before it begins'), more)


def start(bench, first, second):
    """The command of rank 0 and that of rank 1. What the shell drops is as long as the former's."""
    words = [str(word) for word in first]
    script = f'[ "$OMPI_COMM_WORLD_RANK" = 1 ] && shift {len(words)} || set -- ' + ' '.join(f'"${{{n + 1}}}"' for n in range(len(words)))
    launcher = ['mpirun', '--bind-to', 'none', '--oversubscribe', '-n', 2, 'sh', '-c', script + '; exec "$@"', 'sh']
    return bench.run_command([*launcher, *words, *second], seconds=60)


def differ(bench, row, what, first, second, **paths):
    output = bench.new('differing')
    result = start(bench, bench.command(bench.training(output, *SHORT_RUN, *first)),
                   bench.command(bench.training(output, *SHORT_RUN, *second, **paths)))
    named = 'rank 1 (host' in result.text and not output.exists()
    bench.judge(row, result if named or not told(result) else result._replace(code=1), what, lambda: False)


def lone_checkpoint(bench, row, more):
    stopped = stopped_run(bench)
    arguments = [[*bench.training(bench.copy(folder) if folder else bench.new('empty'), *SHORT_RUN, *more), '--resume', 'auto']
                 for folder in (stopped, None)]
    for first, second in (arguments, arguments[::-1]):
        bench.judge(row, start(bench, bench.command(first), bench.command(second)), 'a checkpoint', lambda: False)


def early_end(bench, row, more):
    """By an error; one that says nothing and ends with 0 is Open MPI's own hang (docs/reliability.md)."""
    training = bench.command(bench.training(bench.new('early'), *SHORT_RUN, *more))
    for first, second in ((['sh', '-c', 'exit 3'], training), (training, ['sh', '-c', 'exit 3'])):
        result = start(bench, first, second)
        row.add('refused' if result.code == 3 else 'crash', f'exit code {result.code}')
    shutil.rmtree(bench.folder / 'early', ignore_errors=True)
