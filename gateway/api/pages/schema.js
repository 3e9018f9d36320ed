// A JSON Schema as a tree that opens by and by.
import { el, spans } from "./dom.js";

export function resolved(spec, node) {
  if (!node || !node.$ref) return node || {};
  const found = node.$ref.slice(2).split("/").reduce((at, part) => at && at[part], spec);
  return { ...(found || {}), named: node.$ref.split("/").pop() };
}

function typeOf(spec, node) {
  const schema = resolved(spec, node);
  const options = schema.anyOf || schema.oneOf;
  if (options) return options.map((one) => typeOf(spec, one)).join(" or ");
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
  if (schema.type === "array") return `array of ${typeOf(spec, schema.items || {})}`;
  const type = Array.isArray(schema.type) ? schema.type.join(" or ") : schema.type;
  return [type || "any", schema.format && `(${schema.format})`].filter(Boolean).join(" ");
}

// What of a schema has properties: itself, the items of a list, the first option that does.
function object(spec, node) {
  const schema = resolved(spec, node);
  if (schema.properties) return schema;
  if (schema.items) return object(spec, schema.items);
  for (const one of schema.anyOf || schema.oneOf || []) {
    const found = object(spec, one);
    if (found) return found;
  }
  const more = schema.additionalProperties;
  return more && typeof more === "object" ? object(spec, more) : null;
}

function limits(schema) {
  const said = [];
  for (const [key, word] of [["minimum", "≥"], ["maximum", "≤"], ["exclusiveMinimum", ">"]]) {
    if (key in schema) said.push(`${word} ${schema[key]}`);
  }
  if (schema.maxLength) said.push(`at most ${schema.maxLength} characters`);
  if (schema.pattern) said.push(`like ${schema.pattern}`);
  if ("default" in schema && schema.default !== null) said.push(`default ${JSON.stringify(schema.default)}`);
  return said.join(", ");
}

export function describe(spec, node) {
  const schema = resolved(spec, node);
  const said = limits(schema);
  return [el("span", { class: "type" }, typeOf(spec, node)),
    said && el("span", { class: "type" }, ` · ${said}`),
    schema.description && el("p", {}, spans(schema.description))];
}

export function tree(spec, node) {
  const schema = object(spec, node);
  if (!schema) return el("p", {}, ...describe(spec, node).flat().filter(Boolean));
  const required = new Set(schema.required || []);
  return el("ul", { class: "schema" }, Object.entries(schema.properties).map(([name, inner]) =>
    el("li", {}, el("code", {}, name), " ",
      required.has(name) ? "" : el("span", { class: "type" }, "optional "),
      ...describe(spec, inner).filter(Boolean), deeper(spec, inner))));
}

function deeper(spec, node) {
  if (!object(spec, node)) return null;
  const made = el("details", {}, el("summary", {}, "fields"));
  made.addEventListener("toggle", () => made.append(tree(spec, node)), { once: true });
  return made;
}
