/* Makes the pages more pleasant. Every page works without it. */
"use strict";

(() => {
  // Sent with every request for a part of a page: flash messages wait for a page that is shown as a whole.
  const PART = { "X-Part": "1" };

  // The overview and a site's page follow changes unless the user is typing in them.
  const live = document.getElementById("live");

  const refresh = async (address) => {
    const answer = await fetch(address, { headers: PART });
    if (!answer.ok || answer.redirected) return false;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("live");
    if (!fresh) return false;
    const focused = document.activeElement;
    const name = focused && live.contains(focused) ? focused.getAttribute("name") : null;
    const loaded = new Map([...live.querySelectorAll("[data-load]")].map((each) => [each.dataset.load, each]));
    live.dataset.generation = fresh.dataset.generation;
    live.replaceChildren(...fresh.childNodes);
    for (const each of live.querySelectorAll("[data-load]")) {
      const before = loaded.get(each.dataset.load);
      if (before) each.replaceWith(before);
    }
    if (name) {
      const again = live.querySelector(`[name="${name}"]`);
      if (again) {
        again.focus();
        if (again.setSelectionRange && again.type === "search") again.setSelectionRange(again.value.length, again.value.length);
      }
    }
    return true;
  };

  // Waits until the console answers again: it, or a proxy in front of it, may be restarting. Returns whether we are still signed in.
  const comesBack = async () => {
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, 2000));
      try {
        const answer = await fetch("/api/v1/me");
        if (answer.status < 500) return answer.ok;
      } catch { /* not yet */ }
    }
  };

  const followSites = () => {
    const events = new EventSource("/api/v1/events");
    events.onerror = async () => {
      if (events.readyState !== EventSource.CLOSED) return;
      if (await comesBack()) followSites();
      else location.reload();
    };
    events.addEventListener("changed", (event) => {
      const busy = document.activeElement && live.contains(document.activeElement) && document.activeElement.matches("input, select, textarea");
      const open = live.querySelector("details[open]");
      if (String(JSON.parse(event.data).generation) !== live.dataset.generation && !busy && !open) refresh(location.href);
    });
    addEventListener("pagehide", () => events.close());
  };
  if (live && "EventSource" in window) followSites();

  // Search while typing.
  let pause = 0;
  document.addEventListener("input", (event) => {
    const form = event.target.closest("form[data-live-search]");
    if (!form) return;
    clearTimeout(pause);
    pause = setTimeout(async () => {
      const given = [...new FormData(form)].filter(([, value]) => value !== "");
      const address = given.length ? `/?${new URLSearchParams(given)}` : "/";
      if (await refresh(address)) history.replaceState(null, "", address);
    }, 250);
  });

  // Parts that take a moment: handshakes with every listener.
  const load = async (place) => {
    try {
      const answer = await fetch(place.dataset.load, { headers: PART });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const piece = page.getElementById("piece");
      if (answer.ok && piece) place.replaceChildren(...piece.childNodes);
    } catch { /* the link stays */ }
  };
  for (const place of document.querySelectorAll("[data-load]")) load(place);

  // The steps of an order or check.
  const steps = document.querySelector("[data-follow]");
  if (steps && "EventSource" in window) {
    const lost = document.getElementById("lost");
    const events = new EventSource(steps.dataset.follow);
    // Every stream starts with the first step.
    events.onopen = () => { steps.replaceChildren(); lost.hidden = true; };
    events.onerror = async () => {
      lost.hidden = false;
      // The browser reconnects by itself unless the answer is an error: from a proxy, or for a job that is gone.
      if (events.readyState !== EventSource.CLOSED) return;
      await comesBack();
      location.reload();
    };
    events.addEventListener("step", (event) => {
      const { at, message } = JSON.parse(event.data);
      const item = document.createElement("li");
      const time = document.createElement("time");
      const text = document.createElement("span");
      time.textContent = at.slice(11, 19);
      text.textContent = message;
      item.append(time, " ", text);
      steps.append(item);
    });
    events.addEventListener("end", () => { events.close(); location.reload(); });
    addEventListener("pagehide", () => events.close());
  }

  // The chosen files, and whether one is too large for a certificate.
  for (const input of document.querySelectorAll(".drop input")) {
    const zone = input.closest(".drop");
    const message = zone.querySelector(".chosen");
    const largest = Number(input.dataset.largest);
    const show = () => {
      const big = [...input.files].find((file) => file.size > largest);
      message.textContent = big ? `${big.name} is larger than 1 MB: it can't be a certificate.` : [...input.files].map((file) => file.name).join(", ");
      message.classList.toggle("bad", Boolean(big));
      input.setCustomValidity(big ? message.textContent : "");
    };
    input.addEventListener("change", show);
    show();  // files may have been chosen before this ran, or kept by the browser
    for (const kind of ["dragenter", "dragover"]) zone.addEventListener(kind, () => zone.classList.add("over"));
    for (const kind of ["dragleave", "drop"]) zone.addEventListener(kind, () => zone.classList.remove("over"));
  }

  for (const secret of document.querySelectorAll("[data-copy]")) {
    if (!navigator.clipboard) break;
    const text = secret.textContent;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    });
    secret.append(button);
  }
})();
