// Which rows and columns of the table of results are shown, and how many.

function startFilters(board) {
  const count = document.getElementById('count');
  const text = make('input', { type: 'search', autocomplete: 'off', spellcheck: 'false' });
  const fields = [make('label', {}, 'Search names and flags', text)];
  const chosen = new Map();
  for (const name of ['Data set', 'Backbone', 'Variant']) {
    const values = [...new Set(board.rows.map((row) => row.names[name]))];
    if (values.length < 2) continue;
    const options = [['', 'all'], ...values.map((value) => [`=${value}`, value])];
    const { select, field } = choice(name, options, apply);
    chosen.set(name, select);
    fields.push(field);
  }
  const families = familyChoice(board);
  if (families !== null) fields.push(families.field);
  const reset = make('button', { type: 'button', click: clear }, 'Show all');
  const form = make('form', { class: 'controls', role: 'search', 'aria-label': 'Filter the results',
    submit: (event) => event.preventDefault() }, ...fields, reset);
  text.addEventListener('input', apply);
  count.before(form);
  for (const row of board.rows) row.said = searchable(board, row);

  function apply() {
    const wanted = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of board.rows) {
      const fits = wanted.every((word) => row.said.includes(word))
        && [...chosen].every(([name, { value }]) => !value || value === `=${row.names[name]}`);
      row.element.hidden = !fits;
      shown += Number(fits);
    }
    const all = board.rows.length;
    count.textContent = shown === all
      ? `All ${all} networks are shown.`
      : `${shown} of ${all} networks ${shown === 1 ? 'is' : 'are'} shown.`;
    reset.disabled = shown === all;
    board.table.dispatchEvent(new Event('filtered'));
  }

  function clear() {
    text.value = '';
    for (const select of chosen.values()) select.value = '';
    apply();
    text.focus();
  }

  apply();
}

/** The names and flags of a row, as they are searched. */
function searchable(board, row) {
  const flags = board.data.columns.findIndex((column) => column.kind === 'flags');
  const said = Object.values(row.names);
  if (flags >= 0) said.push(row.element.cells[flags].textContent);
  return said.join(' ').toLowerCase();
}

/** Chooses one family of metrics, such as all attacks; null where there is but one. */
function familyChoice(board) {
  const { columns } = board.data;
  const families = [...new Set(board.metrics.map((index) => columns[index].family))];
  if (families.length < 2) return null;
  const options = [['', 'all'], ...families.map((family) => [`=${family}`, family])];
  const made = choice('Columns', options, () => {
    for (const index of board.metrics) {
      const hidden = made.select.value !== '' && made.select.value !== `=${columns[index].family}`;
      board.heads[index].hidden = hidden;
      for (const row of board.rows) row.element.cells[index].hidden = hidden;
    }
    board.table.dispatchEvent(new Event('filtered'));
  });
  return made;
}
