// Dunet's portal: what script adds to pages that work without it. Elements ask for it by data- attributes
// (docs/look.md lists them); no text of its own, no inline style attribute, no eval.
"use strict";

(() => {
  const root = document.documentElement;
  const $ = (selector, from = document) => from.querySelector(selector);
  const $$ = (selector, from = document) => [...from.querySelectorAll(selector)];
  const on = (type, selector, act, capture = false) =>
    document.addEventListener(type, (event) => {
      const el = event.target instanceof Element && event.target.closest(selector);
      if (el) act(el, event);
    }, capture);

  root.classList.add("js");

  // ---- Theme: system, then the other, remembered in a cookie so that the server writes the attribute and nothing flashes.

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const remembered = /(?:^|; )theme=(light|dark)/.exec(document.cookie)?.[1];
  if (remembered) root.dataset.theme = remembered;

  on("click", "[data-theme-toggle]", () => {
    const now = root.dataset.theme || (dark.matches ? "dark" : "light");
    const next = now === "dark" ? "light" : "dark";
    const secure = location.protocol === "https:" ? "; Secure" : "";
    if ((next === "dark") === dark.matches) {
      delete root.dataset.theme;
      document.cookie = "theme=; Path=/; Max-Age=0; SameSite=Lax" + secure;
    } else {
      root.dataset.theme = next;
      document.cookie = `theme=${next}; Path=/; Max-Age=31536000; SameSite=Lax${secure}`;
    }
    drawCharts();
  });
  dark.addEventListener("change", () => drawCharts());

  // ---- Copy, reveal, dismiss

  async function copy(text) {
    if (navigator.clipboard && isSecureContext) return navigator.clipboard.writeText(text);
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "sr-only";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) throw new Error("copy");
  }

  on("click", "[data-copy], [data-copy-text]", async (button) => {
    const source = button.dataset.copy && $(button.dataset.copy);
    const text = button.dataset.copyText ?? (source ? source.value ?? source.textContent : "");
    try {
      await copy(text.trim());
    } catch {
      if (source?.select) source.select();
      else if (source) getSelection().selectAllChildren(source);
      return;
    }
    // The word changes for a moment and is read aloud; an icon alone changes its label.
    const word = $("span:not(.sr-only)", button);
    const said = button.dataset.copied;
    if (!said || button.dataset.was) return;
    button.dataset.was = word ? word.textContent : button.getAttribute("aria-label") ?? "";
    const put = (value) => { if (word) word.textContent = value; else button.setAttribute("aria-label", value); };
    put(said);
    announce(said);
    setTimeout(() => { put(button.dataset.was); delete button.dataset.was; }, 1800);
  });

  let speaker;
  function announce(text) {
    if (!speaker) {
      speaker = document.createElement("div");
      speaker.className = "sr-only";
      speaker.setAttribute("role", "status");
      document.body.append(speaker);
    }
    speaker.textContent = "";
    requestAnimationFrame(() => { speaker.textContent = text; });
  }

  on("click", "[data-reveal]", (button) => {
    const input = $(button.dataset.reveal);
    const shown = input.type === "password";
    input.type = shown ? "text" : "password";
    button.setAttribute("aria-pressed", String(shown));
    const use = $("use", button);
    if (use) use.setAttribute("href", use.getAttribute("href").replace(/#.*/, shown ? "#eye-off" : "#eye"));
  });

  on("click", "[data-print]", () => print());

  on("click", "[data-dismiss]", (button) => button.closest(button.dataset.dismiss || ".flash")?.remove());

  // ---- Menus close on a click elsewhere and on Escape

  document.addEventListener("click", (event) => {
    for (const menu of $$("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of $$("details.menu[open]")) {
      menu.open = false;
      $("summary", menu)?.focus();
    }
  });

  // ---- Dialogs: the opener is a link to the page that does the same without script

  on("click", "[data-dialog]", (opener, event) => {
    const dialog = $(opener.dataset.dialog);
    if (!dialog?.showModal) return;
    event.preventDefault();
    dialog.showModal();
  });
  on("click", "dialog [data-close]", (button) => button.closest("dialog").close());
  on("click", "dialog", (dialog, event) => { if (event.target === dialog) dialog.close(); });

  // ---- Typed confirmation: the form's danger button waits for the word (the server checks it too)

  function confirmation(input) {
    const right = input.value.trim() === input.dataset.confirm;
    for (const button of $$("button[type=submit]", input.form)) button.disabled = !right;
  }

  // ---- Forms: filters send themselves, changes are not lost, nothing is sent twice

  on("change", "form[data-autosubmit] :is(select, input[type=checkbox], input[type=radio], input[type=date], input[type=month])",
    (field) => field.form.requestSubmit());
  on("search", "form[data-autosubmit] input[type=search]", (field) => field.form.requestSubmit(), true);

  const dirty = new Set();
  on("input", "form[data-dirty]", (form) => dirty.add(form));
  addEventListener("beforeunload", (event) => { if (dirty.size) event.preventDefault(); });

  document.addEventListener("submit", (event) => {
    const form = event.target;
    const button = event.submitter;
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    if (event.defaultPrevented) return;
    if (button?.dataset.streamTo) {
      event.preventDefault();
      streamForm(form, button);
      return;
    }
    if (form.matches("form[data-upload]") && $("input[type=file]", form)?.files.length) {
      event.preventDefault();
      upload(form, button);
      return;
    }
    dirty.delete(form);
    if (form.method === "dialog" || form.target === "_blank" || form.hasAttribute("data-download")) return;
    busy(form, button, true);
  });

  function busy(form, button, is) {
    if (is) form.dataset.sent = "1";
    else delete form.dataset.sent;
    // Not disabled: a disabled button would take its name out of what is sent.
    if (is) button?.setAttribute("aria-busy", "true");
    else for (const one of $$("[aria-busy]", form)) one.removeAttribute("aria-busy");
  }

  // A page that comes back from the browser's memory is not being sent any more.
  addEventListener("pageshow", (event) => {
    if (event.persisted) for (const form of $$("form[data-sent]")) busy(form, null, false);
  });

  // ---- Upload with progress: <form data-upload> holds a <progress hidden> and an <output>

  function upload(form, button) {
    const bar = $("progress", form);
    const told = $("output", form);
    const request = new XMLHttpRequest();
    busy(form, button, true);
    if (bar) bar.hidden = false;
    request.upload.addEventListener("progress", (event) => {
      if (!event.lengthComputable) return;
      const percent = Math.floor(event.loaded / event.total * 100);
      if (bar) bar.value = percent;
      if (told) told.textContent = `${percent} %`;
    });
    request.upload.addEventListener("load", () => bar?.removeAttribute("value"));
    request.addEventListener("load", () => {
      dirty.delete(form);
      // The form came back (a fault in it) or the server sent us on: show what the browser would show.
      if (request.responseURL && request.status < 400) location.assign(request.responseURL);
      else showDocument(request.responseText);
    });
    request.addEventListener("error", () => {
      busy(form, button, false);
      if (bar) bar.hidden = true;
      const fault = $("[data-upload-fault]", form);
      if (fault) fault.hidden = false;
    });
    request.open("POST", form.action);
    request.send(new FormData(form, button));
  }

  function showDocument(text) {
    const page = new DOMParser().parseFromString(text, "text/html");
    const main = $("main", page);
    if (!main) return location.reload();
    $("main").replaceWith(main);
    document.title = page.title;
    main.focus();
    improve(main);
  }

  // ---- Streams: the server sends ready-made pieces of HTML (the partial that the page itself uses).
  // event "swap": an element with an id; takes the place of the one with that id, or joins the list.
  // event "end": data is empty or an address to go to.  event "flash": text to read aloud.

  function piece(text) {
    const template = document.createElement("template");
    template.innerHTML = text;
    return template.content.firstElementChild;
  }

  function take(list, type, data) {
    if (type === "swap" || type === "message") {
      const fresh = piece(data);
      if (!fresh) return;
      const old = fresh.id && document.getElementById(fresh.id);
      if (old) old.replaceWith(fresh);
      else if (list.hasAttribute("data-stream-prepend")) {
        fresh.classList.add("new");
        list.prepend(fresh);
      } else list.append(fresh);
      improve(fresh);
      if (list.streamFilter) list.streamFilter(fresh);
      const cap = Number(list.dataset.streamCap) || 0;
      while (cap && list.children.length > cap) {
        (list.hasAttribute("data-stream-prepend") ? list.lastElementChild : list.firstElementChild).remove();
      }
      const empty = list.dataset.streamEmpty && $(list.dataset.streamEmpty);
      if (empty) empty.hidden = list.children.length > 0;
    } else if (type === "flash") {
      announce(data);
    }
  }

  function stream(list) {
    const state = $(`[data-live-state="#${list.id}"]`) || (list.dataset.streamPrepend !== undefined && $("[data-live-state]"));
    const waiting = [];
    let paused = false;
    const show = (name, kind) => {
      if (!state?.dataset?.[name]) return;
      state.className = `status status-${kind}`;
      const text = state.dataset[name] + (paused && waiting.length ? ` (${waiting.length})` : "");
      if (state.textContent !== text) state.textContent = text;
    };
    let source;
    const get = (event) => {
      if (!paused) return take(list, event.type, event.data);
      waiting.push(event);
      if (waiting.length > 500) waiting.shift();
      show("paused", "off");
    };
    const connect = () => {
      source = new EventSource(list.dataset.stream);
      for (const type of ["swap", "message", "flash"]) source.addEventListener(type, get);
      source.addEventListener("end", (event) => {
        source.close();
        if (event.data) location.assign(event.data);
        else show("ended", "off");
      });
      source.addEventListener("open", () => { if (!paused) show("on", "wait"); });
      source.addEventListener("error", () => {
        show("lost", "warn");
        // Told no (the service is starting, say), the browser does not try again by itself.
        if (source.readyState === EventSource.CLOSED) setTimeout(connect, 10000);
      });
    };
    connect();
    addEventListener("pagehide", () => source.close());
    addEventListener("pageshow", (event) => { if (event.persisted) connect(); });
    if (list.dataset.streamFilter) filter(list, $(list.dataset.streamFilter));
    list.streamPause = () => {
      paused = !paused;
      if (paused) show("paused", "off");
      else {
        for (const event of waiting.splice(0)) take(list, event.type, event.data);
        show("on", "wait");
      }
      return paused;
    };
  }

  on("click", "[data-live-pause]", (button) => {
    const paused = $(button.dataset.livePause)?.streamPause?.();
    if (paused === undefined) return;
    button.setAttribute("aria-pressed", String(paused));
    const use = $("use", button);
    if (use) use.setAttribute("href", use.getAttribute("href").replace(/#.*/, paused ? "#play" : "#pause"));
    const word = $("span", button);
    if (word && button.dataset.on) word.textContent = paused ? button.dataset.paused : button.dataset.on;
  });

  // The rows on the page obey the filter at once: "q" looks in the text, other fields in the data- attribute of their name.
  function filter(list, form) {
    if (!form) return;
    const fits = (row) => {
      for (const [name, raw] of new FormData(form)) {
        const value = String(raw).trim().toLowerCase();
        if (!value) continue;
        if (name === "q" ? !row.textContent.toLowerCase().includes(value)
          : row.hasAttribute("data-" + name) && row.getAttribute("data-" + name).toLowerCase() !== value) return false;
      }
      return true;
    };
    list.streamFilter = (row) => { row.hidden = !fits(row); };
    form.addEventListener("input", () => [...list.children].forEach(list.streamFilter));
    [...list.children].forEach(list.streamFilter);
  }

  // A form's answer as a stream: the doctor tries what is typed, not what is saved. The answer is an event stream to a POST.
  async function streamForm(form, button) {
    const list = $(button.dataset.streamTo);
    if (!form.reportValidity()) return;
    busy(form, button, true);
    list.replaceChildren();
    list.closest("[hidden]")?.removeAttribute("hidden");
    try {
      const answer = await fetch(button.hasAttribute("formaction") ? button.formAction : form.action, {
        method: "POST",
        body: new URLSearchParams(new FormData(form, button)),
        headers: { Accept: "text/event-stream" },
      });
      if (!answer.ok || !answer.headers.get("content-type")?.startsWith("text/event-stream")) {
        showDocument(await answer.text());
        return;
      }
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        rest += value.replaceAll("\r", "");
        const events = rest.split("\n\n");
        rest = events.pop();
        for (const event of events) {
          let type = "message";
          const data = [];
          for (const line of event.split("\n")) {
            if (line.startsWith("event:")) type = line.slice(6).trim();
            else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
          }
          if (data.length) take(list, type, data.join("\n"));
        }
      }
    } catch {
      const fault = list.dataset.streamFault && $(list.dataset.streamFault);
      if (fault) fault.hidden = false;
    } finally {
      busy(form, button, false);
    }
  }

  // ---- Times: "hace 3 minutos", with the full time as title

  const lang = root.lang || "es-DO";
  const ago = new Intl.RelativeTimeFormat(lang, { numeric: "auto", style: "short" });
  const steps = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

  function relate(time) {
    const seconds = (Date.parse(time.dateTime) - Date.now()) / 1000;
    if (Number.isNaN(seconds)) return;
    time.dataset.full ??= time.textContent.trim();
    time.title = time.dataset.full;
    if (Math.abs(seconds) > 6 * 86400) {
      time.textContent = time.dataset.full;
      return;
    }
    const [unit, size] = steps.find(([, size]) => Math.abs(seconds) >= size) ?? ["second", 1];
    const text = ago.format(Math.trunc(seconds / size), unit);
    if (time.textContent !== text) time.textContent = text;
  }
  setInterval(() => { if (!document.hidden) $$("time[data-relative]").forEach(relate); }, 20000);

  // ---- Charts: the table is the truth and stays; Chart.js draws it where the page has loaded it

  const charts = new Map();
  const probe = document.createElement("canvas").getContext("2d");

  // light-dark() as a colour a canvas understands: let the browser resolve it on a real element.
  function token(name) {
    const el = document.createElement("i");
    el.style.color = `var(--${name})`;
    document.body.append(el);
    const colour = getComputedStyle(el).color;
    el.remove();
    probe.fillStyle = colour;
    return probe.fillStyle;
  }

  function drawCharts() {
    if (!window.Chart) return;
    for (const table of $$("table[data-chart]")) drawChart(table);
  }

  function drawChart(table) {
    const figure = table.closest("figure");
    const box = figure && $(".chart-canvas", figure);
    if (!box) return;
    const kind = table.dataset.chart;
    const ink = token("ink-3");
    const line = token("line");
    const unit = table.dataset.unit ? " " + table.dataset.unit : "";
    const number = new Intl.NumberFormat(lang, { maximumFractionDigits: 2 });
    const short = new Intl.NumberFormat(lang, { notation: "compact", maximumFractionDigits: 1 });
    const rows = $$("tbody tr", table);
    const heads = $$("thead th", table).slice(1);
    const value = (cell) => Number(cell?.dataset.v ?? cell?.textContent.replace(/[^\d.-]/g, ""));
    const series = heads.map((head, i) => ({ head, at: i + 1 })).filter(({ head }) => !head.hasAttribute("data-skip"));
    const colour = (head, i) => token(head.dataset.color || `chart-${i % 5 + 1}`);
    const sets = series.map(({ head, at }, i) => {
      const c = kind === "doughnut" ? rows.map((_, r) => token(`chart-${r % 5 + 1}`)) : colour(head, i);
      return {
        label: head.textContent.trim(),
        data: rows.map((row) => value(row.cells[at])),
        borderColor: kind === "doughnut" ? token("surface") : c,
        backgroundColor: kind === "line" ? c + "1f" : c,
        fill: kind === "line" && i === 0,
        borderWidth: kind === "bar" ? 0 : 2,
        borderRadius: 2,
        maxBarThickness: 28,
        pointRadius: 0,
        pointHitRadius: 16,
        pointHoverRadius: 4,
        pointBackgroundColor: c,
        tension: .25,
      };
    });
    const flat = table.hasAttribute("data-horizontal");
    const family = getComputedStyle(document.body).fontFamily;
    const ticks = { color: ink, font: { family, size: 13 } };
    const amounts = {
      beginAtZero: true, stacked: table.hasAttribute("data-stacked"), border: { display: false },
      grid: { color: line }, ticks: { ...ticks, maxTicksLimit: 5, callback: (v) => (v < 1e5 ? number : short).format(v) + unit },
    };
    const names = {
      stacked: table.hasAttribute("data-stacked"), border: { color: line }, grid: { display: false },
      ticks: { ...ticks, maxRotation: 0, autoSkip: !flat, autoSkipPadding: 16 },
    };
    charts.get(table)?.destroy();
    box.hidden = false;
    let canvas = $("canvas", box);
    if (!canvas) {
      canvas = document.createElement("canvas");
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", $("figcaption", figure)?.textContent.trim() || table.caption?.textContent.trim() || "");
      box.append(canvas);
      // The table folds away under its summary; it stays one click (and every screen reader) away.
      const data = table.closest("details");
      if (data) data.open = false;
    }
    charts.set(table, new window.Chart(canvas, {
      type: kind,
      data: { labels: rows.map((row) => row.cells[0].textContent.trim()), datasets: sets },
      options: {
        responsive: true,
        maintainAspectRatio: false,
        animation: false,
        indexAxis: flat ? "y" : "x",
        interaction: { mode: kind === "doughnut" ? "nearest" : "index", intersect: kind === "doughnut", axis: flat ? "y" : "x" },
        cutout: "68%",
        scales: kind === "doughnut" ? {} : flat ? { x: amounts, y: names } : { x: names, y: amounts },
        plugins: {
          legend: {
            display: kind === "doughnut" || sets.length > 1,
            position: kind === "doughnut" ? "right" : "top", align: kind === "doughnut" ? "center" : "end",
            labels: { color: ink, boxWidth: 10, boxHeight: 10, usePointStyle: true, pointStyle: "rectRounded", font: { family, size: 13 } },
          },
          tooltip: {
            backgroundColor: token("ink"), titleColor: token("surface"), bodyColor: token("surface"),
            padding: 10, cornerRadius: 4, displayColors: sets.length > 1,
            titleFont: { family, size: 13 }, bodyFont: { family, size: 13 },
            callbacks: {
              label: (item) => {
                const label = kind === "doughnut" ? item.label : item.dataset.label;
                return `${label}: ${number.format(item.raw)}${unit}`;
              },
            },
          },
        },
      },
    }));
  }

  // ---- Everything that must be looked at once; again for what a stream brings

  function improve(part) {
    const all = (selector) => [...(part instanceof Element && part.matches(selector) ? [part] : []), ...$$(selector, part)];
    all("time[data-relative]").forEach(relate);
    all("input[data-confirm]").forEach(confirmation);
    all("[data-stream]").forEach(stream);
    if (window.Chart) all("table[data-chart]").forEach(drawChart);
  }

  on("input", "input[data-confirm]", confirmation);
  improve(document);
  // On a phone the row of tabs scrolls: show where one is.
  for (const tab of $$(".tabs [aria-current]")) {
    const row = tab.parentElement;
    row.scrollLeft = tab.offsetLeft - row.offsetLeft - (row.clientWidth - tab.offsetWidth) / 2;
  }
  // A canvas does not wait for its font.
  if (window.Chart) document.fonts?.load(`13px ${getComputedStyle(document.body).fontFamily}`).then(drawCharts, () => {});
  // A form that came back with faults: go to the first one.
  $("[aria-invalid=true]")?.focus();
})();
