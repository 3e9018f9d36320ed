// Times in the browser's own zone: how long ago, the moment itself and UTC as title.
const language = document.documentElement.lang;
const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto", style: "short" });
const full = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium" });
const brief = new Intl.DateTimeFormat(language, { day: "2-digit", month: "short", hour: "2-digit", minute: "2-digit" });
const STEPS = [["second", 60], ["minute", 60], ["hour", 24]];

function ago(moment) {
  let amount = (moment - Date.now()) / 1000;
  for (const [unit, most] of STEPS) {
    if (Math.abs(amount) < most) return relative.format(Math.round(amount), unit);
    amount /= most;
  }
  return brief.format(moment);
}

export function tellTimes(root = document) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(element.dateTime);
    if (Number.isNaN(moment.getTime())) continue;
    element.dataset.utc ??= element.title;
    element.title = `${full.format(moment)} · ${element.dataset.utc}`;
    element.textContent = "absolute" in element.dataset ? full.format(moment) : ago(moment);
  }
}
