"""strace lets one system call of a program fail, or kills the program there: the N-th rename, fsync, write, … of its work."""
import shutil

from workbench import DATA_FILES, digest, results_of

CALLS = {'rename': ('EIO', 'KILL'), 'fsync': ('EIO', 'KILL'), 'write': ('ENOSPC', 'KILL'), 'pwrite64': ('ENOSPC', 'KILL'),
         'openat': ('EACCES', 'EMFILE', 'KILL'), 'mkdir': ('ENOSPC', 'KILL'), 'unlink': ('EIO', 'KILL'), 'ftruncate': ('ENOSPC',),
         'read': ('EIO',), 'close': ('EIO',), 'flock': ('EINTR', 'ENOLCK'), 'newfstatat': ('EIO',), 'getdents64': ('EIO',)}


def run(bench):
    trace_training(bench)
    trace_prepare(bench)
    trace_evaluate(bench)
    fail_each_write(bench)


def traced(bench, arguments, call='', fault='', number=0):
    """The result, and what was called; `fault` is an error's name, or KILL."""
    trace = bench.folder / 'trace'
    injection = ['-e', f'inject={call}:' + ('signal=KILL' if fault == 'KILL' else f'error={fault}') + f':when={number}'] if call else []
    result = bench.run_command(['strace', '-f', '-qq', '-o', trace, '-e', 'trace=' + ','.join(CALLS), *injection,
                                *bench.command(arguments)])
    return result, trace.read_text(errors='replace').splitlines()


def places(bench, arguments, output):
    """(call, fault, number) of all that may be hit after the program itself was loaded, in a random order that begins with one of each
    kind."""
    result, lines = traced(bench, [*arguments, '--output', output])
    assert result.code == 0, result.text
    begin = next(number for number, line in enumerate(lines) if 'config.json' in line)
    kinds = []
    for call, faults in CALLS.items():
        numbers = [sum(f' {call}(' in line for line in lines[:end]) for end in (begin, len(lines))]
        for fault in faults:
            chosen = [(call, fault, number + 1) for number in range(*numbers)]
            bench.random.shuffle(chosen)
            kinds.append(chosen)
    rest = [place for chosen in kinds for place in chosen[1:]]
    bench.random.shuffle(rest)
    return [chosen[0] for chosen in kinds if chosen] + rest


def trace_training(bench):
    row = bench.row('a system call of train fails, or is where it is killed; then resumed')
    arguments = bench.training('')
    arguments = arguments[:arguments.index('--output')] + arguments[arguments.index('--output') + 2:]
    reference = bench.new('traced')
    for call, fault, number in places(bench, arguments, reference)[:bench.tries]:
        output = bench.new('traced')
        result, _ = traced(bench, [*arguments, '--output', output], call, fault, number)
        bench.judge_training(row, result, f'{call} {number} {fault} {output}', output, [*arguments, '--output', output],
                             results_of(reference))
        shutil.rmtree(output, ignore_errors=True)


def trace_writer(bench, row, arguments, names):
    """A command that writes a new folder: it says so, or all is there; what is there is whole."""
    reference = bench.new('traced')
    for call, fault, number in places(bench, arguments, reference)[:bench.tries]:
        output = bench.new('traced')
        result, _ = traced(bench, [*arguments, '--output', output], call, fault, number)
        there = [name for name in names if (output / name).exists()]
        whole = all(digest(output / name) == digest(reference / name) for name in there)
        what = f'{call} {number} {fault} {output}'
        if not whole:
            row.add('other', f'{what}: exit code {result.code}, a file is not whole')
        elif fault == 'KILL' and result.code == -9:
            row.add('same', what)
        else:
            bench.judge(row, result, what, lambda: there == list(names))
        shutil.rmtree(output, ignore_errors=True)


def trace_prepare(bench):
    trace_writer(bench, bench.row('a system call of prepare fails, or is where it is killed'), ['prepare', '--corpus', 'jsonl', bench.corpus, '--base', bench.base],
                 DATA_FILES)


def trace_evaluate(bench):
    trace_writer(bench, bench.row('a system call of evaluate fails, or is where it is killed'), ['evaluate', '--base', bench.base, '--data', bench.data, '--threads', 1],
                 ('predictions.jsonl', 'eval_results.json'))


def fail_each_write(bench):
    """A disk that is full for a moment: one write fails, all others do not."""
    row = bench.row('each single write of prepare fails alone')
    arguments = ['prepare', '--corpus', 'jsonl', bench.corpus, '--base', bench.base]
    for call in ('pwrite64', 'write'):
        for number in range(1, bench.tries + 1):
            output = bench.new('written')
            result, lines = traced(bench, [*arguments, '--output', output], call, 'ENOSPC', number)
            if not any('INJECTED' in line for line in lines):
                break
            bench.judge(row, result, f'{call} {number} {output}', lambda: all(
                digest(output / name) == digest(bench.data / name) for name in DATA_FILES))
            shutil.rmtree(output, ignore_errors=True)
