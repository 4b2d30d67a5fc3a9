// --- data: what Python computed, and how elements are made of it -------------------------------------

const page = JSON.parse(document.getElementById("data").textContent);

/** A number of the data: JSON has no infinity. Null stays null. */
function number(value) {
  return value === "inf" ? Infinity : value === "-inf" ? -Infinity : value;
}

/** What record `i` holds in a column, as text or number; null where it has none. */
function told(column, i) {
  const held = page.records[column];
  if (held === undefined) return null;
  if (!held.texts) return number(held[i]);
  return held.texts[held.places.length ? held.places[i] : 0];
}

/** An element. Text is only ever put in as text: names come from outside. */
function element(name, attributes = {}, ...children) {
  return furnished(document.createElement(name), attributes, children);
}

function drawing(name, attributes = {}, ...children) {
  return furnished(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function furnished(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

function find(id) {
  return document.getElementById(id);
}

function unique(values) {
  return [...new Set(values)];
}

const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
