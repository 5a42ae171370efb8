'use strict';
// Before anything is shown: the theme that was chosen last time, if the browser may remember it.
(() => {
  try {
    const chosen = localStorage.getItem('leaderboard-theme');
    if (chosen === 'light' || chosen === 'dark') {
      document.documentElement.dataset.theme = chosen;
    }
  } catch {
    // Storage is refused: the page follows the system.
  }
})();
