// One panel of curves as SVG: accuracy loss against L2 from 0 to the attack's end.

const MARGIN = { left: 52, right: 14, top: 10, bottom: 44 };
const HIGHEST = 100; // points of accuracy
const TENTHS = 10; // as the data has its points

/** Draws the curves into `svg`, as wide as it is; returns what belongs to an L2 there. */
function drawChart(svg, attack, networks, visible) {
  const width = Math.max(240, svg.clientWidth);
  const height = Math.round(Math.min(430, Math.max(260, width * 0.5)));
  const right = width - MARGIN.right;
  const bottom = height - MARGIN.bottom;
  const scale = {
    x: (l2) => MARGIN.left + ((right - MARGIN.left) * l2) / attack.end,
    y: (loss) => bottom - ((bottom - MARGIN.top) * loss) / HIGHEST,
    l2: (x) => Math.max(0, Math.min(attack.end, (attack.end * (x - MARGIN.left)) / (right - MARGIN.left))),
  };
  svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
  svg.setAttribute('height', height);
  const curves = attack.curves.filter((curve) => visible.has(curve.network));
  svg.replaceChildren(
    ...axes(scale, attack.end, { width, right, bottom }),
    ...curves.filter((curve) => curve.low).map((curve) => band(curve, networks, scale, attack.end)),
    ...curves.map((curve) => line(curve, networks, scale, attack.end)),
  );
  const cursor = draw('line', { class: 'cursor', y1: MARGIN.top, y2: bottom });
  svg.append(cursor);
  return {
    l2: scale.l2,
    mark(l2) {
      cursor.setAttribute('x1', scale.x(l2));
      cursor.setAttribute('x2', scale.x(l2));
    },
  };
}

function axes(scale, end, { width, right, bottom }) {
  const parts = [];
  for (const loss of [0, 25, 50, 75, 100]) {
    const y = scale.y(loss);
    parts.push(draw('line', { class: 'grid', x1: MARGIN.left, x2: right, y1: y, y2: y }));
    parts.push(draw('text', { x: MARGIN.left - 7, y: y + 4, 'text-anchor': 'end' }, String(loss)));
  }
  for (const l2 of ticks(end, width < 500 ? 4 : 8)) {
    const x = scale.x(l2);
    parts.push(draw('line', { class: 'axis', x1: x, x2: x, y1: bottom, y2: bottom + 5 }));
    parts.push(draw('text', { x, y: bottom + 19, 'text-anchor': 'middle' }, String(l2)));
  }
  const middle = (MARGIN.left + right) / 2;
  const center = (MARGIN.top + bottom) / 2;
  parts.push(
    draw('line', { class: 'axis', x1: MARGIN.left, x2: right, y1: bottom, y2: bottom }),
    draw('text', { x: middle, y: bottom + 38, 'text-anchor': 'middle' }, 'L₂ distance'),
    draw('text', { x: 14, y: center, 'text-anchor': 'middle', transform: `rotate(-90 14 ${center})` },
      'Accuracy loss (points)'),
  );
  return parts;
}

/** Round numbers from 0 to `end`, at most `most` steps. */
function ticks(end, most) {
  const power = 10 ** Math.floor(Math.log10(end / most));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => end / one <= most);
  const count = Math.floor(end / step + 1e-9);
  return Array.from({ length: count + 1 }, (_, index) => Number((index * step).toPrecision(12)));
}

function points(values, scale, end) {
  const last = values.length - 1;
  return values.map((tenths, index) => {
    const [x, y] = [scale.x((end * index) / last), scale.y(tenths / TENTHS)];
    return `${x.toFixed(1)},${y.toFixed(1)}`;
  });
}

function line(curve, networks, scale, end) {
  const path = draw('polyline', { class: 'line', points: points(curve.mean, scale, end).join(' ') });
  return styled(path, networks[curve.network]);
}

function band(curve, networks, scale, end) {
  const outline = [...points(curve.low, scale, end), ...points(curve.high, scale, end).reverse()];
  return styled(draw('polygon', { class: 'band', points: outline.join(' ') }), networks[curve.network]);
}

/** A network's colour and dashes. */
function styled(element, network) {
  element.style.setProperty('--curve', network.color);
  if (network.dash.length) {
    element.setAttribute('stroke-dasharray', network.dash.map((one) => (one * 2.2).toFixed(1)).join(' '));
  }
  return element;
}

/** Accuracy lost at an L2: `mean`, and `low` and `high` of several seeds, in points. */
function lossAt(curve, l2, end) {
  const place = Math.round((l2 / end) * (curve.mean.length - 1));
  const at = (values) => values[place] / TENTHS;
  return curve.low ? { mean: at(curve.mean), low: at(curve.low), high: at(curve.high) } : { mean: at(curve.mean) };
}
