"""kill -9 at random moments. A training is continued until it ends, and compared with one that nobody killed; what other commands leave
behind is whole or not there."""
import os
import pathlib
import signal
import time

from workbench import DATA_FILES, SHARD_FILES, descendants, differences, digest, last_line, results_of, send

GRIDS = (('1 rank', 1, ('--save-total-limit', 1)), ('2 data ranks', 2, ('--save-total-limit', 2)),
         ('2 tensor ranks', 2, ('--tensor-parallel', 2, '--save-steps', 3)))


def run(bench):
    for name, ranks, more in GRIDS:
        row = bench.row(f'kill −9 in a training, {name}: of a rank{", all ranks or the launcher" if ranks > 1 else ""}')
        more = (*more, '--max-steps', 24, '--tensorboard', 'on')
        reference = bench.new('reference')
        begin = time.time()
        bench.succeed(*bench.training(reference, *more), ranks=ranks)
        seconds = time.time() - begin
        while sum(row.counts.values()) < bench.tries:
            live(bench, row, ranks, more, results_of(reference), seconds)
    for kill in (kill_prepare, kill_evaluate, kill_init, kill_sweep):
        kill(bench)


def live(bench, row, ranks, more, reference, seconds):
    """A training from its first start to its end; the kills count as they turn out in the end."""
    output, kills, killed, problem = bench.new('life'), 0, 'nobody', ''
    command = bench.command([*bench.training(output, *more), '--resume', 'auto'], ranks)
    for session in range(100):
        log, hangs = bench.new('log'), False
        process = bench.start(command, log)
        wait(process, bench.random.uniform(0.1, max(1.0, 0.6 * seconds)))
        if process.poll() is None:
            killed, targets = victims(bench, process)
            everyone = descendants(process.pid)
            kills += bool(targets)
            for pid in targets:
                send(pid, signal.SIGKILL)
            code = bench.finish(process, 75)  # long enough for a rank in MPI_Init to say so
            survivors = [pid for pid in everyone if not gone(pid, 60)]
            for pid in survivors:
                send(pid, signal.SIGKILL)
            hangs = code is None or bool(survivors)
        text = log.read_text(errors='replace')
        if hangs and ('has waited in MPI_Init' in text or 'chorus train' not in text):  # Open MPI's own (docs/reliability.md)
            row.note = f'{1 + int(row.note.split()[0] if row.note else 0)} × the job hung in MPI_Init'
        elif hangs:
            problem = f'the job does not end within 75 s of the kill of {killed}'
        if process.returncode == 0:
            break
        if 'passed over' in text or ('chorus' in text and 'error:' in text):
            problem = f'after the kill of {killed}: {last_line(text)}'
        if problem:
            break
    else:
        problem = 'it never came to its end'
    if not problem:
        problem = differences(results_of(output), reference)
        remains = [str(path.relative_to(output)) for path in output.rglob('*') if '.part' in path.name or '.removed' in path.name]
        problem = problem or (f'remains: {remains}' if remains else '')
        outcome = 'other' if problem else 'same'
    else:
        outcome = 'crash'
    for kill in range(kills):
        row.add('same' if kill + 1 < kills else outcome, f'{output}: {problem}')


def victims(bench, process):
    """Whom to kill, in a word and as processes."""
    below = descendants(process.pid)
    ranks = [pid for pid in [process.pid, *below] if is_rank(bench, pid)]
    if ranks == [process.pid]:
        return 'the only rank', ranks
    how = bench.random.choice(('a rank', 'a rank', 'all ranks', 'the launcher'))
    if how == 'a rank':
        return how, ranks and [bench.random.choice(ranks)]
    return how, ranks if how == 'all ranks' else [pid for pid in [process.pid, *below] if pid not in ranks]


def is_rank(bench, pid):
    try:
        return os.readlink(f'/proc/{pid}/exe') == bench.program
    except OSError:
        return False


def gone(pid, seconds):
    begin = time.time()
    while time.time() - begin < seconds:
        try:
            if pathlib.Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] == 'Z':
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


def wait(process, seconds):
    begin = time.time()
    while time.time() - begin < seconds and process.poll() is None:
        time.sleep(0.002)


def kill_at_random(bench, arguments, seconds):
    """Whether it was killed before its end, which came after about so many seconds."""
    process = bench.start(bench.command(arguments), bench.folder / 'log')
    wait(process, bench.random.uniform(0, seconds))
    killed = process.poll() is None
    for pid in [process.pid, *descendants(process.pid)]:
        send(pid, signal.SIGKILL)
    process.wait()
    return killed


def kill_writer(bench, row, arguments, names, whole_folder=False):
    """Kills a command that writes a new folder; `arguments` are without --output. What has a final name is whole; whole_folder: the
    folder appears as one, so that all is there or nothing."""
    reference = bench.new('whole')
    seconds = 1.1 * bench.succeed(*arguments, '--output', reference).seconds
    while sum(row.counts.values()) < bench.tries:
        output = bench.new('killed')
        kill_at_random(bench, [*arguments, '--output', output], seconds)
        there = [name for name in names if (output / name).exists()]
        wrong = [name for name in there if digest(output / name) != digest(reference / name)]
        if whole_folder and 0 < len(there) < len(names):
            wrong.append(f'only {there}')
        row.add('other' if wrong else 'same', f'{output}: {wrong}')


def kill_prepare(bench):
    kill_writer(bench, bench.row('kill −9 of prepare'), ['prepare', '--corpus', 'jsonl', bench.corpus, '--base', bench.base],
                DATA_FILES, whole_folder=True)
    kill_writer(bench, bench.row('kill −9 of prepare that writes shards'), bench.in_shards(), SHARD_FILES, whole_folder=True)


def kill_evaluate(bench):
    kill_writer(bench, bench.row('kill −9 of evaluate'),
                ['evaluate', '--base', bench.base, '--data', bench.data, '--threads', 1], ('predictions.jsonl', 'eval_results.json'))


def kill_init(bench):
    kill_writer(bench, bench.row('kill −9 of init'),
                ['init', '--tokenizer', bench.folder / 'tokenizer.model', '--hidden-size', 32, '--layers', 2],
                ('config.json', 'model.safetensors', 'tokenizer.model'))


def kill_sweep(bench):
    """Four trainings and a score. Called again until it ends, as its documentation says."""
    row = bench.row('kill −9 of sweep and its trainings, called again until it ends')
    arguments = ['sweep', '--base', bench.base, '--data', bench.data, '--vary', 'lora-rank=2,4; learning-rate=1e-3,1e-2',
                 '--train-options', '--max-steps 4 --eval-steps 2 --save-steps 1 --threads 1', '--evaluate-options', '--threads 1']
    reference = bench.new('whole')
    seconds = 0.7 * bench.succeed(*arguments, '--output', reference).seconds
    while sum(row.counts.values()) < bench.tries:
        output, kills = bench.new('sweep'), 0
        while kill_at_random(bench, [*arguments, '--output', output], seconds):
            kills += 1
        last = bench.run(*arguments, '--output', output)
        same = last.code == 0 and summary_of(output) == summary_of(reference)
        for _ in range(max(kills, 1)):
            row.add('same' if same else 'crash' if last.code else 'other', f'{output}: {last_line(last.text)}')


def summary_of(output):
    """Every trial's adapter and the score of the best."""
    return [digest(path) for path in sorted(output.rglob('adapter_model.safetensors')) if 'checkpoint' not in str(path)] + [
        digest(path) for path in sorted(output.rglob('predictions.jsonl'))]
