// A form that sends a request from the page, with the key of the header.
import { el } from "./dom.js";

export function trial(base, method, path, operation, body) {
  const fields = (operation.parameters || []).map((parameter) => {
    const input = el("input", { name: parameter.name, autocomplete: "off" });
    return { parameter, input, label: el("label", {}, parameter.name, input) };
  });
  const area = body && el("textarea", { spellcheck: "false", "aria-label": "Body" });
  if (area) area.value = body;
  const answer = el("div", { role: "status" });
  const send = async (event) => {
    event.preventDefault();
    answer.replaceChildren(el("p", {}, "Sending…"));
    try {
      answer.replaceChildren(...(await ask(base, method, path, fields, area)));
    } catch (error) {
      answer.replaceChildren(el("p", { class: "bad" }, String(error)));
    }
  };
  const form = el("form", { onsubmit: send },
    fields.length ? el("div", { class: "row" }, fields.map((field) => field.label)) : null,
    area, el("div", { class: "row" }, el("button", { type: "submit" }, `Send ${method.toUpperCase()}`)),
    answer);
  return { form, fill: (text) => { if (area) area.value = text; } };
}

async function ask(base, method, path, fields, area) {
  const query = new URLSearchParams();
  const key = document.getElementById("key").value.trim();
  const headers = key ? { apikey: key } : {};
  let address = path;
  for (const { parameter, input } of fields) {
    if (parameter.in === "path") address = address.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    else if (input.value && parameter.in === "header") headers[parameter.name] = input.value;
    else if (input.value) query.append(parameter.name, input.value);
  }
  if (area) headers["Content-Type"] = "application/json";
  const asked = `${base}${address}${query.size ? `?${query}` : ""}`;
  const started = performance.now();
  const got = await fetch(asked, { method: method.toUpperCase(), headers, body: area && area.value });
  const text = await got.text();
  const took = Math.round(performance.now() - started);
  return [
    el("p", {}, el("span", { class: `status ${got.ok ? "good" : "bad"}` }, String(got.status)), ` ${took} ms`),
    text ? el("pre", { tabindex: "0" }, pretty(text)) : null,
  ].filter(Boolean);
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text.slice(0, 20000);
  }
}
