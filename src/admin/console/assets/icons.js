// Small pictures, drawn: shape says what colour says.

import { s } from "./dom.js";

const SHAPES = {
  // States: each has a shape of its own.
  active: () => [s("circle", { cx: 8, cy: 8, r: 6, class: "fill" })],
  throttled: () => [s("circle", { cx: 8, cy: 8, r: 5.4, class: "line" }), s("path", { d: "M8 2.6a5.4 5.4 0 0 1 0 10.8z", class: "fill" })],
  suspended: () => [s("path", { d: "M5.2 1.5h5.6l3.7 3.7v5.6l-3.7 3.7H5.2l-3.7-3.7V5.2z", class: "fill" }), s("path", { d: "M4.8 8h6.4", class: "hole" })],
  probation: () => [s("path", { d: "M8 2 14.5 13.6h-13z", class: "line" }), s("path", { d: "M8 6.4v3.4M8 11.4v.4", class: "line" })],
  full: () => [s("rect", { x: 2.5, y: 2.5, width: 11, height: 11, rx: 1.5, class: "line" }), s("path", { d: "M4.6 4.6h6.8v6.8H4.6z", class: "fill" })],
  off: () => [s("circle", { cx: 8, cy: 8, r: 5.4, class: "line" }), s("path", { d: "M4.2 11.8l7.6-7.6", class: "line" })],
  idle: () => [s("circle", { cx: 8, cy: 8, r: 2.2, class: "fill" })],
  unknown: () => [s("circle", { cx: 8, cy: 8, r: 5.4, class: "line dashed" })],
  // Acts and things.
  sun: () => [s("circle", { cx: 8, cy: 8, r: 3, class: "line" }), s("path", { d: "M8 1.2v1.6M8 13.2v1.6M1.2 8h1.6M13.2 8h1.6M3.2 3.2l1.1 1.1M11.7 11.7l1.1 1.1M3.2 12.8l1.1-1.1M11.7 4.3l1.1-1.1", class: "line" })],
  moon: () => [s("path", { d: "M12.9 9.9A5.6 5.6 0 0 1 6.1 3.1a5.6 5.6 0 1 0 6.8 6.8z", class: "line" })],
  auto: () => [s("circle", { cx: 8, cy: 8, r: 5.6, class: "line" }), s("path", { d: "M8 2.4a5.6 5.6 0 0 1 0 11.2z", class: "fill" })],
  wall: () => [s("path", { d: "M1.8 3h12.4v8H1.8zM6 13.6h4M8 11v2.6", class: "line" })],
  close: () => [s("path", { d: "M3.6 3.6l8.8 8.8M12.4 3.6l-8.8 8.8", class: "line" })],
  more: () => [s("path", { d: "M3.5 8h.01M8 8h.01M12.5 8h.01", class: "line thick" })],
  bell: () => [s("path", { d: "M4 11V7.2a4 4 0 0 1 8 0V11l1.2 1.4H2.8zM6.7 14.3h2.6", class: "line" })],
  out: () => [s("path", { d: "M6.5 2.8h-4v10.4h4M6.5 8h7.2M10.8 5l3 3-3 3", class: "line" })],
  order: () => [s("path", { d: "M3.2 1.8h6.6l3 3v9.4H3.2zM5.6 7.4h4.8M5.6 10.4h3.4", class: "line" })],
};

// A picture that stands beside words and so says nothing to a reader.
export function icon(name, more) {
  return s("svg", { viewBox: "0 0 16 16", class: `icon i-${name}${more ? ` ${more}` : ""}`, "aria-hidden": "true", focusable: "false" }, (SHAPES[name] || SHAPES.unknown)());
}

// The mark of the house: a horseshoe that is a herd, one of them in front.
export function mark() {
  const herd = [[8.2, 26, 2.1], [6, 19.6, 2.3], [6.8, 12.8, 2.4], [10.9, 7.6, 2.5], [21.1, 7.6, 2.5], [25.2, 12.8, 2.4], [26, 19.6, 2.3], [23.8, 26, 2.1]];
  const one = ([cx, cy, r]) => s("circle", { cx, cy, r, class: "herd" });
  return s("svg", { viewBox: "2 1 28 29", class: "mark", "aria-hidden": "true", focusable: "false" }, herd.map(one), s("circle", { cx: 16, cy: 5.8, r: 2.9, class: "lead" }));
}
