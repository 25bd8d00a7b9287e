// The pages work without this. With it the parts marked data-live stay fresh,
// and the search answers while it is typed.
"use strict";

(() => {
  const every = 10000; // ms between refreshes
  const settle = 250; // ms after the last key stroke
  let paused = false;
  let asked = 0; // the newest request; answers to older ones are dropped

  // busy: replacing the part would take the reader's place away.
  const busy = (part) => {
    const selected = document.getSelection();
    return part.contains(document.activeElement) || (selected && !selected.isCollapsed && selected.containsNode(part, true));
  };

  const replace = async (url, force) => {
    const mine = ++asked;
    let text;
    try {
      const answer = await fetch(url, { cache: "no-store", credentials: "same-origin" });
      if (!answer.ok) return;
      text = await answer.text();
    } catch {
      return; // the daemon restarts, perhaps; the next time will tell
    }
    if (mine !== asked) return;
    // A parsed document runs no script; the server escaped what strangers wrote.
    const fresh = new DOMParser().parseFromString(text, "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const next = fresh.getElementById(part.id);
      if (next && (force || !busy(part))) part.replaceWith(document.adoptNode(next));
    }
  };

  const live = document.querySelector("main [data-live]");
  const place = document.getElementById("refresh");
  if (live && place) {
    const button = document.createElement("button");
    button.type = "button";
    const label = () => { button.textContent = paused ? "Refresh again" : "Stop refreshing"; };
    button.addEventListener("click", () => { paused = !paused; label(); });
    label();
    place.append(button);
    setInterval(() => { if (!paused && !document.hidden) replace(location.href, false); }, every);
  }

  const form = document.querySelector("form[data-search]");
  if (form) {
    let timer;
    const search = () => {
      const url = new URL(form.action);
      for (const [key, value] of new FormData(form)) if (value !== "") url.searchParams.set(key, value);
      history.replaceState(null, "", url);
      replace(url, true);
    };
    form.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(search, settle); });
    form.addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(timer); search(); });
  }
})();
