"use strict";

// An element with attributes and children. What is a string becomes text, never markup.
function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat(2).filter((child) => child !== null && child !== undefined));
  return made;
}

// The element, put from one share of its parent's width to another, 0 to 1.
function placed(element, from, to = from) {
  element.style.left = `${100 * from}%`;
  if (to !== from) element.style.width = `${100 * (to - from)}%`;
  return element;
}

// Control characters, ends of lines, marks of writing direction, halves of pairs: all that would
// make a name look like another one. Bytes of a name that is no UTF-8 come as halves from \udc80.
const STEERING =
  /[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]|[\ud800-\udfff]/gu;

function plain(text) {
  return String(text).replace(STEERING, (char) => {
    const code = char.charCodeAt(0);
    const byte = code >= 0xdc80 && code <= 0xdcff ? code - 0xdc00 : code;
    return byte < 256 ? `\\x${byte.toString(16).padStart(2, "0")}` : `\\u${byte.toString(16).padStart(4, "0")}`;
  });
}

// A name or a label, whose own writing direction does not reach beyond it.
function word(text) {
  return el("bdi", {}, plain(text));
}

function rounded(value) {
  const whole = Math.round(value);
  return whole - value === 0.5 && whole % 2 ? whole - 1 : whole; // halves to even, as the command
}

// 0.955 as "95.5 %".
function percent(share, digits = 1) {
  return share === null || share === undefined ? "" : `${(100 * share).toFixed(digits)}\u00a0%`;
}

// Seconds as a clock time: 5.25 as 0:05.2, 3690.5 as 1:01:30.5.
function clock(seconds) {
  const tenths = rounded(10 * Math.max(0, seconds));
  const whole = Math.floor(tenths / 10);
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return `${hours ? `${hours}:${two(minutes)}` : minutes}:${two(rest)}.${tenths % 10}`;
}

function counted(number, what) {
  return `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;
}
