// The section of switchable curves: data set, attack and networks are chosen; a slider (or the
// pointer) reads the curves off, and what it reads stands in a table, for those who see no chart.

const FIRST = 8; // networks that are drawn to begin with
const STEPS = 100; // of the slider, as the curves have points

function startCurves() {
  const data = readData('curves-data');
  const heading = document.getElementById('curves');
  if (data === null || heading === null) return;
  const section = heading.parentElement;
  const state = { dataset: data.datasets[0], attack: data.datasets[0].attacks[0], visible: new Set() };
  const parts = curveParts(data, state, { chooseDataset, chooseAttack, redraw, read });
  heading.after(parts.controls, parts.legend, parts.svg, parts.slider, parts.table);
  section.hidden = false;
  document.querySelector('nav a[href="#curves"]')?.parentElement.removeAttribute('hidden');
  let chart = null;

  function chooseDataset(number) {
    state.dataset = data.datasets[number];
    const names = state.dataset.attacks.map((attack) => attack.name);
    parts.attack.replaceChildren(...names.map((name, value) => make('option', { value }, name)));
    state.visible = new Set(state.dataset.networks.map((_, index) => index).slice(0, FIRST));
    parts.choices.replaceChildren(...state.dataset.networks.map(legendEntry));
    parts.many.hidden = state.dataset.networks.length < 3;
    chooseAttack(0);
  }

  function chooseAttack(number) {
    state.attack = state.dataset.attacks[number];
    redraw();
  }

  function legendEntry(network, index) {
    const sample = draw('svg', { width: 34, height: 12, 'aria-hidden': 'true' },
      styled(draw('line', { class: 'line', x1: 1, x2: 33, y1: 6, y2: 6 }), network));
    const box = make('input', { type: 'checkbox', change: () => {
      if (box.checked) state.visible.add(index);
      else state.visible.delete(index);
      redraw();
    } });
    box.checked = state.visible.has(index);
    return make('label', {}, box, sample, network.name);
  }

  function redraw() {
    const { dataset, attack, visible } = state;
    chart = drawChart(parts.svg, attack, dataset.networks, visible);
    const drawn = attack.curves.filter((curve) => visible.has(curve.network)).length;
    parts.svg.setAttribute('aria-label', `Accuracy loss against L₂ distance under ${attack.name} on `
      + `${dataset.name}, ${drawn} of ${attack.curves.length} networks drawn. The table below has their `
      + 'values at the distance of the slider.');
    read();
  }

  function read() {
    const { attack, dataset, visible } = state;
    const l2 = (attack.end * parts.range.valueAsNumber) / STEPS;
    const said = Number(l2.toPrecision(4));
    chart.mark(l2);
    parts.range.setAttribute('aria-valuetext', `L2 distance ${said}`);
    parts.output.textContent = String(said);
    parts.caption.textContent = `Accuracy lost to ${attack.name} on ${dataset.name}, L₂ at most ${said}`;
    parts.body.replaceChildren(...attack.curves
      .filter((curve) => visible.has(curve.network))
      .map((curve) => lossRow(curve, dataset.networks[curve.network].name, l2, attack.end)));
  }

  parts.svg.addEventListener('pointermove', (event) => {
    const l2 = chart.l2(event.clientX - parts.svg.getBoundingClientRect().left);
    parts.range.valueAsNumber = Math.round((STEPS * l2) / state.attack.end);
    read();
  });
  new ResizeObserver(redraw).observe(section);
  chooseDataset(0);
}

function lossRow(curve, name, l2, end) {
  const { mean: middle, low, high } = lossAt(curve, l2, end);
  const range = low === undefined ? '–' : `${low.toFixed(1)} to ${high.toFixed(1)}`;
  return make('tr', {}, make('th', { scope: 'row' }, name),
    make('td', { class: 'number' }, middle.toFixed(1)),
    make('td', { class: 'number' }, range),
    make('td', { class: 'number' }, String(curve.seeds)));
}

/** The elements of the section, not yet filled. */
function curveParts(data, state, on) {
  const number = (event) => Number(event.target.value);
  const dataset = choice('Data set', data.datasets.map(({ name }, index) => [index, name]),
    (event) => on.chooseDataset(number(event)));
  const attack = choice('Attack', [], (event) => on.chooseAttack(number(event)));
  const controls = make('div', { class: 'controls' },
    ...(data.datasets.length > 1 ? [dataset.field] : []), attack.field);
  const choices = make('div', { class: 'choices' });
  const legend = make('fieldset', { class: 'legend' }, make('legend', {}, 'Networks'), choices);
  const all = (checked) => () => {
    for (const box of choices.querySelectorAll('input')) {
      if (box.checked !== checked) box.click();
    }
  };
  const many = make('div', { class: 'controls' },
    make('button', { type: 'button', click: all(true) }, 'All'),
    make('button', { type: 'button', click: all(false) }, 'None'));
  legend.append(many);
  const svg = draw('svg', { class: 'chart', role: 'img' });
  const range = make('input', { type: 'range', min: 0, max: STEPS, value: STEPS / 2, step: 1,
    id: 'read-off', input: on.read });
  const output = make('output', { for: 'read-off' });
  const slider = make('div', { class: 'read' },
    make('label', { for: 'read-off' }, 'Read off at L₂'), range, output);
  const caption = make('caption');
  const body = make('tbody');
  const heads = ['Network', 'Mean loss (points)', 'Lowest to highest seed', 'Seeds (n)'];
  const table = make('div', { class: 'scroll', role: 'group', tabindex: 0,
    'aria-label': 'Accuracy loss at the distance of the slider' },
    make('table', {}, caption, make('thead', {}, make('tr', {},
      ...heads.map((text, index) => make('th', { scope: 'col', class: index ? 'number' : 'name' }, text)))),
    body));
  return { controls, attack: attack.select, choices, many, legend, svg, range, output, slider, caption, body, table };
}
