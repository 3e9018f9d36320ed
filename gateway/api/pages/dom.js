// Elements from text only: nothing that a document says is ever read as HTML.
export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== false && value != null) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat(2).filter((child) => child != null && child !== ""));
  return made;
}

// Paragraphs, lists and `code`: what the descriptions use of Markdown.
export function prose(text) {
  return (text || "").trim().split(/\n\s*\n/).filter(Boolean).map((block) => {
    const [head, ...items] = block.split(/\n- /);
    if (head.startsWith("- ")) return list([head.slice(2), ...items]);
    return items.length ? [el("p", {}, spans(head)), list(items)] : el("p", {}, spans(head));
  });
}

function list(items) {
  return el("ul", {}, items.map((item) => el("li", {}, spans(item))));
}

export function spans(text) {
  return text.split(/(`[^`]+`)/).map((part) =>
    part.startsWith("`") ? el("code", {}, part.slice(1, -1)) : part.replace(/\s+/g, " "));
}
