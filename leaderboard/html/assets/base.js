// What all parts of the script use. The page's scripts are put together into one module.

const SVG = 'http://www.w3.org/2000/svg';

/** The document in a data element of the page, or null without such an element. */
function readData(id) {
  const element = document.getElementById(id);
  return element === null ? null : JSON.parse(element.textContent);
}

/** A new element with attributes (functions are event listeners) and children. */
function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** As `make`, of SVG. */
function draw(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, '');
    else if (value !== false && value !== null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** A select with its label; `options` are [value, text]. */
function choice(label, options, changed) {
  const select = make('select', { change: changed },
    ...options.map(([value, text]) => make('option', { value }, text)));
  return { select, field: make('label', {}, label, select) };
}
