"""strace lets one system call of a program fail, or kills the program there: the N-th rename, fsync, write, … of its work."""
import shutil

from workbench import DATA_FILES, digest, results_of

CALLS = {'rename': ('EIO', 'KILL'), 'fsync': ('EIO', 'KILL'), 'write': ('ENOSPC', 'KILL'), 'pwrite64': ('ENOSPC', 'KILL'),
         'openat': ('EACCES', 'EMFILE', 'KILL'), 'mkdir': ('ENOSPC', 'KILL'), 'unlink': ('EIO', 'KILL'), 'ftruncate': ('ENOSPC',),
         'read': ('EIO',), 'close': ('EIO',), 'flock': ('EINTR', 'ENOLCK'), 'newfstatat': ('EIO',), 'getdents64': ('EIO',)}
MAPPINGS = {'mmap': ('ENOMEM',)}


def run(bench):
    prepare, evaluate = prepare_of(bench), ['evaluate', '--base', bench.base, '--data', bench.data, '--threads', 1]
    scores = ('predictions.jsonl', 'eval_results.json')
    trace_training(bench, bench.row('a system call of train fails, or is where it is killed; then resumed'), CALLS)
    trace_writer(bench, bench.row('a system call of prepare fails, or is where it is killed'), prepare, DATA_FILES, CALLS)
    trace_writer(bench, bench.row('a system call of evaluate fails, or is where it is killed'), evaluate, scores, CALLS)
    trace_training(bench, bench.row('train is refused one mapping of memory; then resumed'), MAPPINGS)
    row = bench.row('prepare and evaluate are refused one mapping of memory')
    trace_writer(bench, row, prepare, DATA_FILES, MAPPINGS)
    trace_writer(bench, row, evaluate, scores, MAPPINGS)
    fail_each_write(bench)


def prepare_of(bench):
    return ['prepare', '--corpus', 'jsonl', bench.corpus, '--base', bench.base]


def traced(bench, arguments, calls, call='', fault='', number=0):
    """The result, and which of `calls` were made; `fault` is an error's name, or KILL."""
    trace = bench.folder / 'trace'
    injection = ['-e', f'inject={call}:' + ('signal=KILL' if fault == 'KILL' else f'error={fault}') + f':when={number}'] if call else []
    result = bench.run_command(['strace', '-f', '-qq', '-o', trace, '-e', 'trace=openat,' + ','.join(calls), *injection,
                                *bench.command(arguments)])
    return result, trace.read_text(errors='replace').splitlines()


def places(bench, arguments, output, calls):
    """(call, fault, number) of all that may be hit after the program itself was loaded, in a random order that begins with one of each
    kind."""
    result, lines = traced(bench, [*arguments, '--output', output], calls)
    assert result.code == 0, result.text
    begin = next(number for number, line in enumerate(lines) if 'config.json' in line)
    kinds = []
    for call, faults in calls.items():
        numbers = [sum(f' {call}(' in line for line in lines[:end]) for end in (begin, len(lines))]
        for fault in faults:
            chosen = [(call, fault, number + 1) for number in range(*numbers)]
            bench.random.shuffle(chosen)
            kinds.append(chosen)
    rest = [place for chosen in kinds for place in chosen[1:]]
    bench.random.shuffle(rest)
    return [chosen[0] for chosen in kinds if chosen] + rest


def trace_training(bench, row, calls):
    arguments = bench.training('')
    arguments = arguments[:arguments.index('--output')] + arguments[arguments.index('--output') + 2:]
    reference = bench.new('traced')
    for call, fault, number in places(bench, arguments, reference, calls)[:bench.tries]:
        output = bench.new('traced')
        result, _ = traced(bench, [*arguments, '--output', output], calls, call, fault, number)
        bench.judge_training(row, result, f'{call} {number} {fault} {output}', output, [*arguments, '--output', output],
                             results_of(reference))
        shutil.rmtree(output, ignore_errors=True)


def trace_writer(bench, row, arguments, names, calls):
    """A command that writes a new folder: it says so, or all is there; what is there is whole."""
    reference = bench.new('traced')
    for call, fault, number in places(bench, arguments, reference, calls)[:bench.tries]:
        output = bench.new('traced')
        result, _ = traced(bench, [*arguments, '--output', output], calls, call, fault, number)
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


def fail_each_write(bench):
    """A disk that is full for a moment: one write fails, all others do not."""
    row = bench.row('each single write of prepare fails alone')
    arguments = prepare_of(bench)
    for call in ('pwrite64', 'write'):
        for number in range(1, bench.tries + 1):
            output = bench.new('written')
            result, lines = traced(bench, [*arguments, '--output', output], CALLS, call, 'ENOSPC', number)
            if not any('INJECTED' in line for line in lines):
                break
            bench.judge(row, result, f'{call} {number} {output}', lambda: all(
                digest(output / name) == digest(bench.data / name) for name in DATA_FILES))
            shutil.rmtree(output, ignore_errors=True)
