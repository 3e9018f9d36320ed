// Parts of a page that keep themselves up to date: <div data-part="url" data-every="5">.

export function watchParts(shown) {
  for (const part of document.querySelectorAll("[data-part]")) watch(part, shown);
}

function watch(part, shown) {
  const every = Number(part.dataset.every || 5) * 1000;
  const again = () => setTimeout(refresh, every);
  async function refresh() {
    if (document.hidden || part.contains(document.activeElement)) return again();
    try {
      const answer = await fetch(part.dataset.part, { headers: { "X-Part": "1" } });
      if (answer.status === 401) return location.reload();
      if (answer.ok) {
        const next = new DOMParser().parseFromString(await answer.text(), "text/html");
        part.replaceChildren(...next.body.childNodes);
        shown(part);
        if (part.querySelector("[data-settled]")) return undefined;
      }
    } catch { /* the server is away for a moment: ask again */ }
    return again();
  }
  again();
}
