// The pages work without this. With it the parts marked data-live stay fresh,
// the search answers while it is typed, a message can be dropped on its form, and texts can be copied by a button.
"use strict";

(() => {
  const every = 10000; // ms between refreshes
  const patience = 8000; // ms until a refresh counts as failed
  const settle = 250; // ms after the last key stroke
  let paused = false;
  let asked = 0; // the newest request; answers to older ones are dropped

  // busy: replacing the part would take the reader's place away.
  const busy = (part) => {
    const selected = document.getSelection();
    return part.contains(document.activeElement) || (selected && !selected.isCollapsed && selected.containsNode(part, true));
  };

  // stale says since when the numbers are old; "" is for fresh ones.
  const stale = (why) => {
    const place = document.getElementById("stale");
    const time = document.querySelector("#asof time");
    const text = why && `Stale since ${time.textContent}: ${why}`;
    if (place.textContent !== text) place.textContent = text; // a screen reader says it only once
  };

  const replace = async (url, force) => {
    const mine = ++asked;
    let text;
    let why = "the daemon does not answer.";
    try {
      const answer = await fetch(url, { cache: "no-store", credentials: "same-origin", signal: AbortSignal.timeout(patience) });
      if (answer.ok) text = await answer.text();
      else why = `the daemon answered with status ${answer.status}.`;
    } catch {
      // The daemon has stopped, or the way to it is cut. The next refresh tries again.
    }
    if (mine !== asked) return;
    if (text === undefined) {
      stale(why);
      return;
    }
    // A parsed document runs no script; the server escaped what strangers wrote.
    const fresh = new DOMParser().parseFromString(text, "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const next = fresh.getElementById(part.id);
      if (next && (force || !busy(part))) part.replaceWith(document.adoptNode(next));
    }
    stale("");
  };

  const live = document.querySelector("main [data-live]");
  const place = document.getElementById("refresh");
  if (live && place) {
    const button = document.createElement("button");
    button.type = "button";
    const label = () => { button.textContent = paused ? "Refresh again" : "Stop refreshing"; };
    const refresh = () => { if (!paused && !document.hidden) replace(location.href, false); };
    button.addEventListener("click", () => { paused = !paused; label(); });
    label();
    place.append(button);
    setInterval(refresh, every);
    document.addEventListener("visibilitychange", refresh);
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

  // A message can be dropped anywhere on its form, which shows its name in the field for a file.
  const trial = document.querySelector("form.try");
  if (trial) {
    const file = trial.querySelector("input[type=file]");
    const files = (event) => event.dataTransfer && event.dataTransfer.types.includes("Files");
    trial.addEventListener("dragover", (event) => { if (files(event)) { event.preventDefault(); trial.classList.add("over"); } });
    trial.addEventListener("dragleave", () => { trial.classList.remove("over"); });
    trial.addEventListener("drop", (event) => {
      trial.classList.remove("over");
      if (!files(event)) return;
      event.preventDefault(); // else the browser would leave this page for the file
      file.files = event.dataTransfer.files;
      file.focus();
    });
  }

  // copy returns whether the text of a field is in the clipboard. Browsers offer the clipboard only
  // to pages of https and of this host; elsewhere the older way may work.
  const copy = async (field) => {
    try {
      await navigator.clipboard.writeText(field.value);
      return true;
    } catch {
      field.select();
      return document.execCommand("copy");
    }
  };

  for (const field of document.querySelectorAll("textarea[data-copy]")) {
    const button = document.createElement("button");
    const said = document.createElement("span");
    button.type = "button";
    button.textContent = "Copy";
    button.setAttribute("aria-describedby", field.id);
    said.setAttribute("role", "status");
    button.addEventListener("click", async () => {
      said.textContent = "";
      said.textContent = await copy(field) ? " Copied." : " The browser does not allow this. The text is selected: copy it by the keyboard.";
    });
    field.after(button, said);
  }
})();
