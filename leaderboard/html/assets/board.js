// The table of results and its order. Finite values go by size; infinite ones come after them,
// then what was not measured, then what failed, whichever way the rest is sorted.

const RANK = { finite: 0, infinite: 1, missing: 2, failed: 3 };
const COLLATOR = new Intl.Collator('en', { numeric: true, sensitivity: 'base' });

/** Everything the parts of the script know of the table; null on a page without results. */
function readBoard() {
  const table = document.getElementById('board');
  const data = readData('board-data');
  if (table === null || data === null) return null;
  const metrics = [];
  data.columns.forEach((column, index) => {
    if (column.kind === 'metric') metrics.push(index);
  });
  const body = table.tBodies[0];
  const rows = [...body.rows].map((element, index) => ({
    element,
    index,
    line: data.lines[index],
    names: nameCells(element, data),
    keys: new Map(),
  }));
  return { table, body, rows, data, metrics, heads: [...table.tHead.rows[0].cells] };
}

function nameCells(element, data) {
  const found = { Backbone: '', Variant: '', 'Data set': data.dataset ?? '' };
  data.columns.forEach((column, index) => {
    if (column.kind === 'name') found[column.heading] = element.cells[index].textContent;
  });
  return found;
}

/** The values by seed of a metric, infinite ones as numbers; null where a seed has none. */
function seedValues(row, metric) {
  return row.line.values[metric].map((value) => (value === 'inf' ? Infinity : value));
}

function mean(values) {
  const known = values.filter((value) => value !== null);
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
}

/** What a cell is sorted by: [rank, value]. */
function sortKey(board, row, index) {
  if (!row.keys.has(index)) row.keys.set(index, makeKey(board, row, index));
  return row.keys.get(index);
}

function makeKey(board, row, index) {
  const cell = row.element.cells[index];
  const { kind } = board.data.columns[index];
  if (kind === 'metric') {
    const value = mean(seedValues(row, board.metrics.indexOf(index)));
    if (value === null) {
      return [cell.classList.contains('failed') ? RANK.failed : RANK.missing, 0];
    }
    return Number.isFinite(value) ? [RANK.finite, value] : [RANK.infinite, 0];
  }
  if (kind === 'seeds') return [RANK.finite, Number.parseInt(cell.textContent, 10)];
  return [cell.classList.contains('missing') ? RANK.missing : RANK.finite, cell.textContent];
}

/** Sorts rows by a column; 'none' restores the order of the results. Ties keep that order. */
function sortRows(board, index, direction) {
  const sign = direction === 'descending' ? -1 : 1;
  const sorted = [...board.rows].sort((a, b) => {
    if (direction === 'none') return a.index - b.index;
    const [rankA, valueA] = sortKey(board, a, index);
    const [rankB, valueB] = sortKey(board, b, index);
    if (rankA !== rankB) return rankA - rankB;
    const order = typeof valueA === 'string' ? COLLATOR.compare(valueA, valueB) : valueA - valueB;
    return sign * order || a.index - b.index;
  });
  board.body.replaceChildren(...sorted.map((row) => row.element));
  board.heads.forEach((head, number) => {
    if (number === index && direction !== 'none') head.setAttribute('aria-sort', direction);
    else head.removeAttribute('aria-sort');
  });
}

/** The directions that one press after the other gives: the better end of a metric first. */
function directions(column) {
  const down = column.kind === 'seeds' || column.better === 'higher';
  return down ? ['descending', 'ascending', 'none'] : ['ascending', 'descending', 'none'];
}

function startSorting(board) {
  board.heads.forEach((head, index) => {
    const steps = directions(board.data.columns[index]);
    const button = make('button', {
      type: 'button',
      click: () => {
        const now = head.getAttribute('aria-sort') ?? 'none';
        sortRows(board, index, steps[(steps.indexOf(now) + 1) % steps.length]);
      },
    });
    button.append(...head.childNodes);
    head.append(button);
  });
  // The second column sticks beside the first, whose width only the browser knows.
  const first = () => {
    board.table.style.setProperty('--first', `${board.heads[0].getBoundingClientRect().width}px`);
  };
  new ResizeObserver(first).observe(board.heads[0]);
}
