// What pages gain with JavaScript: local times, copying, live parts, keys. Without it they work, too.
import { watchParts } from "./parts.js";
import { tellTimes } from "./times.js";

let toastTimer;
function toast(text) {
  const element = document.getElementById("told");
  element.textContent = text;
  element.classList.add("shown");
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => element.classList.remove("shown"), 1800);
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // no clipboard without https: select it in a field of our own
    const field = document.createElement("textarea");
    field.value = text;
    field.className = "unseen";
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
  toast(document.body.dataset.copied);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) copy(button.dataset.copy);
  for (const open of document.querySelectorAll("details.confirm[open]")) {
    if (!open.contains(event.target)) open.open = false;
  }
});

// Finding keys and values in a JSON tree.
document.addEventListener("input", (event) => {
  if (event.target.matches(".tree-search")) find(event.target);
  if (event.target.matches("[data-by-events], #f-url, #f-webhook_by_events")) previewUrl();
});

function find(input) {
  const wanted = input.value.trim().toLowerCase();
  const tree = input.closest("[data-tree]").querySelector(".tree");
  let first = null;
  for (const part of tree.querySelectorAll(".k, .s, .n")) {
    const hit = wanted !== "" && part.textContent.toLowerCase().includes(wanted);
    part.classList.toggle("hit", hit);
    if (!hit) continue;
    first ??= part;
    for (let up = part.closest("details"); up; up = up.parentElement.closest("details")) up.open = true;
  }
  first?.scrollIntoView({ block: "nearest" });
}

// The URL that one event goes to, as it is typed.
function previewUrl() {
  const preview = document.querySelector("[data-preview]");
  const url = document.getElementById("f-url");
  if (!preview || !url) return;
  const each = document.getElementById("f-webhook_by_events")?.checked;
  const [path, query] = url.value.split("?");
  preview.textContent = url.value ? path.replace(/\/$/, "") + (each ? "/order_paid" : "") + (query ? `?${query}` : "") : "–";
}

// Choosing a whole family of events.
document.addEventListener("change", (event) => {
  const all = event.target.closest("[data-family]");
  if (!all) return;
  for (const box of all.closest(".family").querySelectorAll("input[name=events]")) box.checked = all.checked;
});
document.addEventListener("input", (event) => {
  if (!event.target.matches("[data-filter-events]")) return;
  const wanted = event.target.value.trim().toLowerCase();
  for (const label of document.querySelectorAll(".picker label")) label.hidden = !label.textContent.toLowerCase().includes(wanted);
  for (const family of document.querySelectorAll(".family")) {
    const some = [...family.querySelectorAll(".picker label")].some((label) => !label.hidden);
    family.hidden = !some;
    if (wanted && some) family.open = true;
  }
});

// Keys: / search, g then a letter, arrows in lists, Esc closes.
const PLACES = { o: "", e: "events", s: "instances", i: "installations", d: "drivers", f: "failures", t: "tail" };
let going = 0;
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") return escape();
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
  if (event.key === "/") {
    event.preventDefault();
    document.getElementById("search")?.focus();
  } else if (event.key === "g") {
    going = Date.now();
  } else if (Date.now() - going < 1200 && event.key in PLACES) {
    going = 0;
    location.assign(new URL(document.body.dataset.root + PLACES[event.key], location.href));
  } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    move(event);
  }
});

function escape() {
  for (const open of document.querySelectorAll("details.confirm[open]")) {
    open.open = false;
    open.querySelector("summary").focus();
  }
  if (document.activeElement?.id === "search") document.activeElement.blur();
}

function move(event) {
  const links = [...document.querySelectorAll(".list .row-link")];
  const at = links.indexOf(document.activeElement);
  if (at < 0) return;
  event.preventDefault();
  links[at + (event.key === "ArrowDown" ? 1 : -1)]?.focus();
}

tellTimes();
previewUrl();
setInterval(() => tellTimes(), 15000);
watchParts(tellTimes);
