// What is behind a cell: values by seed, deviation, interval, reasons of failure. It shows by
// hovering, by touch, and for the cell that has the focus; arrow keys move among the cells.

const DELAY = 200; // milliseconds that a pointer rests before something opens, or closes
const MOVES = {
  ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0],
  Home: [0, -Infinity], End: [0, Infinity], PageUp: [-10, 0], PageDown: [10, 0],
};

function startDetails(board) {
  const panel = make('div', { id: 'details', class: 'details', role: 'group',
    'aria-label': 'Details of the cell', popover: 'manual' });
  document.querySelector('main').append(panel);
  let current = null; // the one cell that Tab reaches
  let shown = null;
  let pinned = false; // opened by key, click or touch, not by hovering
  let quiet = false; // while the focus goes back to a cell whose details were closed
  let timer = 0;

  function show(cell, pin) {
    clearTimeout(timer);
    close();
    const content = explain(board, cell);
    if (content === null) return;
    const button = make('button', { type: 'button', class: 'close', 'aria-label': 'Close details',
      click: () => close(true) }, '×');
    panel.replaceChildren(...content, button);
    panel.showPopover();
    place(panel, cell);
    cell.setAttribute('aria-describedby', panel.id);
    shown = cell;
    pinned = pin;
  }

  function close(focus = false) {
    if (shown === null) return;
    const cell = shown;
    shown = null;
    pinned = false;
    cell.removeAttribute('aria-describedby');
    panel.hidePopover();
    if (!focus) return;
    quiet = true;
    cell.focus({ preventScroll: true });
    quiet = false;
  }

  function reach(cell) {
    if (cell === current) return;
    if (current !== null) current.removeAttribute('tabindex');
    current = cell;
    if (cell !== null) cell.tabIndex = 0;
  }

  function move(cell, [down, across]) {
    const rows = [...board.body.rows].filter((row) => !row.hidden);
    const row = rows[within(rows.indexOf(cell.parentElement) + down, rows.length)];
    const there = [...row.cells].filter((one) => !one.hidden);
    const old = [...cell.parentElement.cells].filter((one) => !one.hidden);
    const next = there[within(old.indexOf(cell) + across, there.length)];
    reach(next);
    next.focus();
  }

  const cellOf = (event) => event.target.closest('#board tbody > tr > *');
  board.table.setAttribute('role', 'grid');
  board.body.addEventListener('focusin', (event) => {
    const cell = cellOf(event);
    reach(cell);
    if (quiet) return;
    if (cell === shown) pinned = true;
    else show(cell, true);
  });
  board.body.addEventListener('click', (event) => {
    const cell = cellOf(event);
    if (cell === null) return;
    reach(cell);
    cell.focus({ preventScroll: true });
    if (shown !== cell) show(cell, true);
  });
  board.body.addEventListener('keydown', (event) => {
    const cell = cellOf(event);
    if (event.key in MOVES && !event.altKey && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      move(cell, MOVES[event.key]);
    } else if (event.key === 'Enter' || event.key === ' ') {
      event.preventDefault();
      if (shown === cell) close();
      else show(cell, true);
    }
  });
  board.body.addEventListener('pointerover', (event) => {
    const cell = cellOf(event);
    clearTimeout(timer);
    if (event.pointerType !== 'mouse' || pinned || cell === null || cell === shown) return;
    timer = setTimeout(() => show(cell, false), DELAY);
  });
  // A pointer may go over to the panel itself, to select or scroll there.
  const leave = () => {
    clearTimeout(timer);
    if (!pinned) timer = setTimeout(() => close(), DELAY);
  };
  board.body.addEventListener('pointerleave', leave);
  panel.addEventListener('pointerleave', leave);
  panel.addEventListener('pointerenter', () => clearTimeout(timer));
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') close(panel.contains(document.activeElement));
  });
  document.addEventListener('pointerdown', (event) => {
    if (!panel.contains(event.target) && !board.body.contains(event.target)) close();
  });
  board.body.addEventListener('focusout', (event) => {
    const to = event.relatedTarget;
    if (to !== null && !board.body.contains(to) && !panel.contains(to)) close();
  });
  document.addEventListener('scroll', () => shown !== null && place(panel, shown),
    { capture: true, passive: true });
  board.table.addEventListener('filtered', () => {
    close();
    if (current === null || current.hidden || current.parentElement.hidden) {
      const row = [...board.body.rows].find((one) => !one.hidden);
      reach(row === undefined ? null : row.cells[0]);
    }
  });
  reach(board.body.rows[0]?.cells[0] ?? null);
}

