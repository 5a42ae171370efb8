// Starts what the page has.

function startTheme() {
  const { select, field } = choice('Colours', [['', 'as the system'], ['light', 'light'], ['dark', 'dark']],
    () => {
      const root = document.documentElement;
      if (select.value) root.dataset.theme = select.value;
      else delete root.dataset.theme;
      try {
        if (select.value) localStorage.setItem('leaderboard-theme', select.value);
        else localStorage.removeItem('leaderboard-theme');
      } catch {
        // Storage is refused: the choice holds until the page is closed.
      }
    });
  field.className = 'theme';
  select.value = document.documentElement.dataset.theme ?? '';
  document.querySelector('header').append(field);
}

startTheme();
const board = readBoard();
if (board !== null) {
  startSorting(board);
  startDetails(board);
  startFilters(board);
}
startCurves();
startFigures();
// For whoever waits for it, or times it: with everything laid out.
document.body.getBoundingClientRect();
performance.mark('ready');
document.documentElement.dataset.ready = '';
