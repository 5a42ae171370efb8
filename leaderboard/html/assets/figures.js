// Figures are as wide as a page; on a small screen they can be opened in full size.

function startFigures() {
  const figures = [...document.querySelectorAll('main figure')];
  if (!figures.length) return;
  const close = make('button', { type: 'button', class: 'close', click: () => viewer.close() }, 'Close');
  const pan = make('div', { class: 'pan', tabindex: 0, role: 'group', 'aria-label': 'Figure in full size' });
  const viewer = make('dialog', { class: 'viewer', 'aria-label': 'Figure in full size' }, close, pan);
  document.body.append(viewer);
  for (const figure of figures) {
    const image = figure.querySelector('img');
    figure.append(make('button', {
      type: 'button',
      class: 'enlarge',
      'aria-label': `Full size: ${image.alt}`,
      click: () => {
        const copy = image.cloneNode();
        copy.removeAttribute('loading');
        pan.replaceChildren(copy);
        viewer.showModal();
      },
    }, 'Full size'));
  }
}
