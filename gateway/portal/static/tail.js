// The live tail: a row for each event as it comes. Text is set as text, never as HTML.
import { tellTimes } from "./times.js";

const MOST = 200;
const list = document.querySelector("[data-tail]");
const state = document.querySelector("[data-tail-state]");
const pause = document.querySelector("[data-tail-pause]");
const filter = document.querySelector("[data-tail-filter]");
let held = [], paused = false, waits = 500;

function connect() {
  const url = new URL(list.dataset.tail, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  const socket = new WebSocket(url);
  socket.onopen = () => { waits = 500; told("open"); };
  socket.onmessage = (message) => take(JSON.parse(message.data));
  socket.onclose = (event) => {
    told("closed");
    if (event.code === 4401) return location.reload();
    waits = Math.min(waits * 2, 15000);
    return setTimeout(connect, waits);
  };
}

function told(name) {
  state.querySelectorAll("[data-is]").forEach((one) => { one.hidden = one.dataset.is !== name; });
}

function take(event) {
  if (paused) {
    held.push(event);
    pause.querySelector("[data-held]").textContent = ` (${held.length})`;
  } else {
    show(event);
  }
}

function show(event) {
  const row = document.getElementById("tail-row").content.firstElementChild.cloneNode(true);
  const link = row.querySelector("a");
  link.href = document.body.dataset.root + "events/" + encodeURIComponent(event.id);
  for (const cell of row.querySelectorAll("[data-field]")) cell.textContent = event[cell.dataset.field] ?? "";
  const time = row.querySelector("time");
  time.dateTime = event.created_at;
  time.title = event.created_at.slice(0, 19).replace("T", " ") + " UTC";
  row.dataset.text = `${event.name} ${event.key} ${event.driver}`.toLowerCase();
  row.hidden = !matches(row);
  tellTimes(row);
  document.querySelector("[data-tail-empty]")?.remove();
  document.querySelector("[data-tail-box]").hidden = false;
  list.prepend(row);
  while (list.children.length > MOST) list.lastElementChild.remove();
}

const matches = (row) => row.dataset.text.includes(filter.value.trim().toLowerCase());

pause.addEventListener("click", () => {
  paused = !paused;
  pause.setAttribute("aria-pressed", String(paused));
  if (!paused) {
    held.splice(0).forEach(show);
    pause.querySelector("[data-held]").textContent = "";
  }
});
filter.addEventListener("input", () => {
  for (const row of list.children) row.hidden = !matches(row);
});
connect();
