// Says quietly what has changed since this document was made. Without this script everything works as well.
(() => {
  "use strict";
  const place = document.getElementById("live");
  if (!place || !window.EventSource) return;
  const SAID_EVERY_MS = 10000;
  const then = place.dataset;
  const made = Date.now();
  let latest = null, stream = null, timer = null;

  const count = (number, one, many) => number === 1 ? `1 ${one}` : `${number} ${many}`;
  // The same list with what came in since this document was made.
  const newest = () => {
    const place = new URL(location.href), seconds = Math.ceil((Date.now() - made) / 1000) + 5;
    const search = (place.searchParams.get("search") || "").replace(/ ?newer:\d+s$/, "");
    place.searchParams.delete("after");
    place.searchParams.delete("count");
    place.searchParams.set("search", `${search} newer:${seconds}s`.trim());
    return place.href;
  };
  const again = () => {
    const place = new URL(location.href);
    place.searchParams.delete("after");
    return place.href;
  };
  const news = (now) => {
    const left = (now.accepted - now.messages) - (then.accepted - then.messages);
    const came = now.accepted - then.accepted;
    const dead = now.recipients.dead - then.dead;
    switch (then.about) {
      case "queue": return came > 0 && [count(came, "new message", "new messages"), newest()];
      case "history": return left > 0 && [count(left, "more message has left", "more messages have left"), again()];
      case "dead": return dead > 0 && [count(dead, "new dead letter", "new dead letters"), again()];
      default: return now.account !== then.account && ["The state of the account has changed", again()];
    }
  };
  const say = () => {
    timer = null;
    const [words, link] = news(latest) || ["", ""];
    if (place.dataset.said === words) return;
    place.dataset.said = words;
    place.textContent = words && `${words}: `;
    if (!words) return;
    const shown = document.createElement("a");
    shown.href = link;
    shown.textContent = "show";
    place.append(shown);
  };
  const heard = (event) => {
    const first = latest === null;
    latest = JSON.parse(event.data);
    const numbers = {
      waiting: latest.recipients.queued + latest.recipients.uncertain,
      ...latest.recipients,
    };
    for (const spot of document.querySelectorAll("[data-number]")) {
      const number = String(numbers[spot.dataset.number]);
      if (spot.textContent !== number) spot.textContent = number;
    }
    // A reader is not told of every message of a busy relay.
    if (first) say(); else timer ??= setTimeout(say, SAID_EVERY_MS);
  };
  const open = () => {
    stream?.close();
    stream = null;
    if (document.hidden) return;
    stream = new EventSource("/live");
    stream.onmessage = heard;
  };
  document.addEventListener("visibilitychange", open);
  addEventListener("pagehide", () => stream?.close());
  addEventListener("pageshow", open);
})();
