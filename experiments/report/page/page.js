// Draws the report, the JSON object in the page, which Report::to_json() describes.
const report = JSON.parse(document.getElementById('report').textContent);

// An element with attributes, of which those without a value are left out, and with what stands in it: texts, elements
// and lists of them.
const made = (element, attributes, inside) => {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...inside.flat(Infinity).filter(part => part !== null && part !== undefined));
  return element;
};
const html = (tag, attributes = {}, ...inside) => made(document.createElement(tag), attributes, inside);
const svg = (tag, attributes = {}, ...inside) =>
    made(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, inside);

const percent = value => value === null ? '–' : (100 * value).toFixed(2);
const table = (attributes, head, rows) => html('div', {class: 'scroll'}, html('table', attributes,
    html('thead', {}, html('tr', {}, head.map(name => html('th', {}, name)))), html('tbody', {}, rows)));

const rangeOf = values => {
  let low = Infinity, high = -Infinity;
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return {low, high, share: value => high > low ? (value - low) / (high - low) : 0.5};
};

// Runs

const meanOf = spread => spread === null ? '–' :
    spread.count > 1 ? `${percent(spread.mean)} ± ${percent(spread.deviation)}` : percent(spread.mean);

// What is unusual of how a training ended, and of how its best was chosen.
const remarksOn = t => (t.finished ? '' : ' (not finished)') + (t.stopped_early ? ' (stopped early)' : '') +
    (t.dev_metric === null || t.dev_metric === 'weighted F1' ? '' : ` (best by ${t.dev_metric} on dev)`);

// Each group of seeds with its means, then its runs.
const tableOfRuns = groups => {
  const row = (attributes, cells) => html('tr', attributes, cells.map(text => html('td', {}, text)));
  return table({id: 'runs'}, ['run', 'steps', 'F1 on dev', 'F1 on test', 'time', 'tokens/s', 'memory'],
      groups.map(group => [
        group.trainings.length > 1 ? row({class: 'group'}, [`${group.name} (${group.trainings.length} runs)`, '',
            meanOf(group.dev), meanOf(group.test), '', '', '']) : null,
        group.trainings.map(t => row({}, [t.name + remarksOn(t), `${t.steps}`, percent(t.dev), percent(t.test),
            `${t.seconds.toFixed(0)} s`, t.tokens_per_second.toFixed(0), `${(t.peak_bytes / 1048576).toFixed(0)} MiB`]))]));
};

// Curves

// Told apart also by those who see few colours (Okabe & Ito 2008). When they are used up, they come again in dashes.
const colours = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#999999', '#f0e442'];
const lineStyle = group => ({colour: colours[group % colours.length], dash: 2 * Math.floor(group / colours.length)});

// Lines over steps, one per training; those of one group look alike. 360 wide, as a phone is, so that the text is
// legible there; page.css makes it smaller on wide screens.
const chart = (title, groups, curve, scale) => {
  const width = 300, height = 150, left = 50;
  const lines = groups.flatMap((group, index) => group.trainings.map(t => ({
    name: t.name, ...lineStyle(index),
    points: t[curve].steps.map((step, i) => ({step, value: t[curve].values[i]})).filter(p => p.value !== null)
                .map(p => ({step: p.step, value: scale * p.value}))}))).filter(line => line.points.length > 0);
  if (lines.length === 0) return null;
  const points = lines.flatMap(line => line.points),
        steps = rangeOf(points.map(p => p.step)), values = rangeOf(points.map(p => p.value));
  // Of the numbers at the axis: as many as tell them apart.
  const range = values.high - values.low,
        decimals = range > 0 ? Math.min(4, Math.max(0, Math.ceil(1 - Math.log10(range / 4)))) : 2;
  const axes = [0, 1, 2, 3, 4].map(i => {
    const y = height - height * i / 4 + 8;
    return [svg('line', {class: 'axis', x1: left, x2: left + width, y1: y, y2: y}),
            // Where all values are one, it is in the middle.
            range === 0 && i !== 2 ? null : svg('text', {x: left - 4, y: y + 3, 'text-anchor': 'end'},
                (values.low + range * i / 4).toFixed(decimals))];
  });
  const drawn = lines.map(line => {
    const path = line.points.map(p => (left + width * steps.share(p.step)).toFixed(1) + ',' +
                                      (8 + height * (1 - values.share(p.value))).toFixed(1));
    // A single point is a line to itself, which is drawn as a dot.
    const dot = path.length === 1;
    return svg('polyline', {fill: 'none', stroke: line.colour, 'stroke-dasharray': line.dash ? `${line.dash} 2` : null,
                            points: (dot ? [...path, ...path] : path).join(' '), class: dot ? 'dot' : null},
               svg('title', {}, line.name));
  });
  return html('figure', {}, html('figcaption', {}, title),
      svg('svg', {viewBox: `0 0 ${left + width + 10} ${height + 30}`, role: 'img', 'aria-label': title}, axes,
          svg('text', {x: left, y: height + 24}, `${steps.low}`),
          svg('text', {x: left + width, y: height + 24, 'text-anchor': 'end'}, `step ${steps.high}`), drawn));
};

const legend = groups => html('ul', {class: 'legend'}, groups.map((group, index) => {
  const {colour, dash} = lineStyle(index);
  const background = dash === 0 ? colour :
      `repeating-linear-gradient(90deg,${colour} 0 ${dash}px,transparent ${dash}px ${dash + 2}px)`;
  return html('li', {}, html('i', {style: `background:${background}`}), group.name);
}));

