"""A rank that stands still or never starts is named, and the run ends or goes on; a pipe in place of a file is refused and not waited for."""
import os
import re
import signal
import time

from kills import is_rank
from workbench import descendants, last_line, results_of, send

NAMED = re.compile(r'no rank has gone on for \d+ s: rank (\d)')


def run(bench):
    for more in ((), ('--tensor-parallel', 2)):
        more = (*more, '--max-steps', 30)
        reference = bench.new('reference')
        bench.succeed(*bench.training(reference, *more), ranks=2)
        ended = bench.row('one of two ranks stands still (SIGSTOP), --hang-limit 8')
        for rank in (0, 1):
            stand_still(bench, ended, rank, (*more, '--hang-limit', 8), results_of(reference))
        if not bench.short:
            resumed = bench.row('one of two ranks stands still until it is named, then goes on')
            for rank in (0, 1):
                stand_still(bench, resumed, rank, more, results_of(reference), goes_on=True)
    if not bench.short:
        never_start(bench)
    refuse_pipes(bench)


def never_start(bench):
    """A rank of two never comes to MPI_Init: the other says that it waits there."""
    row = bench.row('one of two ranks never starts')
    log, begin = bench.new('log'), time.time()
    command = [*bench.command(bench.training(bench.new('alone'), '--max-steps', 3), 2), ':', '-n', '1', 'sleep', '90']
    command[command.index('-n') + 1] = '1'
    process = bench.start(command, log)
    said = False
    while process.poll() is None and not said and time.time() - begin < 80:
        time.sleep(0.2)
        said = 'has waited in MPI_Init for 60 s' in log.read_text(errors='replace')
    row.note = f'named after {time.time() - begin:.0f} s'
    bench.finish(process, 0.1)
    row.add('refused' if said else 'crash', last_line(log.read_text(errors='replace')))


def stand_still(bench, row, missing, more, reference, goes_on=False):
    """Ends with exit code 5, after which a continuation has the same results; or, woken, ends as if nothing had been."""
    output, log = bench.new('still'), bench.new('log')
    arguments = bench.training(output, *more)
    process = bench.start(bench.command(arguments, 2), log)
    while process.poll() is None and not (output / 'checkpoint-5').exists():
        time.sleep(0.005)
    rank = rank_process(bench, process, missing)
    send(rank, signal.SIGSTOP)
    begin, named = time.time(), None
    while process.poll() is None and not named and time.time() - begin < 120:
        time.sleep(0.05)
        named = NAMED.search(log.read_text(errors='replace'))
    seconds = time.time() - begin
    if goes_on:
        send(rank, signal.SIGCONT)
    code = bench.finish(process)
    send(rank, signal.SIGKILL)
    named = named or NAMED.search(log.read_text(errors='replace'))
    what = f'rank {missing}: exit code {code}: {last_line(log.read_text(errors="replace"))}'
    if not named or int(named[1]) != missing or code != (0 if goes_on else 5):
        return row.add('crash', what)
    row.times.append(round(seconds))
    row.note = f'named after {" to ".join(str(time) for time in sorted({min(row.times), max(row.times)}))} s'
    if not goes_on:
        bench.succeed(*arguments, '--resume', 'auto', ranks=2)
    row.add('same' if results_of(output) == reference else 'other', what)


def rank_process(bench, process, rank):
    for pid in descendants(process.pid):
        if is_rank(bench, pid):
            with open(f'/proc/{pid}/environ', 'rb') as file:
                if f'OMPI_COMM_WORLD_RANK={rank}'.encode() in file.read().split(b'\0'):
                    return pid
    raise RuntimeError(f'there is no rank {rank}')


def refuse_pipes(bench):
    row = bench.row('a pipe that nobody writes, in place of a file')
    asked = {'config.json': 'base', 'model.safetensors': 'base', 'tokenizer.model': 'base', 'train.h5': 'data', 'dev.h5': 'data'}
    for file, kind in asked.items():
        folder = bench.copy(getattr(bench, kind))
        (folder / file).unlink()
        os.mkfifo(folder / file)
        bench.judge(row, bench.run(*bench.training(bench.new('piped'), **{kind: folder}), seconds=20), file, lambda: False)
    pipe = bench.new('pipe')
    os.mkfifo(pipe)
    for arguments in (['train', pipe], ['prepare', '--corpus', 'jsonl', bench.corpus, '--base', bench.base, '--recipe', pipe,
                                        '--output', bench.new('piped')]):
        bench.judge(row, bench.run(*arguments, seconds=20), arguments[0], lambda: False)
