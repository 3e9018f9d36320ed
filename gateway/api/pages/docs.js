// The API's description as a page: nothing comes from anywhere but this server.
import { el, prose, spans } from "./dom.js";
import { describe, resolved, tree } from "./schema.js";
import { trial } from "./trial.js";

const root = document.body.dataset.root;
const base = new URL(root || ".", location.href).href.replace(/\/$/, "");
const at = (id) => document.getElementById(id);

async function load(name) {
  const got = await fetch(`${root}${name}`);
  if (!got.ok) throw new Error(`${name} answered ${got.status}`);
  return got.json();
}

function operations(spec) {
  return Object.entries(spec.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ path, method, operation })));
}

function badge(method) {
  return el("span", { class: `method ${method}` }, method.toUpperCase());
}

function parameters(spec, operation) {
  if (!operation.parameters?.length) return null;
  const rows = operation.parameters.map((one) => el("tr", {},
    el("td", {}, el("code", {}, one.name), " ", one.required ? el("span", { class: "required" }, "required") : ""),
    el("td", {}, one.in), el("td", {}, ...describe(spec, one.schema).filter(Boolean),
      one.description ? el("p", {}, spans(one.description)) : "")));
  const head = el("tr", {}, ["Name", "In", "What"].map((name) => el("th", { scope: "col" }, name)));
  return [el("h3", {}, "Parameters"), el("div", { class: "scroll" }, el("table", {}, head, rows))];
}

function examples(operation) {
  const content = operation.requestBody?.content?.["application/json"];
  return Object.entries(content?.examples || {}).map(([, one]) =>
    ({ name: one.summary, text: JSON.stringify(one.value, null, 2) }));
}

function body(spec, operation, fill) {
  if (!operation.requestBody) return null;
  const [schema] = Object.values(operation.requestBody.content).map((media) => media.schema);
  const known = examples(operation);
  const shown = el("pre", { tabindex: "0" }, known[0]?.text || "");
  const choose = (event) => {
    shown.textContent = known[event.target.value].text;
    fill(known[event.target.value].text);
  };
  const select = el("select", { onchange: choose, "aria-label": "Example" },
    known.map((one, index) => el("option", { value: String(index) }, one.name)));
  return [el("h3", {}, operation.requestBody.required ? "Body" : "Body (may be left out)"),
    known.length ? [el("div", { class: "row" }, el("label", {}, "Example", select)), shown] : null,
    tree(spec, schema)];
}

function responses(spec, operation) {
  const shown = Object.entries(operation.responses).map(([status, said]) => {
    const response = resolved(spec, said);
    const made = el("details", {}, el("summary", {},
      el("span", { class: `status ${status < 400 ? "good" : "bad"}` }, status), " ",
      spans(response.description.split("\n")[0])));
    made.addEventListener("toggle", () => made.append(...answer(spec, response)), { once: true });
    return made;
  });
  return [el("h3", {}, "Answers"), shown];
}

function answer(spec, response) {
  const [head] = response.description.split("\n");
  return [...prose(response.description.slice(head.length)).flat(),
    ...Object.entries(response.content || {}).flatMap(([media, said]) =>
      [el("p", { class: "type" }, media), tree(spec, said.schema)])];
}

function card(spec, { path, method, operation }) {
  const made = el("details", { class: "operation", id: operation.operationId }, el("summary", {},
    badge(method), el("span", { class: "path" }, path), el("span", { class: "summary" }, operation.summary)));
  made.addEventListener("toggle", () => {
    const form = trial(base, method, path, operation, operation.requestBody && (examples(operation)[0]?.text || "{}"));
    made.append(el("div", {}, prose(operation.description), parameters(spec, operation),
      body(spec, operation, form.fill), responses(spec, operation),
      el("details", { class: "try" }, el("summary", {}, "Try it"), form.form)));
  }, { once: true });
  return made;
}

function section(spec, tag, all) {
  const own = all.filter(({ operation }) => operation.tags.includes(tag.name));
  return el("section", { "data-tag": tag.name }, el("h2", { id: `tag-${tag.name}` }, tag.name),
    prose(tag.description), own.map((one) => card(spec, one)));
}

function contents(spec, all) {
  return spec.tags.map((tag) => el("div", { "data-tag": tag.name }, el("h2", {}, tag.name),
    el("ul", {}, all.filter(({ operation }) => operation.tags.includes(tag.name)).map((one) =>
      el("li", { "data-id": one.operation.operationId },
        el("a", { href: `#${one.operation.operationId}` }, badge(one.method), one.path))))));
}

function events(spec) {
  const names = Object.keys(spec.channels.webhook.messages).filter((name) => name !== "messaging");
  const rows = Object.values(spec.channels).map((channel) => el("tr", {},
    el("td", {}, channel.title), el("td", {}, el("code", {}, channel.address || "a URL")),
    el("td", {}, spans(channel.description))));
  const head = el("tr", {}, ["Kind", "Address", "How"].map((name) => el("th", { scope: "col" }, name)));
  return [el("h2", {}, "What receivers get"), prose(spec.info.description),
    el("div", { class: "scroll" }, el("table", {}, head, rows)),
    el("p", {}, "The schema of each event: ", names.map((name, index) =>
      [index ? ", " : "", el("a", { href: `${root}schemas/${name}.json` }, name)]), ".")];
}

function find(all) {
  const words = at("find").value.toLowerCase().split(/\s+/).filter(Boolean);
  const kept = new Set();
  for (const { path, method, operation } of all) {
    const text = `${method} ${path} ${operation.summary} ${operation.description}`.toLowerCase();
    const hidden = !words.every((word) => text.includes(word));
    if (!hidden) kept.add(operation.tags[0]);
    at(operation.operationId).hidden = hidden;
    document.querySelector(`[data-id="${operation.operationId}"]`).hidden = hidden;
  }
  for (const part of document.querySelectorAll("[data-tag]")) part.hidden = !kept.has(part.dataset.tag);
  at("events").hidden = words.length > 0;
}

function openTarget() {
  const target = location.hash && at(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) target.open = true;
  if (target) target.scrollIntoView();
}

async function start() {
  const [spec, delivered] = await Promise.all([load("openapi.json"), load("asyncapi.json")]);
  const all = operations(spec);
  at("version").textContent = spec.info.version;
  at("about").append(...prose(spec.info.description).flat(), el("p", {}, "In files: ",
    el("a", { href: `${root}openapi.json` }, "OpenAPI 3.1"), ", ",
    el("a", { href: `${root}asyncapi.json` }, "AsyncAPI 3"), "."));
  at("contents").append(...contents(spec, all));
  at("operations").append(...spec.tags.map((tag) => section(spec, tag, all)));
  at("events").append(...events(delivered).flat());
  at("events").hidden = false;
  at("loading").remove();
  at("who").addEventListener("submit", (event) => event.preventDefault());
  at("find").addEventListener("input", () => find(all));
  window.addEventListener("hashchange", openTarget);
  openTarget();
}

start().catch((error) => { at("loading").textContent = `The description could not be loaded: ${error.message}`; });
