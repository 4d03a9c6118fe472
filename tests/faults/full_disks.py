"""A disk of every small size: a tmpfs, so root. A training goes on when there is room again; what others leave is whole or not there."""
import os
import shutil
import subprocess

from workbench import DATA_FILES, digest, results_of


def run(bench):
    place = bench.folder / 'disk'
    place.mkdir()
    if os.geteuid() != 0 or subprocess.call(mount('size=1m', place), stderr=subprocess.DEVNULL) != 0:
        return bench.skip('full disks', 'mounting a tmpfs needs root')
    subprocess.check_call(['umount', place])
    for ranks in (1, 2):
        if ranks == 1 or shutil.which('mpirun'):
            fill_training(bench, place, ranks)
    fill_writer(bench, place, 'prepare', ['prepare', '--corpus', 'jsonl', bench.corpus, '--base', bench.base], DATA_FILES)
    fill_writer(bench, place, 'evaluate', ['evaluate', '--base', bench.base, '--data', bench.data, '--threads', 1],
                ('predictions.jsonl', 'eval_results.json'))


def mount(options, place):
    return ['mount', '-t', 'tmpfs', '-o', options, 'tmpfs', place]


def sizes(bench, folder, share):
    """KiB, evenly from one page to all that is needed, and so many that all rows together are `share` of the tries."""
    needed = sum(path.stat().st_size // 4096 * 4 + 4 for path in folder.rglob('*')) + 4
    count = max(2, int(bench.tries * share))
    return sorted({4 + (needed - 4) * number // count // 4 * 4 for number in range(count)})


def fill_training(bench, place, ranks):
    row = bench.row('the disk is full for a training, then larger')
    more = ('--max-steps', 6, '--save-total-limit', 2)
    reference = bench.new('reference')
    bench.succeed(*bench.training(reference, *more), ranks=ranks)
    for size in sizes(bench, reference, 0.3 / ranks):
        subprocess.check_call(mount(f'size={size}k', place))
        arguments = bench.training(place / 'run', *more)
        try:
            result = bench.run(*arguments, ranks=ranks)
            subprocess.check_call(['mount', '-o', 'remount,size=100m', place])
            bench.judge_training(row, result, f'{size} KiB', place / 'run', arguments, results_of(reference), ranks)
        finally:
            subprocess.check_call(['umount', '-l', place])


def fill_writer(bench, place, name, arguments, files):
    row = bench.row(f'the disk is full for {name}')
    reference = bench.new('reference')
    bench.succeed(*arguments, '--output', reference)
    for size in sizes(bench, reference, 0.2):
        subprocess.check_call(mount(f'size={size}k', place))
        try:
            result = bench.run(*arguments, '--output', place / 'out')
            there = [file for file in files if (place / 'out' / file).exists()]
            if any(digest(place / 'out' / file) != digest(reference / file) for file in there):
                row.add('other', f'{size} KiB: a file is not whole')
            else:
                bench.judge(row, result, f'{size} KiB', lambda: there == list(files))
        finally:
            subprocess.check_call(['umount', '-l', place])
