"""What reads each kind of file: a use takes a folder, and gives the program's result and what it computed."""
import shutil

from workbench import digest, results_of

SHORT_RUN = ('--max-steps', 6)


class Use:
    """A kind of file in a folder that may be damaged and mended again, and what then reads it."""
    def __init__(self, fault, folder, file, read, changes_folder=False, other_is_right=False):
        self.fault, self.folder, self.path, self.read = fault, folder, folder / file, read
        self.original, self.other_is_right = self.path.read_bytes(), other_is_right
        self.untouched = folder.with_name(folder.name + '-untouched') if changes_folder else None
        if self.untouched and not self.untouched.exists():
            shutil.copytree(folder, self.untouched)
        result, self.reference = read(folder)
        assert result.code == 0, f'{fault}: {result.text}'
        self.restore()

    def restore(self):
        if self.untouched:
            shutil.rmtree(self.folder)
            shutil.copytree(self.untouched, self.folder)
        else:
            self.path.write_bytes(self.original)

    def try_bytes(self, bench, row, content, what):
        self.path.write_bytes(content)
        result, computed = self.read(self.folder)
        bench.judge(row, result, f'{self.path.name}: {what}', lambda: computed == self.reference)
        self.restore()


def scored(bench, base=None, adapter=None, data=None):
    """Scores by a base, with an adapter perhaps."""
    output = bench.new('scored')
    result = bench.run('evaluate', '--base', base or bench.base, *(['--adapter', adapter] if adapter else []), '--compare-base', 'off',
                       '--data', data or bench.data, '--threads', 1, '--output', output)
    predictions = digest(output / 'predictions.jsonl')
    shutil.rmtree(output, ignore_errors=True)
    return result, predictions


def trained(bench, data):
    """Two steps on a data folder, with dev."""
    output = bench.new('trained')
    result = bench.run(*bench.training(output, '--max-steps', 2, data=data))
    computed = results_of(output) if result.code == 0 else None
    shutil.rmtree(output, ignore_errors=True)
    return result, computed


def continued(bench, run, resume, log=True):
    """A run that was stopped, brought to its end; log: what was logged is compared too."""
    result = bench.run(*bench.training(run, *SHORT_RUN), '--resume', resume)
    computed = results_of(run) if result.code == 0 else None
    if computed and not log:
        del computed['log'], computed['logged twice']
    return result, computed


def reported(bench, folder):
    page = bench.new('page')
    result = bench.run('report', folder, '--output', page)
    return result, digest(page)


def stopped_run(bench):
    """Three of six steps, with a checkpoint of each and a best one."""
    output = bench.new('stopped')
    for number in range(3):
        result = bench.run(*bench.training(output, *SHORT_RUN), '--max-time', '0.0001', '--resume', 'auto')
        assert result.code == 6, result.text
    return output


def finished_run(bench):
    output = bench.new('finished')
    bench.succeed(*bench.training(output, *SHORT_RUN))
    return output