function within(place, length) {
  return Math.max(0, Math.min(length - 1, place));
}

/** Below the cell or, without room there, above it; on a phone the style sheet docks it. */
function place(panel, cell) {
  panel.style.left = panel.style.top = '';
  if (matchMedia('(max-width: 40rem)').matches) return;
  const { left, top, bottom } = cell.getBoundingClientRect();
  const { width, height } = panel.getBoundingClientRect();
  const below = bottom + 6 + height <= innerHeight;
  panel.style.left = `${Math.max(8, Math.min(left, document.documentElement.clientWidth - width - 8))}px`;
  panel.style.top = `${below ? bottom + 6 : Math.max(8, top - height - 6)}px`;
}

/** The content of the panel; null for a cell with nothing behind it. */
function explain(board, cell) {
  const row = board.rows.find((one) => one.element === cell.parentElement);
  const metric = board.metrics.indexOf(cell.cellIndex);
  if (metric < 0) return null;
  const column = board.data.columns[cell.cellIndex];
  const { Backbone: backbone, Variant: variant, 'Data set': dataset } = row.names;
  const entries = [...statistics(board, row, metric, column), ...bySeed(row, metric, column)];
  if (!entries.length) entries.push(['Not measured', 'no cell of the run gives this number here']);
  return [
    make('p', { class: 'title' }, `${backbone} ${variant} on ${dataset}: ${column.heading}`),
    make('dl', {}, ...entries.flatMap(([term, said]) => [make('dt', {}, term), make('dd', {}, said)])),
  ];
}

function statistics(board, row, metric, column) {
  const values = seedValues(row, metric).filter((value) => value !== null);
  if (!values.length) return [];
  const middle = mean(values);
  const n = values.length;
  const better = { higher: 'higher is better', lower: 'lower is better' }[column.better];
  const endless = values.filter((value) => value === Infinity).length;
  const some = endless && endless < n ? ` for ${endless} of ${n} seeds` : ''; // which have no mean
  const found = [[some ? 'Value' : 'Mean', number(middle, column) + some]];
  if (n > 1 && Number.isFinite(middle)) {
    const sd = Math.sqrt(values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (n - 1));
    const half = (board.data.t[n] * sd) / Math.sqrt(n);
    found.push(['Standard deviation', number(sd, column)]);
    if (sd > 1e-10 * Math.abs(middle)) { // else equal, but for rounding
      const [low, high] = [middle - half, middle + half].map((end) => number(end, column));
      found.push(['95 % interval', `${low} to ${high}, of the mean (Student's t)`]);
    }
  }
  found.push(['Seeds (n)', String(n)]);
  if (column.unit) found.push(['Unit', column.unit]);
  if (better) found.push(['Direction', better]);
  return found;
}

function bySeed(row, metric, column) {
  const found = new Map();
  seedValues(row, metric).forEach((value, place) => {
    if (value !== null) found.set(row.line.seeds[place], number(value, column));
  });
  for (const [seed, error] of Object.entries(row.line.lost?.[metric] ?? {})) {
    const gone = error === null ? 'never reached' : 'not selected (--only)';
    found.set(Number(seed), typeof error === 'string' ? `failed: ${error}` : gone);
  }
  return [...found].sort(([a], [b]) => a - b).map(([seed, said]) => [`Seed ${seed}`, said]);
}

/** One more decimal than the table has; quantities with prefixes in full. */
function number(value, column) {
  if (!Number.isFinite(value)) return '∞';
  const digits = column.decimals === null
    ? { maximumSignificantDigits: 9, maximumFractionDigits: 1 }
    : { minimumFractionDigits: column.decimals + 1, maximumFractionDigits: column.decimals + 1 };
  return value.toLocaleString('en-US', { ...digits, roundingPriority: 'lessPrecision' });
}
