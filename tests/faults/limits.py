"""Limits of a shell, ulimit -f and -n, and folders that may not be written to or go away."""
import os
import shutil
import time

from workbench import DATA_FILES, differences, digest, results_of


def run(bench):
    limit_training(bench, 'ulimit -f while a training writes', 'RLIMIT_FSIZE', [1024 * size for size in (1, 2, 4, 8, 12, 16, 24, 32)])
    limit_training(bench, 'ulimit -n while a training opens', 'RLIMIT_NOFILE', range(4, 13))
    limit_prepare(bench)
    remove_while_running(bench)


def limit_training(bench, fault, name, values):
    row = bench.row(fault)
    reference = bench.new('reference')
    bench.succeed(*bench.training(reference))
    for value in bench.some(values):
        output = bench.new('limited')
        arguments = bench.training(output)
        result = bench.run(*arguments, limits={name: value})
        bench.judge_training(row, result, f'{name} {value}', output, arguments, results_of(reference))


def limit_prepare(bench):
    row = bench.row('ulimit -f and -n for prepare')
    for name, values in (('RLIMIT_FSIZE', (512, 1024, 4096, 8192, 13000)), ('RLIMIT_NOFILE', range(4, 9))):
        for value in bench.some(values):
            output = bench.new('limited')
            result = bench.run('prepare', '--corpus', 'jsonl', bench.corpus, '--base', bench.base, '--output', output, limits={name: value})
            if result.code != 0 and any((output / file).exists() for file in DATA_FILES):
                row.add('other', f'{name} {value}: a folder that is not whole')
            else:
                bench.judge(row, result, f'{name} {value}', lambda: all(
                    digest(output / file) == digest(bench.data / file) for file in DATA_FILES))


def remove_while_running(bench):
    """What a training reads or has written goes away under it."""
    named_base = 'adapter_config.json differs'  # it says where the base was
    row = bench.row('base, data, checkpoints or output removed while a training runs')
    reference = bench.new('reference')
    bench.succeed(*bench.training(reference, '--max-steps', 30))
    for what in ('base', 'data', 'the newest checkpoint', 'output'):
        base, data, output, log = bench.copy(bench.base), bench.copy(bench.data), bench.new('output'), bench.new('log')
        arguments = bench.training(output, '--max-steps', 30, base=base, data=data)
        process = bench.start(bench.command(arguments), log)
        while process.poll() is None and not (output / 'checkpoint-3').exists():
            time.sleep(0.002)
        target = {'base': base, 'data': data, 'the newest checkpoint': output / 'checkpoint-3', 'output': output}[what]
        aside = bench.new('aside')
        try:
            os.rename(target, aside)
        except FileNotFoundError:
            pass  # it went by itself
        code = bench.finish(process)
        result = bench.result(code, log)
        if what == 'output':
            bench.judge(row, result, what, lambda: False)
        else:
            bench.judge(row, result, what, lambda: differences(results_of(output), results_of(reference)) in ('', named_base))
        shutil.rmtree(aside, ignore_errors=True)