// Maps and matrices

// A cell that is the darker the larger its share.
const shaded = (share, text) => html('td', {style: `background:rgb(37 99 235 / ${Math.round(8 + 82 * share)}%);` +
                                                   (share > 0.55 ? 'color:#fff' : '')}, text);

// Two varied options of a sweep against each other.
const heatMap = sweep => {
  const range = rangeOf(sweep.cells.flat().filter(cell => cell !== null).map(cell => cell.score));
  return table({class: 'heat'}, [`${sweep.rows} \\ ${sweep.columns}`, ...sweep.column_values],
      sweep.cells.map((cells, row) => html('tr', {}, html('th', {}, sweep.row_values[row]),
          cells.map(cell => cell === null ? html('td', {}, '–') : shaded(range.share(cell.score), cell.text)))));
};

// Shaded by the share of the gold label. Answers without a label are in no column.
const confusionMatrix = evaluation => table({class: 'heat confusion'},
    ['gold \\ predicted', ...evaluation.classes.map(c => html('span', {}, c.label))],
    evaluation.confusion.map((counts, gold) => html('tr', {}, html('th', {}, evaluation.classes[gold].label),
        counts.map(count => shaded(count / Math.max(1, evaluation.classes[gold].support), `${count}`)))));

// Evaluations

const classBars = classes => {
  const line = 16, left = 90, width = 190;
  return svg('svg', {viewBox: `0 0 ${left + width + 80} ${line * classes.length}`, role: 'img',
                     'aria-label': 'F1 of each class'}, classes.map((c, i) => [
    svg('text', {x: left - 6, y: i * line + 12, 'text-anchor': 'end'}, c.label),
    svg('rect', {class: 'bar', x: left, y: i * line + 2, width: (width * c.f1).toFixed(1), height: line - 4}),
    svg('text', {x: (left + width * c.f1 + 4).toFixed(1), y: i * line + 12},
        `${(100 * c.f1).toFixed(1)} of ${c.support}`)]));
};

// The answers, of which those show that fit the filters.
const predictions = (answers, link) => {
  const wrong = html('input', {type: 'checkbox', name: 'wrong', checked: true}),
        words = html('input', {type: 'search', name: 'words', placeholder: 'words'}), shown = html('output');
  const rows = answers.map(a => html('tr', {class: a.gold === a.predicted ? null : 'wrong'},
      [`${a.dialogue} ${a.utterance}`, a.speaker, a.text, a.gold, a.predicted || '–'].map(text => html('td', {}, text))));
  const filter = () => {
    const wanted = words.value.toLowerCase();
    for (const row of rows) {
      row.hidden = (wrong.checked && !row.classList.contains('wrong')) ||
                   (wanted !== '' && !row.textContent.toLowerCase().includes(wanted));
    }
    shown.textContent = `${rows.filter(row => !row.hidden).length} of ${rows.length}`;
  };
  wrong.addEventListener('change', filter);
  words.addEventListener('input', filter);
  filter();
  return html('details', {class: 'predictions'}, html('summary', {}, 'predictions'),
      html('p', {}, html('label', {}, wrong, ' only the wrong ones'), html('label', {}, 'with ', words), shown, ' · ',
           html('a', {href: link}, 'all, as JSON lines')),
      table({class: 'words'}, ['dialogue', 'speaker', 'line', 'gold', 'predicted'], rows));
};

const evaluationCard = e => html('section', {class: 'evaluation'}, html('h3', {}, e.name),
    html('p', {}, `${e.split}: weighted F1 `, html('b', {}, percent(e.weighted_f1)),
         `, macro F1 ${percent(e.macro_f1)}, accuracy ${percent(e.accuracy)}` +
         (e.majority === null ? '' : `; majority label ${percent(e.majority)}`)),
    html('div', {class: 'cards'}, html('div', {}, classBars(e.classes)), html('div', {}, confusionMatrix(e))),
    e.answers ? predictions(e.answers, e.predictions) :
    e.predictions ? html('p', {}, html('a', {href: e.predictions}, 'predictions, as JSON lines')) : null);

// The page

const trainings = report.groups.reduce((sum, group) => sum + group.trainings.length, 0);
document.title = report.title;
made(document.body, {}, [
  html('h1', {}, report.title),
  html('p', {}, `${trainings} trainings, ${report.evaluations.length} evaluations. F1 is weighted F1 in percent; where ` +
       'there are several seeds, mean ± standard deviation of the sample. Checkpoints were chosen on dev.'),
  report.remarks.map(remark => html('p', {}, remark)),
  trainings === 0 ? null : [
    html('h2', {}, 'Runs'), tableOfRuns(report.groups),
    html('h2', {}, 'Curves'), html('div', {class: 'cards'}, chart('training loss', report.groups, 'loss', 1),
                                   chart('weighted F1 on dev', report.groups, 'dev_f1', 100)), legend(report.groups)],
  report.sweeps.map(sweep => [html('h2', {}, `Sweep: ${sweep.metric} on dev`), heatMap(sweep)]),
  report.evaluations.length === 0 ? null : html('h2', {}, 'Evaluations'),
  report.evaluations.map(evaluationCard)]);
