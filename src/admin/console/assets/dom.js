// Elements from descriptions, and the smallest change from what is shown to what should be.
//
// Data reaches the page only as text nodes and attributes set here: there is no markup made of strings anywhere.

const SVG = "http://www.w3.org/2000/svg";
const LIVE = ["value", "checked", "open"];

function make(element, props, children) {
  for (const [name, value] of Object.entries(props || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") listen(element, value);
    else if (name === "vars") setVars(element, value);
    else if (name === "key") element.$key = value;
    else if (name === "keep") element.$keep = true;
    else if (LIVE.includes(name) && name in element && name !== "open") element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

function append(parent, children) {
  for (const child of children) {
    if (child === undefined || child === null || child === false) continue;
    if (Array.isArray(child)) append(parent, child);
    else parent.append(child instanceof Node ? child : String(child));
  }
}

// An HTML element. `on`: handlers by event; `vars`: custom properties (through the CSSOM, which the policy allows);
// `key`: identity among its siblings; `keep`: morph leaves what is inside alone.
export function h(tag, props, ...children) {
  return make(document.createElement(tag), props, children);
}

// An SVG element.
export function s(tag, props, ...children) {
  return make(document.createElementNS(SVG, tag), props, children);
}

function setVars(element, vars) {
  element.$vars = vars;
  for (const [name, value] of Object.entries(vars)) element.style.setProperty(name, value);
}

// One listener for each kind of event, whatever handlers come and go.
function listen(element, handlers) {
  const known = element.$on;
  element.$on = handlers;
  for (const kind of Object.keys(handlers)) {
    if (known && kind in known) continue;
    element.addEventListener(kind, (event) => element.$on[kind]?.(event));
  }
}

// Replaces what is in `parent` by `children`, keeping every element that stays the same: focus, scroll and selection stay.
export function show(parent, ...children) {
  const wanted = document.createDocumentFragment();
  append(wanted, children);
  morphChildren(parent, wanted);
}

function morphChildren(parent, wanted) {
  const keyed = new Map();
  for (const child of parent.childNodes) if (child.$key !== undefined) keyed.set(child.$key, child);
  let place = parent.firstChild;
  for (const next of [...wanted.childNodes]) {
    let found = next.$key === undefined ? undefined : keyed.get(next.$key);
    if (found === undefined && next.$key === undefined && place && place.$key === undefined && alike(place, next)) found = place;
    if (found === undefined || !alike(found, next)) {
      parent.insertBefore(next, place);
      continue;
    }
    if (found === place) place = place.nextSibling;
    else parent.insertBefore(found, place);
    morph(found, next);
  }
  while (place) {
    const gone = place;
    place = place.nextSibling;
    gone.remove();
  }
}

function alike(one, other) {
  return one.nodeType === other.nodeType && one.nodeName === other.nodeName;
}

function morph(from, to) {
  if (from.nodeType !== Node.ELEMENT_NODE) {
    if (from.data !== to.data) from.data = to.data;
    return;
  }
  for (const { name } of [...from.attributes]) {
    if (!to.hasAttribute(name) && name !== "style" && name !== "open") from.removeAttribute(name);
  }
  for (const { name, value } of to.attributes) {
    if (name !== "style" && from.getAttribute(name) !== value) from.setAttribute(name, value);
  }
  for (const name of Object.keys(from.$vars || {})) if (!(name in (to.$vars || {}))) from.style.removeProperty(name);
  if (to.$vars) setVars(from, to.$vars);
  if (to.$on) listen(from, { ...nothing(from.$on), ...to.$on });
  else if (from.$on) from.$on = {};
  // What somebody is typing is theirs.
  for (const name of ["value", "checked"]) {
    if (name in to && from !== document.activeElement && to.nodeName !== "LI" && from[name] !== to[name] && !from.$keep) from[name] = to[name];
  }
  if (!from.$keep) morphChildren(from, to);
}

function nothing(handlers) {
  return Object.fromEntries(Object.keys(handlers || {}).map((kind) => [kind, undefined]));
}
